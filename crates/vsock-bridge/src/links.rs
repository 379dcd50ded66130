//! The poller's calls on frame links.

use crate::constants::*;
use crate::frame::Frame;
use crate::link::framing::Framing;
use crate::link::packet::Packet;
use crate::link::stream::Stream;
use crate::link::tap::{self, Tap};
use crate::link::{Kind, Link, Sink};
use crate::poller::Poller;
use crate::state::{Object, State};
use crate::sys::{adopt, get_option, is_socket, set_nonblocking, Res};
use napi_derive::napi;
use std::os::fd::{AsRawFd, OwnedFd};

#[napi(object)]
pub struct LinkInfo {
    pub kind: i32,
    pub name: String,
    pub mtu: i32,
    pub vnet_header: i32,
    pub offloads: bool,
}

#[napi(object)]
pub struct LinkStats {
    pub rx_frames: f64,
    pub rx_bytes: f64,
    pub rx_bad: f64,
    pub tx_frames: f64,
    pub tx_bytes: f64,
    pub tx_dropped: f64,
    pub tx_errors: f64,
    pub pending: f64,
}

#[napi(object)]
pub struct TapOptions {
    pub vnet_header: bool,
    pub offloads: bool,
}

impl State {
    pub fn add_tap(&mut self, fd: OwnedFd, offloads: bool, mtu: i32) -> Res<i32> {
        let tap = Tap { mtu, ..Tap::adopt(&fd, offloads)? };
        self.insert(fd, Object::Link(Box::new(Link::new(Kind::Tap(tap)))), READ)
    }

    fn adopt_link(&mut self, fd: OwnedFd, kind: i32) -> Res<i32> {
        if kind == KIND_TAP {
            return self.add_tap(fd, false, 0);
        }
        let kind = if let Some(framing) = Framing::from_number(kind) {
            Kind::Stream(Stream::new(framing, is_socket(&fd), &[]))
        } else {
            let wanted = match kind {
                KIND_SEQPACKET => libc::SOCK_SEQPACKET,
                KIND_DGRAM => libc::SOCK_DGRAM,
                _ => return Err(libc::EINVAL),
            };
            if get_option(&fd, libc::SOL_SOCKET, libc::SO_TYPE, 0i32)? != wanted {
                return Err(libc::EINVAL);
            }
            Kind::Packet(Packet::new(kind == KIND_SEQPACKET, None))
        };
        set_nonblocking(fd.as_raw_fd())?;
        self.insert(fd, Object::Link(Box::new(Link::new(kind))), READ)
    }

    fn stream_to_link(&mut self, handle: i32, kind: i32, buffer: i32, offset: i32, length: i32) -> Res<i32> {
        let already = self.buffers.span(buffer, offset, length)?;
        self.stream_fd(handle)?;
        let entry = self.entry(handle)?;
        let packets = is_socket(&entry.fd)
            && get_option(&entry.fd, libc::SOL_SOCKET, libc::SO_TYPE, 0i32)? == libc::SOCK_SEQPACKET;
        let kind = match Framing::from_number(kind) {
            Some(framing) if !packets => {
                Kind::Stream(Stream::new(framing, is_socket(&entry.fd), already.bytes()))
            }
            None if packets && kind == KIND_SEQPACKET && length == 0 => Kind::Packet(Packet::new(true, None)),
            _ => return Err(libc::EINVAL),
        };
        entry.object = Object::Link(Box::new(Link::new(kind)));
        self.interest(handle, READ as i32)?;
        Ok(handle)
    }

    #[allow(clippy::too_many_arguments)]
    fn rx_batch(&mut self, handle: i32, buffer: i32, start: i32, end: i32, meta: i32, max: i32) -> Res<i32> {
        let span = self.buffers.range(buffer, start, end)?;
        let meta = self.buffers.ints(meta)?;
        let max = usize::try_from(max).map_err(|_| libc::EINVAL)?.min(meta.len() / RX_STRIDE);
        let mut scratch = std::mem::take(&mut self.scratch);
        let (link, fd) = match self.link(handle) {
            Ok(found) => found,
            Err(errno) => {
                self.scratch = scratch;
                return Err(errno);
            }
        };
        let mut sink = Sink { span, base: start as usize, meta, max, count: 0 };
        let outcome = if max == 0 || span.len() < link.room() {
            Err(libc::EINVAL)
        } else {
            link.receive(fd, &mut sink, &mut scratch)
        };
        let hot = link.is_hot();
        self.scratch = scratch;
        self.linger.moved(sink.count);
        if hot {
            self.warm(handle);
        }
        match outcome {
            // What comes after frames comes again, or is kept by the link.
            Err(errno) if sink.count == 0 => Err(errno),
            _ => Ok(sink.count as i32),
        }
    }

