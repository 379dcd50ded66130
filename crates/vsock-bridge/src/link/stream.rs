//! Frames on a byte stream, each behind its length.

use super::{Scratch, Sink, Stats};
use crate::constants::*;
use crate::frame::Frame;
use crate::sys::{check, Errno, Res};
use std::os::fd::RawFd;

/// Payload pieces shorter than this are copied behind their header: one more piece costs the kernel more.
const COPY_BELOW: usize = 512;
const MAX_IOVECS: usize = 1024;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Framing {
    /// u32, most significant byte first: QEMU.
    Be32,
    /// u16, least significant byte first: vpnkit, connect, stdio.
    Le16,
}

impl Framing {
    pub fn from_number(kind: i32) -> Option<Framing> {
        match kind {
            KIND_BE32 => Some(Framing::Be32),
            KIND_LE16 => Some(Framing::Le16),
            _ => None,
        }
    }

    pub fn number(self) -> i32 {
        match self {
            Framing::Be32 => KIND_BE32,
            Framing::Le16 => KIND_LE16,
        }
    }

    fn prefix(self) -> usize {
        match self {
            Framing::Be32 => 4,
            Framing::Le16 => 2,
        }
    }

    /// Length of the frame whose prefix stands at the beginning; `None` when the prefix is not whole.
    fn length(self, bytes: &[u8]) -> Option<usize> {
        match (self, bytes) {
            (Framing::Be32, [a, b, c, d, ..]) => Some(u32::from_be_bytes([*a, *b, *c, *d]) as usize),
            (Framing::Le16, [a, b, ..]) => Some(usize::from(u16::from_le_bytes([*a, *b]))),
            _ => None,
        }
    }

    fn put(self, length: usize, out: &mut Vec<u8>) {
        match self {
            Framing::Be32 => out.extend_from_slice(&(length as u32).to_be_bytes()),
            Framing::Le16 => out.extend_from_slice(&(length as u16).to_le_bytes()),
        }
    }

    /// Longest frame that can be said in this framing and may be sent.
    fn max(self) -> usize {
        match self {
            Framing::Be32 => MAX_FRAME,
            Framing::Le16 => 0xffff,
        }
    }
}

/// Bytes in a row that leave at the front.
#[derive(Default)]
pub struct Bytes {
    data: Vec<u8>,
    head: usize,
}

impl Bytes {
    pub fn len(&self) -> usize {
        self.data.len() - self.head
    }

    fn rest(&self) -> &[u8] {
        &self.data[self.head..]
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.head > 0 && self.head * 2 > self.data.len() {
            self.data.drain(..self.head);
            self.head = 0;
        }
        self.data.extend_from_slice(bytes);
    }

    fn consume(&mut self, count: usize) {
        self.head += count;
        if self.head >= self.data.len() {
            self.data.clear();
            self.head = 0;
            self.data.shrink_to(64 * 1024);
        }
    }
}

pub struct Stream {
    pub framing: Framing,
    socket: bool,
    /// What was read beyond the last frame handed over.
    carry: Bytes,
    /// The carry holds a whole frame, or the end is still to be told.
    pub hot: bool,
    ended: Option<Errno>,
    /// What the socket did not take yet.
    pub pending: Bytes,
    pub limit: usize,
}

impl Stream {
    /// `already`: bytes that were read before the stream became a link.
    pub fn new(framing: Framing, socket: bool, already: &[u8]) -> Stream {
        let mut carry = Bytes::default();
        carry.push(already);
        Stream {
            framing,
            socket,
            hot: !already.is_empty(),
            carry,
            ended: None,
            pending: Bytes::default(),
            limit: PENDING_LIMIT,
        }
    }

    pub fn receive(&mut self, fd: RawFd, sink: &mut Sink, stats: &mut Stats) -> Res<()> {
        let carried = self.carry.len().min(sink.span.len());
        sink.span.write(0, &self.carry.rest()[..carried]);
        self.carry.consume(carried);
        let mut filled = carried;
        let read = self.ended.is_none() && self.carry.len() == 0 && filled < sink.span.len();
        if read && !self.has_frame(sink, filled) {
            let room = sink.span.part(filled, usize::MAX);
            // SAFETY: the range is writable for its length.
            match check(unsafe { libc::read(fd, room.ptr().cast(), room.len()) }) {
                Ok(0) => self.ended = Some(libc::EPIPE),
                Ok(count) => filled += count,
                Err(libc::EAGAIN | libc::EINTR) => {}
                Err(errno) => self.ended = Some(errno),
            }
        }
        let used = self.deframe(sink, filled, stats);
        self.keep(sink, used, filled);
        match self.ended {
            Some(errno) if sink.count == 0 => {
                self.hot = false;
                Err(errno)
            }
            _ => Ok(()),
        }
    }

