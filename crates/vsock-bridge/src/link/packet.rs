//! Frames as packets: a connected unix seqpacket or datagram socket, or one peer of a datagram port; one frame each.

use super::framing::Bytes;
use super::landing::{Landing, Packer, Stash, BATCH};
use super::{Sink, Stats};
use crate::address::Address;
use crate::constants::*;
use crate::frame::Frame;
use crate::sys::{check, Errno, Res};
use std::os::fd::RawFd;

/// One peer of a datagram port (`port.rs`).
pub struct Peer {
    pub address: Address,
    /// The socket is the port's: every packet says where it goes. Else it is the peer's own, connected to it.
    pub shared: bool,
}

pub struct Packet {
    seqpacket: bool,
    pub peer: Option<Peer>,
    stash: Stash,
    ended: Option<Errno>,
    /// The end is still to be told.
    telling: bool,
    /// What the socket did not take yet, each frame behind its length.
    pub pending: Bytes,
    pub limit: usize,
}

impl Packet {
    pub fn new(seqpacket: bool, peer: Option<Peer>) -> Packet {
        Packet {
            seqpacket,
            peer,
            stash: Stash::default(),
            ended: None,
            telling: false,
            pending: Bytes::default(),
            limit: PENDING_LIMIT,
        }
    }

    pub fn kind_number(&self) -> i32 {
        if self.seqpacket {
            KIND_SEQPACKET
        } else {
            KIND_DGRAM
        }
    }

    pub fn is_hot(&self) -> bool {
        !self.stash.is_empty() || self.telling
    }

    pub fn receive(
        &mut self,
        fd: RawFd,
        sink: &mut Sink,
        landing: &mut Landing,
        stats: &mut Stats,
    ) -> Res<()> {
        let mut packer = Packer::new(sink);
        if self.stash.drain(&mut packer) && self.ended.is_none() {
            self.fetch(fd, &mut packer, landing, stats);
        }
        match self.ended {
            Some(errno) if sink.count == 0 => {
                self.telling = false;
                Err(errno)
            }
            _ => Ok(()),
        }
    }

    fn fetch(&mut self, fd: RawFd, packer: &mut Packer, landing: &mut Landing, stats: &mut Stats) {
        loop {
            let want = packer.want();
            if want == 0 || !self.stash.is_empty() {
                return;
            }
            let count = match landing.receive(fd, want, false) {
                Ok(count) => count,
                // The peer of a datagram socket may come back.
                Err(libc::EAGAIN | libc::EINTR) => return,
                Err(libc::ECONNREFUSED) if !self.seqpacket => return,
                Err(errno) => return self.end(errno),
            };
            for i in 0..count {
                match landing.packet(i) {
                    // Also an empty packet that somebody sent: nothing tells it from the end.
                    Some([]) if self.seqpacket => return self.end(libc::EPIPE),
                    Some(packet) if packet.len() >= MIN_FRAME => {
                        if !self.stash.is_empty() || !packer.put(packet, 0) {
                            self.stash.push(packet, 0);
                        }
                    }
                    _ => stats.rx_bad += 1,
                }
            }
            if count < want {
                return;
            }
        }
    }

    fn end(&mut self, errno: Errno) {
        self.ended = Some(errno);
        self.telling = true;
    }