    fn tx_batch(&mut self, handle: i32, desc: i32, count: i32) -> Res<i32> {
        let table = self.buffers.table(desc, 0, count, TX_STRIDE)?;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.frames.clear();
        let mut outcome = Ok(());
        for i in 0..count as usize {
            match Frame::parse(&self.buffers, &table, i) {
                Ok(frame) => scratch.frames.push(frame),
                Err(errno) => outcome = Err(errno),
            }
        }
        let outcome = outcome.and_then(|()| {
            let (link, fd) = self.link(handle)?;
            let before = link.pending();
            link.send(fd, &mut scratch)?;
            Ok((before, link.pending()))
        });
        self.scratch = scratch;
        self.linger.moved(count as usize);
        let (before, after) = outcome?;
        if (before > 0) != (after > 0) {
            self.arm(handle)?;
        }
        Ok(after as i32)
    }

    fn link_info(&mut self, handle: i32) -> Option<LinkInfo> {
        let (link, fd) = self.link(handle).ok()?;
        let mut info = LinkInfo {
            kind: link.kind_number(),
            name: String::new(),
            mtu: 0,
            vnet_header: 0,
            offloads: false,
        };
        if let Kind::Tap(tap) = &link.kind {
            info.mtu = tap::mtu(fd, &tap.name).unwrap_or(tap.mtu);
            info.name.clone_from(&tap.name);
            info.vnet_header = tap.header as i32;
            info.offloads = tap.offloads;
        }
        Some(info)
    }
}

#[napi]
impl Poller {
    #[napi]
    pub fn link_open_tap(&self, name: String, netns: Option<String>, options: TapOptions) -> i32 {
        let how =
            tap::Open { vnet_header: options.vnet_header, offloads: options.offloads && options.vnet_header };
        self.with(|state| {
            let fd = match netns {
                Some(path) => tap::open_in(&path, &name, how)?,
                None => tap::open_here(name.as_bytes(), how)?,
            };
            state.add_tap(fd, how.offloads, 0)
        })
    }

    #[napi]
    pub fn link_adopt(&self, fd: i32, kind: i32, duplicate: bool) -> i32 {
        self.with(|state| state.adopt_link(adopt(fd, duplicate)?, kind))
    }

    #[napi]
    pub fn stream_to_link(&self, handle: i32, kind: i32, buffer: i32, offset: i32, length: i32) -> i32 {
        self.with(|state| state.stream_to_link(handle, kind, buffer, offset, length))
    }

    #[napi]
    pub fn link_info(&self, handle: i32) -> Option<LinkInfo> {
        self.with_option(|state| state.link_info(handle))
    }

    #[napi]
    pub fn link_stats(&self, handle: i32) -> Option<LinkStats> {
        self.with_option(|state| {
            let (stats, pending) = match &state.entry(handle).ok()?.object {
                Object::Link(link) => (link.stats, link.pending()),
                Object::Port(port) => (port.stats, 0),
                _ => return None,
            };
            Some(LinkStats {
                rx_frames: stats.rx_frames as f64,
                rx_bytes: stats.rx_bytes as f64,
                rx_bad: stats.rx_bad as f64,
                tx_frames: stats.tx_frames as f64,
                tx_bytes: stats.tx_bytes as f64,
                tx_dropped: stats.tx_dropped as f64,
                tx_errors: stats.tx_errors as f64,
                pending: pending as f64,
            })
        })
    }

    #[napi]
    #[allow(clippy::too_many_arguments)]
    pub fn rx_batch(
        &self,
        handle: i32,
        buffer: i32,
        start: i32,
        end: i32,
        meta_ints: i32,
        max_frames: i32,
    ) -> i32 {
        self.with(|state| state.rx_batch(handle, buffer, start, end, meta_ints, max_frames))
    }

    #[napi]
    pub fn tx_batch(&self, handle: i32, desc_ints: i32, count: i32) -> i32 {
        self.with(|state| state.tx_batch(handle, desc_ints, count))
    }
}
