use super::*;
use crate::buffers::{Buffers, Span};
use crate::link::Sink;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

const ROOM: usize = MAX_FRAME + 4;

/// One receive; returns the frames, or the error when there are none.
fn receive(stream: &mut Stream, fd: RawFd, max: usize) -> Res<Vec<Vec<u8>>> {
    let mut memory = vec![0u8; ROOM];
    let mut meta = vec![0u8; 4096];
    let mut buffers = Buffers::default();
    // SAFETY: both live until the end of this function.
    let (span, ints) =
        unsafe { (Span::from_raw(memory.as_mut_ptr(), ROOM), Span::from_raw(meta.as_mut_ptr(), meta.len())) };
    let id = buffers.add(ints, std::ptr::null_mut())?;
    let meta = buffers.ints(id)?;
    let mut sink = Sink { span, base: 0, meta, max, count: 0 };
    stream.receive(fd, &mut sink, &mut Stats::default())?;
    let frame = |i: usize| {
        let at = meta.get(i * RX_STRIDE) as usize;
        span.part(at, at + meta.get(i * RX_STRIDE + 1) as usize).bytes().to_vec()
    };
    Ok((0..sink.count).map(frame).collect())
}

fn wire(framing: Framing, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        out.extend_from_slice(&framing.head(frame.len())[..framing.prefix()]);
        out.extend_from_slice(frame);
    }
    out
}

fn frames() -> Vec<Vec<u8>> {
    (0..4).map(|i| (0..14 + i * 3).map(|j| (i * 50 + j) as u8).collect()).collect()
}

#[test]
fn every_split_gives_the_same_frames() {
    for framing in [Framing::Be32, Framing::Le16] {
        let bytes = wire(framing, &frames());
        for first in 0..bytes.len() {
            for second in (first..bytes.len()).step_by(7) {
                let (mut peer, ours) = UnixStream::pair().unwrap();
                ours.set_nonblocking(true).unwrap();
                let mut stream = Stream::new(framing, true, &bytes[..first]);
                let mut got = receive(&mut stream, ours.as_raw_fd(), 100).unwrap();
                peer.write_all(&bytes[first..second]).unwrap();
                got.extend(receive(&mut stream, ours.as_raw_fd(), 100).unwrap());
                peer.write_all(&bytes[second..]).unwrap();
                got.extend(receive(&mut stream, ours.as_raw_fd(), 100).unwrap());
                assert_eq!(got, frames(), "{framing:?} {first} {second}");
                assert!(!stream.hot);
            }
        }
    }
}

#[test]
fn a_limit_leaves_frames_hot_and_the_end_comes_last() {
    let bytes = wire(Framing::Le16, &frames());
    let (mut peer, ours) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    peer.write_all(&bytes).unwrap();
    drop(peer);
    let mut stream = Stream::new(Framing::Le16, true, &[]);
    let mut got = Vec::new();
    for i in 0..4 {
        got.extend(receive(&mut stream, ours.as_raw_fd(), 1).unwrap());
        assert_eq!(stream.hot, i < 3);
    }
    assert_eq!(got, frames());
    for _ in 0..2 {
        assert_eq!(receive(&mut stream, ours.as_raw_fd(), 1), Err(libc::EPIPE));
    }
}

#[test]
fn wrong_lengths_end_the_stream_after_good_frames() {
    for (framing, length) in [
        (Framing::Le16, 13),
        (Framing::Be32, 0),
        (Framing::Be32, MAX_FRAME + 1),
        (Framing::Be32, 0xffff_ffff),
    ] {
        let mut bytes = wire(framing, &frames());
        bytes.extend_from_slice(&framing.head(length)[..framing.prefix()]);
        bytes.extend_from_slice(&[0; 40]);
        let (_peer, ours) = UnixStream::pair().unwrap();
        let mut stream = Stream::new(framing, true, &bytes);
        assert_eq!(receive(&mut stream, ours.as_raw_fd(), 100), Ok(frames()));
        assert!(stream.hot);
        assert_eq!(receive(&mut stream, ours.as_raw_fd(), 100), Err(libc::EPROTO));
    }
}