    /// Whether the first frame of `filled` carried bytes is whole: then there is no need to read.
    fn has_frame(&self, sink: &Sink, filled: usize) -> bool {
        let bytes = sink.span.part(0, filled);
        let prefix = self.framing.prefix();
        let length = self.framing.length(bytes.bytes());
        length.is_some_and(|length| length > MAX_FRAME || filled >= prefix + length)
    }

    /// Describes the whole frames among `filled` bytes; returns where the first that is not whole begins.
    fn deframe(&mut self, sink: &mut Sink, filled: usize, stats: &mut Stats) -> usize {
        let prefix = self.framing.prefix();
        let mut at = 0;
        while !sink.full() {
            let rest = sink.span.part(at, filled);
            let Some(length) = self.framing.length(rest.bytes()) else {
                break;
            };
            if !(MIN_FRAME..=MAX_FRAME).contains(&length) {
                stats.rx_bad += 1;
                self.ended = Some(libc::EPROTO);
                return filled;
            }
            if rest.len() < prefix + length {
                break;
            }
            sink.push(at + prefix, length, 0, 0);
            at += prefix + length;
        }
        at
    }

    /// Puts what follows the delivered frames in front of what is still carried.
    fn keep(&mut self, sink: &Sink, used: usize, filled: usize) {
        let left = sink.span.part(used, filled);
        if self.carry.len() == 0 {
            self.carry.push(left.bytes());
        } else if left.len() > 0 {
            // Rare: more was carried than fits the range.
            let mut joined = left.bytes().to_vec();
            joined.extend_from_slice(self.carry.rest());
            self.carry = Bytes { data: joined, head: 0 };
        }
        let rest = self.carry.rest();
        let length = self.framing.length(rest);
        let whole = length.is_some_and(|length| length > MAX_FRAME || rest.len() >= self.framing.prefix() + length);
        self.hot = whole || self.ended.is_some();
    }

    /// Sends `scratch.cut` with prefixes in as few system calls as the kernel allows.
    pub fn send(&mut self, fd: RawFd, scratch: &mut Scratch, stats: &mut Stats) -> Res<()> {
        self.flush(fd)?;
        self.gather(scratch, stats);
        let mut sent = 0;
        if self.pending.len() == 0 {
            let mut first = 0;
            while first < scratch.iovecs.len() {
                let last = scratch.iovecs.len().min(first + MAX_IOVECS);
                let batch = &scratch.iovecs[first..last];
                let size: usize = batch.iter().map(|part| part.iov_len).sum();
                let taken = self.write(fd, batch)?;
                sent += taken;
                if taken < size {
                    break;
                }
                first = last;
            }
        }
        self.queue(scratch, sent, stats);
        Ok(())
    }

    /// Makes `iovecs` and `ends` of the frames.
    fn gather(&self, scratch: &mut Scratch, stats: &mut Stats) {
        let Scratch {
            cut,
            small,
            iovecs,
            ends,
            ..
        } = scratch;
        let framing = self.framing;
        let copied = |piece: &crate::buffers::Span, first: bool| first || piece.len() < COPY_BELOW;
        let before = cut.len();
        cut.retain(|frame| frame.len() <= framing.max());
        stats.tx_errors += (before - cut.len()) as u64;
        let need: usize = cut
            .iter()
            .map(|frame| {
                let pieces = frame.pieces.iter().enumerate().filter(|(i, piece)| copied(piece, *i == 0));
                pieces.map(|(_, piece)| piece.len()).sum::<usize>() + framing.prefix()
            })
            .sum();
        small.clear();
        small.reserve(need);
        iovecs.clear();
        ends.clear();
        let base = small.as_ptr();
        let (mut run, mut total) = (0, 0);
        let close_run = |run: &mut usize, small: &Vec<u8>, iovecs: &mut Vec<libc::iovec>| {
            if small.len() > *run {
                iovecs.push(libc::iovec {
                    iov_base: base.wrapping_add(*run) as *mut _,
                    iov_len: small.len() - *run,
                });
                *run = small.len();
            }
        };
        for frame in cut.iter() {
            let length = frame.len();
            framing.put(length, small);
            for (i, piece) in frame.pieces.iter().enumerate() {
                if copied(piece, i == 0) {
                    small.extend_from_slice(piece.bytes());
                } else {
                    close_run(&mut run, small, iovecs);
                    iovecs.push(piece.iovec());
                }
            }
            total += framing.prefix() + length;
            ends.push(total);
        }
        close_run(&mut run, small, iovecs);
    }

