//! Frames on a byte stream, each behind its length.

use super::framing::{Bytes, Framing};
use super::{Scratch, Sink, Stats};
use crate::constants::*;
use crate::frame::Frame;
use crate::sys::{check, Errno, Res};
use std::os::fd::RawFd;

/// Payload pieces shorter than this are copied behind their header: one more piece costs the kernel more.
const COPY_BELOW: usize = 512;
const MAX_IOVECS: usize = 1024;

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
            self.carry = Bytes::new(joined);
        }
        let rest = self.carry.rest();
        let length = self.framing.length(rest);
        let whole =
            length.is_some_and(|length| length > MAX_FRAME || rest.len() >= self.framing.prefix() + length);
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
        let Scratch { cut, small, iovecs, ends, .. } = scratch;
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
            small.extend_from_slice(&framing.head(length)[..framing.prefix()]);
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
        let head = self.framing.head(frame.len());
        let mut skip = skip;
        let pieces = frame.pieces.iter().map(crate::buffers::Span::bytes);
        for bytes in std::iter::once(&head[..self.framing.prefix()]).chain(pieces) {
            let from = skip.min(bytes.len());
            skip -= from;
            self.pending.push(&bytes[from..]);
        }
    }

    /// Writes pending bytes as far as the socket takes them.
    pub fn flush(&mut self, fd: RawFd) -> Res<()> {
        while self.pending.len() > 0 {
            let rest = self.pending.rest();
            let part = libc::iovec { iov_base: rest.as_ptr() as *mut _, iov_len: rest.len() };
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
#[path = "stream_tests.rs"]
mod tests;