    /// Sends frames; what the socket has no room for waits, up to the limit.
    pub fn send(&mut self, fd: RawFd, frames: &[Frame], stats: &mut Stats) -> Res<()> {
        self.flush(fd, stats)?;
        let mut next = 0;
        while self.pending.len() == 0 && next < frames.len() {
            let batch = &frames[next..frames.len().min(next + BATCH)];
            let mut parts = [[libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 3]; BATCH];
            for (parts, frame) in parts.iter_mut().zip(batch) {
                for (part, piece) in parts.iter_mut().zip(&frame.pieces) {
                    *part = piece.iovec();
                }
            }
            match self.transmit(fd, &mut parts[..batch.len()]) {
                Ok(count) => {
                    for frame in &batch[..count] {
                        stats.sent(frame.len());
                    }
                    next += count;
                }
                Err(libc::EAGAIN) => break,
                // The kernel has no memory: it says nothing when it has some again.
                Err(libc::ENOBUFS | libc::ENOMEM) => {
                    stats.tx_dropped += (frames.len() - next) as u64;
                    return Ok(());
                }
                Err(errno) => {
                    self.judge(errno, stats)?;
                    next += 1;
                }
            }
        }
        for frame in &frames[next..] {
            self.queue(frame, stats);
        }
        Ok(())
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn flush(&mut self, fd: RawFd, stats: &mut Stats) -> Res<()> {
        while self.pending.len() > 0 {
            let mut parts = [[libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 1]; BATCH];
            let count = waiting(&self.pending, &mut parts);
            let lengths = parts.map(|[part]| part.iov_len);
            match self.transmit(fd, &mut parts[..count]) {
                Ok(sent) => {
                    for length in &lengths[..sent] {
                        stats.sent(*length);
                        self.pending.consume(4 + length);
                    }
                }
                Err(libc::EAGAIN) => return Ok(()),
                Err(libc::ENOBUFS | libc::ENOMEM) => {
                    self.drop_pending(stats);
                }
                Err(errno) => {
                    self.judge(errno, stats)?;
                    self.pending.consume(4 + lengths[0]);
                }
            }
        }
        Ok(())
    }

    /// The socket said that it can write. A shared one says so though the peer's own queue is full: then waiting
    /// would be spinning, and what waits is dropped.
    pub fn writable(&mut self, fd: RawFd, stats: &mut Stats) -> Res<()> {
        let before = self.pending.len();
        self.flush(fd, stats)?;
        if self.peer.as_ref().is_some_and(|peer| peer.shared) && self.pending.len() == before {
            self.drop_pending(stats);
        }
        Ok(())
    }

    /// One system call; how many packets went (at least one).
    fn transmit<const N: usize>(&mut self, fd: RawFd, parts: &mut [[libc::iovec; N]]) -> Res<usize> {
        // SAFETY: all-zero mmsghdrs are valid.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        let target = self.peer.as_ref().filter(|peer| peer.shared).map(|peer| &peer.address);
        for (message, parts) in messages.iter_mut().zip(parts.iter_mut()) {
            let header = &mut message.msg_hdr;
            header.msg_iov = parts.as_mut_ptr();
            header.msg_iovlen = N as _;
            if let Some(target) = target {
                header.msg_name = target.as_ptr() as *mut libc::c_void;
                header.msg_namelen = target.length;
            }
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let count = parts.len() as u32;
        let mut again = true;
        loop {
            // SAFETY: every piece is readable for its length; the kernel only reads the address.
            let result = unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), count, flags as _) };
            match check(result as isize) {
                Ok(sent) => return Ok(sent.max(1)),
                Err(libc::EINTR) => {}
                // The peer died, or it came back under its old address and only our socket does not know yet.
                Err(errno @ (libc::ECONNREFUSED | libc::ECONNRESET | libc::ENOTCONN)) if again => {
                    again = false;
                    self.reconnect(fd).map_err(|_| errno)?;
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    fn reconnect(&self, fd: RawFd) -> Res<()> {
        match &self.peer {
            Some(peer) if !peer.shared => peer.address.connect(fd),
            _ => Err(libc::ENOTCONN),
        }
    }

    /// What an error of one packet means: the end of the link, or of that packet.
    fn judge(&self, errno: Errno, stats: &mut Stats) -> Res<()> {
        let gone = match errno {
            libc::EPIPE | libc::ECONNRESET if self.seqpacket => Err(libc::EPIPE),
            // A peer's address refuses or is gone; or it connected to somebody, and wants to be met anew.
            libc::ECONNREFUSED | libc::ENOENT | libc::ECONNRESET | libc::EPERM if self.peer.is_some() => {
                Err(errno)
            }
            _ => Ok(()),
        };
        stats.tx_errors += 1;
        gone
    }

    fn queue(&mut self, frame: &Frame, stats: &mut Stats) {
        if self.pending.len() + 4 + frame.len() > self.limit {
            stats.tx_dropped += 1;
            return;
        }
        self.pending.push(&(frame.len() as u32).to_ne_bytes());
        for piece in &frame.pieces {
            self.pending.push(piece.bytes());
        }
    }

    fn drop_pending(&mut self, stats: &mut Stats) {
        while let Some((header, _)) = self.pending.rest().split_first_chunk::<4>() {
            let length = u32::from_ne_bytes(*header) as usize;
            self.pending.consume(4 + length);
            stats.tx_dropped += 1;
        }
    }
}

/// The first waiting frames; their number.
fn waiting(pending: &Bytes, parts: &mut [[libc::iovec; 1]; BATCH]) -> usize {
    let mut rest = pending.rest();
    let mut count = 0;
    while let Some((header, after)) = rest.split_first_chunk::<4>() {
        if count == BATCH {
            break;
        }
        let (frame, behind) = after.split_at(u32::from_ne_bytes(*header) as usize);
        parts[count] = [libc::iovec { iov_base: frame.as_ptr() as *mut _, iov_len: frame.len() }];
        rest = behind;
        count += 1;
    }
    count
}
