//! Packets over real sockets: ranges that are too small for a batch, peers, their ends, waiting packets.

use super::landing::Landing;
use super::packet::Packet;
use super::port::{Port, Table};
use super::{Kind, Link, Sink, Stats};
use crate::buffers::{Buffers, Span};
use crate::constants::*;
use crate::frame::Frame;
use crate::slab::Slab;
use crate::sys::Res;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Frames with their tags of one receive into a range for the longest packet and `more` bytes.
fn receive(
    more: usize,
    max: usize,
    call: impl FnOnce(&mut Sink, &mut Landing) -> Res<()>,
) -> Res<Vec<(Vec<u8>, i32)>> {
    let mut memory = vec![0u8; PACKET_ROOM + more];
    let mut ints = vec![0u8; 4096];
    let mut buffers = Buffers::default();
    // SAFETY: both live until the end of this function.
    let (span, table) = unsafe {
        (Span::from_raw(memory.as_mut_ptr(), memory.len()), Span::from_raw(ints.as_mut_ptr(), ints.len()))
    };
    let id = buffers.add(table, std::ptr::null_mut())?;
    let meta = buffers.ints(id)?;
    let mut sink = Sink { span, base: 0, meta, max, count: 0 };
    call(&mut sink, &mut Landing::default())?;
    let frame = |i: usize| {
        let at = meta.get(i * RX_STRIDE) as usize;
        let length = meta.get(i * RX_STRIDE + 1) as usize;
        (span.part(at, at + length).bytes().to_vec(), meta.get(i * RX_STRIDE + 3))
    };
    Ok((0..sink.count).map(frame).collect())
}

fn frame(bytes: &mut [u8]) -> Frame {
    // SAFETY: the caller keeps the bytes alive while the frame is used.
    let piece = unsafe { Span::from_raw(bytes.as_mut_ptr(), bytes.len()) };
    Frame { pieces: [piece, Span::EMPTY, Span::EMPTY], flags: 0, gso: 0 }
}

fn seqpacket_pair() -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: socketpair writes two descriptors, which nobody else has.
    unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_NONBLOCK;
        assert_eq!(libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()), 0);
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    }
}

fn send(fd: RawFd, bytes: &[u8]) -> isize {
    // SAFETY: the bytes are readable for their length.
    unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) }
}

#[derive(Default)]
struct Peers(Slab<(OwnedFd, Link)>);

impl Table for Peers {
    fn peer(&mut self, handle: i32) -> Option<&mut Stats> {
        Some(&mut self.0.get_mut(handle)?.1.stats)
    }

    fn insert(&mut self, fd: OwnedFd, link: Link) -> Res<i32> {
        self.0.insert((fd, link)).map_err(|_| libc::EMFILE)
    }
}

impl Peers {
    fn packet(&mut self, handle: i32) -> (&mut Packet, RawFd) {
        let (fd, link) = self.0.get_mut(handle).unwrap();
        let Kind::Packet(packet) = &mut link.kind else { panic!("no packet link") };
        (packet, fd.as_raw_fd())
    }
}