    /// One gathering write; 0 when the socket is full.
    fn write(&self, fd: RawFd, parts: &[libc::iovec]) -> Res<usize> {
        let result = if self.socket {
            // SAFETY: an all-zero msghdr is valid.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_iov = parts.as_ptr() as *mut _;
            message.msg_iovlen = parts.len() as _;
            // SAFETY: every part is readable for its length.
            unsafe { libc::sendmsg(fd, &message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) }
        } else {
            // SAFETY: as above.
            unsafe { libc::writev(fd, parts.as_ptr(), parts.len() as i32) }
        };
        match check(result) {
            Ok(count) => Ok(count),
            Err(libc::EAGAIN | libc::EINTR | libc::ENOBUFS) => Ok(0),
            Err(errno) => Err(errno),
        }
    }

    /// Counts what was sent and keeps what was not: the rest of a frame that has begun in any case, whole frames up to the limit.
    fn queue(&mut self, scratch: &Scratch, sent: usize, stats: &mut Stats) {
        let mut start = 0;
        for (frame, &end) in scratch.cut.iter().zip(&scratch.ends) {
            if end <= sent {
                stats.sent(frame.len());
            } else if start < sent || self.pending.len() + (end - start) <= self.limit {
                self.queue_frame(frame, sent.saturating_sub(start));
                stats.sent(frame.len());
            } else {
                stats.tx_dropped += 1;
            }
            start = end;
        }
    }

    fn queue_frame(&mut self, frame: &Frame, skip: usize) {
        let mut prefix = Vec::with_capacity(4);
        self.framing.put(frame.len(), &mut prefix);
        let mut skip = skip;
        let pieces = frame.pieces.iter().map(crate::buffers::Span::bytes);
        for bytes in std::iter::once(prefix.as_slice()).chain(pieces) {
            let from = skip.min(bytes.len());
            skip -= from;
            self.pending.push(&bytes[from..]);
        }
    }

    /// Writes pending bytes as far as the socket takes them.
    pub fn flush(&mut self, fd: RawFd) -> Res<()> {
        while self.pending.len() > 0 {
            let rest = self.pending.rest();
            let part = libc::iovec {
                iov_base: rest.as_ptr() as *mut _,
                iov_len: rest.len(),
            };
            match self.write(fd, &[part]) {
                Ok(0) => return Ok(()),
                Ok(count) => self.pending.consume(count),
                Err(errno) => {
                    self.pending = Bytes::default();
                    return Err(errno);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
        let (span, ints) = unsafe {
            (
                Span::from_raw(memory.as_mut_ptr(), ROOM),
                Span::from_raw(meta.as_mut_ptr(), meta.len()),
            )
        };
        let id = buffers.add(ints, std::ptr::null_mut())?;
        let meta = buffers.ints(id)?;
        let mut sink = Sink {
            span,
            base: 0,
            meta,
            max,
            count: 0,
        };
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
            framing.put(frame.len(), &mut out);
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
            framing.put(length, &mut bytes);
            bytes.extend_from_slice(&[0; 40]);
            let (_peer, ours) = UnixStream::pair().unwrap();
            let mut stream = Stream::new(framing, true, &bytes);
            assert_eq!(receive(&mut stream, ours.as_raw_fd(), 100), Ok(frames()));
            assert!(stream.hot);
            assert_eq!(receive(&mut stream, ours.as_raw_fd(), 100), Err(libc::EPROTO));
        }
    }
}
