//! Frames as packets: a connected unix seqpacket or datagram socket, one frame each.

use super::{Scratch, Sink, Stats};
use crate::constants::*;
use crate::frame::Frame;
use crate::sys::{check, Res};
use std::os::fd::RawFd;

/// Packets per system call.
const BATCH: usize = 32;

pub struct Packet {
    pub seqpacket: bool,
}

impl Packet {
    pub fn kind_number(&self) -> i32 {
        if self.seqpacket {
            KIND_SEQPACKET
        } else {
            KIND_DGRAM
        }
    }

    /// Packets land in slots of their own, for nobody knows their lengths before, and are packed into the range.
    pub fn receive(
        &mut self,
        fd: RawFd,
        sink: &mut Sink,
        scratch: &mut Scratch,
        stats: &mut Stats,
    ) -> Res<()> {
        scratch.landing.resize(BATCH * PACKET_ROOM, 0);
        let base = scratch.landing.as_mut_ptr();
        let mut at = 0;
        loop {
            let room = (sink.span.len() - at) / PACKET_ROOM;
            let want = BATCH.min(sink.max - sink.count).min(room);
            if want == 0 {
                return Ok(());
            }
            let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: PACKET_ROOM }; BATCH];
            // SAFETY: all-zero mmsghdrs are valid.
            let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
            for i in 0..want {
                parts[i].iov_base = base.wrapping_add(i * PACKET_ROOM).cast();
                messages[i].msg_hdr.msg_iov = &mut parts[i];
                messages[i].msg_hdr.msg_iovlen = 1;
            }
            let timeout = std::ptr::null_mut();
            // SAFETY: each message has one slot of PACKET_ROOM bytes inside `landing`.
            let result = unsafe {
                libc::recvmmsg(fd, messages.as_mut_ptr(), want as u32, libc::MSG_DONTWAIT as _, timeout)
            };
            let count = match check(result as isize) {
                Ok(count) => count,
                // An unconnected peer of a datagram socket may come back.
                Err(libc::EAGAIN | libc::EINTR | libc::ECONNREFUSED) => return Ok(()),
                Err(errno) if sink.count == 0 => return Err(errno),
                Err(_) => return Ok(()),
            };
            for (i, message) in messages[..count].iter().enumerate() {
                let length = message.msg_len as usize;
                if length == 0 && self.seqpacket {
                    // The end is told again by the next call: the socket stays readable.
                    return if sink.count == 0 { Err(libc::EPIPE) } else { Ok(()) };
                }
                let truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
                if truncated || length < MIN_FRAME {
                    stats.rx_bad += 1;
                    continue;
                }
                let from = i * PACKET_ROOM;
                sink.span.write(at, &scratch.landing[from..from + length]);
                sink.push(at, length, 0, 0);
                at = (at + length).next_multiple_of(16).min(sink.span.len());
            }
            if count < want {
                return Ok(());
            }
        }
    }

    pub fn send(&mut self, fd: RawFd, frames: &[Frame], stats: &mut Stats) -> Res<()> {
        let mut next = 0;
        while next < frames.len() {
            let batch = &frames[next..frames.len().min(next + BATCH)];
            let mut parts = [[libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 3]; BATCH];
            // SAFETY: all-zero mmsghdrs are valid.
            let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
            for (i, frame) in batch.iter().enumerate() {
                for (part, piece) in parts[i].iter_mut().zip(&frame.pieces) {
                    *part = piece.iovec();
                }
                messages[i].msg_hdr.msg_iov = parts[i].as_mut_ptr();
                messages[i].msg_hdr.msg_iovlen = 3;
            }
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: every piece is readable for its length.
            let result = unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), batch.len() as u32, flags as _) };
            match check(result as isize) {
                Ok(count) => {
                    for frame in &batch[..count] {
                        stats.sent(frame.len());
                    }
                    next += count.max(1);
                }
                Err(libc::EINTR) => {}
                // The peer's queue is full: what follows would find it full too.
                Err(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                    stats.tx_dropped += (frames.len() - next) as u64;
                    return Ok(());
                }
                Err(libc::EPIPE | libc::ECONNRESET) if self.seqpacket => return Err(libc::EPIPE),
                Err(_) => {
                    stats.tx_errors += 1;
                    next += 1;
                }
            }
        }
        Ok(())
    }
}
