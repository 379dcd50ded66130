//! A unix datagram socket with many peers, told apart by the addresses that they send from. Each peer is a link handle of its
//! own, made when its first datagram comes; TypeScript decides how many may live and closes them.
//!
//! A peer gets a socket of its own, connected to it: its own send buffer, and the kernel says when it has room. A peer that
//! is connected to us takes nothing from other sockets (EPERM); it shares ours.

use super::landing::{Landing, Packer, Stash};
use super::packet::{Packet, Peer};
use super::{Kind, Link, Sink, Stats};
use crate::address::Address;
use crate::constants::*;
use crate::sys::{owned, Res};
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Addresses known at once; a datagram of one more is bad.
pub const MAX_ADDRESSES: usize = 1024;
/// What vfkit and libkrun say before their first frame.
const HANDSHAKE: &[u8] = b"VFKT";

#[derive(Default)]
pub struct Port {
    /// Handles by path; some of them closed by now.
    peers: HashMap<Box<[u8]>, i32>,
    stash: Stash,
    /// Datagrams of nobody (without an address), of wrong lengths, and of too many.
    pub stats: Stats,
}

/// What a port does with the table of handles.
pub trait Table {
    /// The peer's counters; `None` when that handle is closed.
    fn peer(&mut self, handle: i32) -> Option<&mut Stats>;
    fn insert(&mut self, fd: OwnedFd, link: Link) -> Res<i32>;
}

impl Port {
    pub fn is_hot(&self) -> bool {
        !self.stash.is_empty()
    }

    /// Receives frames; the tag of each is its peer's handle. An entry of length 0 is news of a peer, not a frame.
    pub fn receive(
        &mut self,
        fd: RawFd,
        sink: &mut Sink,
        landing: &mut Landing,
        table: &mut impl Table,
    ) -> Res<()> {
        let mut packer = Packer::new(sink);
        if !self.stash.drain(&mut packer) {
            return Ok(());
        }
        loop {
            let want = packer.want();
            if want == 0 || !self.stash.is_empty() {
                return Ok(());
            }
            let count = match landing.receive(fd, want, true) {
                Ok(count) => count,
                Err(libc::EAGAIN | libc::EINTR | libc::ECONNREFUSED | libc::ECONNRESET) => return Ok(()),
                Err(errno) if packer.sink.count == 0 => return Err(errno),
                Err(_) => return Ok(()),
            };
            for i in 0..count {
                match self.sort(fd, landing.packet(i), landing.sender(i), table) {
                    Some((frame, handle)) => {
                        if !self.stash.is_empty() || !packer.put(frame, handle) {
                            self.stash.push(frame, handle);
                        }
                    }
                    None => self.stats.rx_bad += 1,
                }
            }
            if count < want {
                return Ok(());
            }
        }
    }

    /// Whose datagram it is; `None`: nobody's. A handshake is swallowed: it comes out empty.
    fn sort<'a>(
        &mut self,
        fd: RawFd,
        packet: Option<&'a [u8]>,
        sender: &[u8],
        table: &mut impl Table,
    ) -> Option<(&'a [u8], i32)> {
        let packet = packet?;
        if sender.is_empty() {
            return None;
        }
        let known = self.peers.get(sender).copied();
        if let Some((stats, handle)) = known.and_then(|handle| Some((table.peer(handle)?, handle))) {
            if packet.len() >= MIN_FRAME {
                stats.rx_frames += 1;
                stats.rx_bytes += packet.len() as u64;
                return Some((packet, handle));
            }
            // A guest that restarted under its old address says it again.
            if packet.starts_with(HANDSHAKE) {
                return Some((&[], handle));
            }
            stats.rx_bad += 1;
            return Some((&[], handle));
        }
        let frame = if packet.starts_with(HANDSHAKE) { &[] } else { packet };
        if (1..MIN_FRAME).contains(&frame.len()) || packet.is_empty() {
            return None;
        }
        let handle = self.meet(fd, sender, table).ok()?;
        if let Some(stats) = table.peer(handle).filter(|_| !frame.is_empty()) {
            stats.rx_frames += 1;
            stats.rx_bytes += frame.len() as u64;
        }
        Some((frame, handle))
    }

    fn meet(&mut self, fd: RawFd, sender: &[u8], table: &mut impl Table) -> Res<i32> {
        if self.peers.len() >= MAX_ADDRESSES {
            self.peers.retain(|_, handle| table.peer(*handle).is_some());
            if self.peers.len() >= MAX_ADDRESSES {
                return Err(libc::ENOBUFS);
            }
        }
        let address = Address::unix_bytes(sender)?;
        let (socket, shared) = socket_for(fd, &address)?;
        let packet = Packet::new(false, Some(Peer { address, shared }));
        let handle = table.insert(socket, Link::new(Kind::Packet(packet)))?;
        self.peers.insert(sender.into(), handle);
        Ok(handle)
    }
}

/// The socket to send to a peer with, and whether it is the port's.
fn socket_for(port: RawFd, address: &Address) -> Res<(OwnedFd, bool)> {
    let own = unix_datagram()?;
    match address.connect(own.as_raw_fd()) {
        Ok(()) => Ok((own, false)),
        Err(libc::EPERM) => {
            // SAFETY: fcntl on a number touches no memory.
            Ok((owned(unsafe { libc::fcntl(port, libc::F_DUPFD_CLOEXEC, 3) })?, true))
        }
        Err(errno) => Err(errno),
    }
}

pub fn unix_datagram() -> Res<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes numbers.
    owned(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })
}

/// Whether somebody still has the address: connecting says it and changes nothing for him. -ECONNREFUSED, -ENOENT: nobody.
pub fn probe(address: &Address) -> Res<()> {
    match address.connect(unix_datagram()?.as_raw_fd()) {
        Err(libc::EPERM | libc::EAGAIN) => Ok(()),
        outcome => outcome,
    }
}
