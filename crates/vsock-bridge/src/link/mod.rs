//! Frame links: what a descriptor needs so that batches of frames can be read from it and written to it.

pub mod framing;
pub mod landing;
pub mod packet;
pub mod port;
pub mod stream;
pub mod tap;

use crate::buffers::{Ints, Span};
use crate::constants::*;
use crate::frame::{self, Frame};
use crate::sys::Res;
use std::os::fd::RawFd;

#[derive(Default, Clone, Copy)]
pub struct Stats {
    pub rx_frames: u64,
    pub rx_bytes: u64,
    pub rx_bad: u64,
    pub tx_frames: u64,
    pub tx_bytes: u64,
    pub tx_dropped: u64,
    pub tx_errors: u64,
}

impl Stats {
    pub fn sent(&mut self, bytes: usize) {
        self.tx_frames += 1;
        self.tx_bytes += bytes as u64;
    }
}

pub enum Kind {
    Tap(tap::Tap),
    Stream(stream::Stream),
    Packet(packet::Packet),
}

pub struct Link {
    pub kind: Kind,
    pub stats: Stats,
}

/// Where received frames go: a range of a buffer (which begins at `base` of it) and their descriptions.
pub struct Sink {
    pub span: Span,
    pub base: usize,
    pub meta: Ints,
    pub max: usize,
    pub count: usize,
}

impl Sink {
    pub fn full(&self) -> bool {
        self.count >= self.max
    }

    /// Describes a frame at `at` of the span; a checksum that nobody vouches for is looked at here, where it costs least.
    pub fn push(&mut self, at: usize, length: usize, mut flags: i32, gso: i32) {
        if flags & RX_CHECKSUM_OK == 0 && frame::verified(self.span.part(at, at + length).bytes()) {
            flags |= RX_CHECKSUM_OK;
        }
        let i = self.count * RX_STRIDE;
        self.meta.set(i, (self.base + at) as i32);
        self.meta.set(i + 1, length as i32);
        self.meta.set(i + 2, flags);
        self.meta.set(i + 3, gso);
        self.count += 1;
    }
}

/// Memory that sends use again and again.
#[derive(Default)]
pub struct Scratch {
    /// Frames of a call, as described and after cutting.
    pub frames: Vec<Frame>,
    pub cut: Vec<Frame>,
    /// Copies of headers and small payloads. Its capacity is reserved before anything points into it.
    pub arena: Vec<u8>,
    pub small: Vec<u8>,
    pub iovecs: Vec<libc::iovec>,
    /// Where each frame of a stream ends, in bytes of the whole call.
    pub ends: Vec<usize>,
    /// Landing place of packet sockets.
    pub landing: landing::Landing,
}

impl Link {
    pub fn new(kind: Kind) -> Link {
        Link { kind, stats: Stats::default() }
    }

    pub fn kind_number(&self) -> i32 {
        match &self.kind {
            Kind::Tap(_) => KIND_TAP,
            Kind::Stream(stream) => stream.framing.number(),
            Kind::Packet(packet) => packet.kind_number(),
        }
    }

    /// Bytes that wait for the socket.
    pub fn pending(&self) -> usize {
        match &self.kind {
            Kind::Stream(stream) => stream.pending.len(),
            Kind::Packet(packet) => packet.pending.len(),
            Kind::Tap(_) => 0,
        }
    }

    /// Something to deliver without the kernel's help: frames beyond the last call's limit, or the news of the end.
    pub fn is_hot(&self) -> bool {
        match &self.kind {
            Kind::Stream(stream) => stream.hot,
            Kind::Packet(packet) => packet.is_hot(),
            Kind::Tap(_) => false,
        }
    }

    /// One of the peers of a datagram port: what it sends comes by the port.
    pub fn is_peer(&self) -> bool {
        matches!(&self.kind, Kind::Packet(packet) if packet.peer.is_some())
    }

    /// The socket can write: sends what waits.
    pub fn writable(&mut self, fd: RawFd) -> Res<()> {
        match &mut self.kind {
            Kind::Stream(stream) => stream.flush(fd),
            Kind::Packet(packet) => packet.writable(fd, &mut self.stats),
            Kind::Tap(_) => Ok(()),
        }
    }

    /// Room that a receive needs for the longest frame.
    pub fn room(&self) -> usize {
        match &self.kind {
            Kind::Stream(_) => MAX_FRAME + 4,
            _ => PACKET_ROOM,
        }
    }

    pub fn receive(&mut self, fd: RawFd, sink: &mut Sink, scratch: &mut Scratch) -> Res<()> {
        let outcome = match &mut self.kind {
            Kind::Tap(tap) => tap.receive(fd, sink, &mut self.stats),
            Kind::Stream(stream) => stream.receive(fd, sink, &mut self.stats),
            Kind::Packet(packet) => packet.receive(fd, sink, &mut scratch.landing, &mut self.stats),
        };
        self.stats.rx_frames += sink.count as u64;
        for i in 0..sink.count {
            self.stats.rx_bytes += sink.meta.get(i * RX_STRIDE + 1) as u64;
        }
        outcome
    }

    /// Sends `scratch.frames`.
    pub fn send(&mut self, fd: RawFd, scratch: &mut Scratch) -> Res<()> {
        match &mut self.kind {
            Kind::Tap(tap) if tap.header > 0 => tap.send(fd, &scratch.frames, &mut self.stats),
            _ => {
                prepare(scratch)?;
                match &mut self.kind {
                    Kind::Tap(tap) => tap.send(fd, &scratch.cut, &mut self.stats),
                    Kind::Stream(stream) => stream.send(fd, scratch, &mut self.stats),
                    Kind::Packet(packet) => packet.send(fd, &scratch.cut, &mut self.stats),
                }
            }
        }
    }
}

/// Cuts super-segments and fills in checksums: `frames` becomes `cut`.
fn prepare(scratch: &mut Scratch) -> Res<()> {
    let mut need = 0;
    for frame in &scratch.frames {
        need += crate::gso::arena_need(frame)?;
    }
    scratch.cut.clear();
    scratch.arena.clear();
    scratch.arena.reserve(need);
    for frame in &scratch.frames {
        if frame.gso > 0 {
            crate::gso::cut(frame, &mut scratch.arena, &mut scratch.cut)?;
        } else {
            crate::frame::fill_checksums(frame);
            scratch.cut.push(*frame);
        }
    }
    Ok(())
}

#[cfg(test)]
mod packet_tests;