fn abstract_socket(name: &str) -> UnixDatagram {
    let name = format!("np-packet-{}-{name}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

#[test]
fn what_does_not_fit_is_kept_in_order_and_the_end_comes_last() {
    let (peer, ours) = seqpacket_pair();
    let mut packet = Packet::new(true, None);
    let mut stats = Stats::default();
    for i in 0..40u8 {
        let length = if i == 7 { 13 } else { 2000 };
        assert!(send(peer.as_raw_fd(), &vec![i; length]) > 0);
    }
    drop(peer);
    let mut seen = Vec::new();
    let mut calls = 0;
    let end = loop {
        calls += 1;
        match receive(0, 5, |sink, landing| packet.receive(ours.as_raw_fd(), sink, landing, &mut stats)) {
            Ok(frames) => {
                assert!(frames.len() <= 5 && (!frames.is_empty() || packet.is_hot()));
                seen.extend(frames.into_iter().map(|(frame, _)| frame[0]));
            }
            Err(errno) => break errno,
        }
    };
    assert_eq!(end, libc::EPIPE);
    assert!(!packet.is_hot() && calls >= 8);
    assert_eq!(seen, (0..40).filter(|i| *i != 7).collect::<Vec<u8>>());
    assert_eq!(stats.rx_bad, 1);
}

#[test]
fn packets_wait_up_to_the_limit_and_leave_in_order() {
    let (peer, ours) = seqpacket_pair();
    let mut packet = Packet::new(true, None);
    packet.limit = 64 * 1024;
    let mut stats = Stats::default();
    let total = 600u32;
    for i in 0..total {
        let mut bytes = vec![0u8; 1500];
        bytes[..4].copy_from_slice(&i.to_ne_bytes());
        packet.send(ours.as_raw_fd(), &[frame(&mut bytes)], &mut stats).unwrap();
    }
    assert!(packet.pending.len() > 60_000 && packet.pending.len() <= packet.limit);
    assert!(stats.tx_dropped > 0);
    let mut got = Vec::new();
    let mut buffer = [0u8; 2000];
    loop {
        // SAFETY: the buffer is writable for its length.
        let result = unsafe { libc::recv(peer.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        if result < 0 {
            packet.writable(ours.as_raw_fd(), &mut stats).unwrap();
            if got.len() as u64 + stats.tx_dropped == u64::from(total) {
                break;
            }
            continue;
        }
        got.push(u32::from_ne_bytes(buffer[..4].try_into().unwrap()));
    }
    assert_eq!(packet.pending.len(), 0);
    assert_eq!(got, (0..got.len() as u32).collect::<Vec<u32>>());
    assert_eq!(stats.tx_frames, got.len() as u64);
    drop(peer);
    let mut bytes = [0u8; 60];
    assert_eq!(packet.send(ours.as_raw_fd(), &[frame(&mut bytes)], &mut stats), Err(libc::EPIPE));
}

#[test]
fn a_port_tells_peers_apart_and_meets_them_again() {
    let ours = abstract_socket("port");
    let address = ours.local_addr().unwrap();
    let (mut port, mut peers) = (Port::default(), Peers::default());
    let take = |max: usize, port: &mut Port, peers: &mut Peers| {
        receive(0, max, |sink, landing| port.receive(ours.as_raw_fd(), sink, landing, peers)).unwrap()
    };
    let (one, two) = (abstract_socket("one"), abstract_socket("two"));
    let nobody = UnixDatagram::unbound().unwrap();
    nobody.send_to_addr(&[1; 60], &address).unwrap();
    one.send_to_addr(b"VFKT", &address).unwrap();
    two.send_to_addr(&[2; 13], &address).unwrap();
    two.send_to_addr(&[2; 14], &address).unwrap();
    for _ in 0..3 {
        one.send_to_addr(&[1; 60], &address).unwrap();
    }
    let first = take(2, &mut port, &mut peers);
    assert_eq!(first.iter().map(|(frame, _)| frame.len()).collect::<Vec<_>>(), [0, 14]);
    let (a, b) = (first[0].1, first[1].1);
    assert!(a != b);
    let rest: Vec<_> =
        std::iter::from_fn(|| Some(take(2, &mut port, &mut peers)).filter(|frames| !frames.is_empty()))
            .flatten()
            .collect();
    assert!(rest.iter().all(|(frame, handle)| *frame == [1; 60] && *handle == a) && rest.len() == 3);
    assert_eq!(port.stats.rx_bad, 2);
    assert_eq!(peers.peer(a).unwrap().rx_frames, 3);
    // Known again after its handle was closed.
    peers.0.remove(a);
    one.send_to_addr(&[9; 20], &address).unwrap();
    let again = take(9, &mut port, &mut peers);
    assert!(again.len() == 1 && again[0].1 != a && again[0].1 != b);
    // A dead peer refuses, one that came back under its address does not.
    let handle = again[0].1;
    drop(one);
    let mut stats = Stats::default();
    let mut bytes = [7u8; 60];
    let (packet, fd) = peers.packet(handle);
    assert_eq!(packet.send(fd, &[frame(&mut bytes)], &mut stats), Err(libc::ECONNREFUSED));
    let one = abstract_socket("one");
    packet.send(fd, &[frame(&mut bytes)], &mut stats).unwrap();
    assert_eq!(one.recv(&mut [0; 100]).unwrap(), 60);
}

#[test]
fn a_peer_that_is_connected_to_us_is_sent_to_from_our_socket() {
    let ours = abstract_socket("shared");
    let (mut port, mut peers) = (Port::default(), Peers::default());
    let peer = abstract_socket("connected");
    peer.connect_addr(&ours.local_addr().unwrap()).unwrap();
    peer.send(b"VFKT").unwrap();
    let call =
        |sink: &mut Sink, landing: &mut Landing| port.receive(ours.as_raw_fd(), sink, landing, &mut peers);
    let handle = receive(0, 9, call).unwrap()[0].1;
    let (packet, fd) = peers.packet(handle);
    assert!(packet.peer.as_ref().unwrap().shared);
    let mut bytes = [7u8; 60];
    packet.send(fd, &[frame(&mut bytes)], &mut Stats::default()).unwrap();
    let (length, from) = peer.recv_from(&mut [0; 100]).unwrap();
    assert_eq!((length, from.as_abstract_name()), (60, ours.local_addr().unwrap().as_abstract_name()));
}

#[test]
fn more_addresses_than_are_kept() {
    let ours = abstract_socket("many");
    let address = ours.local_addr().unwrap();
    let (mut port, mut peers) = (Port::default(), Peers::default());
    let mut met = 0;
    for i in 0..=super::port::MAX_ADDRESSES {
        let peer = abstract_socket(&format!("many-{i}"));
        peer.send_to_addr(b"VFKT", &address).unwrap();
        let call = |sink: &mut Sink, landing: &mut Landing| {
            port.receive(ours.as_raw_fd(), sink, landing, &mut peers)
        };
        met += receive(0, 9, call).unwrap().len();
    }
    assert_eq!((met, port.stats.rx_bad), (super::port::MAX_ADDRESSES, 1));
    peers.0.clear();
    let peer = abstract_socket("many-again");
    peer.send_to_addr(b"VFKT", &address).unwrap();
    let call =
        |sink: &mut Sink, landing: &mut Landing| port.receive(ours.as_raw_fd(), sink, landing, &mut peers);
    assert_eq!(receive(0, 9, call).unwrap().len(), 1);
}
