//! The poller's calls on unix packet sockets: seqpacket listeners, and datagram ports with their peers.

use crate::address::Address;
use crate::constants::*;
use crate::link::packet::Peer;
use crate::link::port::{self, Port};
use crate::link::{Kind, Link, Sink, Stats};
use crate::poller::Poller;
use crate::slab::Slab;
use crate::state::{Entry, Object, State};
use crate::sys::{check_int, owned, set_option, Res};
use napi_derive::napi;
use std::os::fd::{AsRawFd, OwnedFd};

/// Binds a socket to a path that only this user may use from the first moment on: Linux gives the file the mode of
/// the socket's own inode.
fn bind_private(fd: &OwnedFd, path: &str) -> Res<()> {
    let address = Address::unix(path)?;
    // SAFETY: fchmod takes numbers; the address is valid for its length.
    unsafe {
        check_int(libc::fchmod(fd.as_raw_fd(), 0o600))?;
        check_int(libc::bind(fd.as_raw_fd(), address.as_ptr(), address.length))?;
    }
    Ok(())
}

/// Buffers as asked for where we may, else as large as the system lets us.
fn set_buffers(fd: &OwnedFd, receive: i32, send: i32) {
    let pairs =
        [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, receive), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, send)];
    for (force, plain, bytes) in pairs {
        if bytes > 0 && set_option(fd, libc::SOL_SOCKET, force, &bytes).is_err() {
            // Smaller buffers are no reason to fail.
            let _ = set_option(fd, libc::SOL_SOCKET, plain, &bytes);
        }
    }
}

impl port::Table for Slab<Entry> {
    fn peer(&mut self, handle: i32) -> Option<&mut Stats> {
        match &mut self.get_mut(handle)?.object {
            Object::Link(link) => Some(&mut link.stats),
            _ => None,
        }
    }

    fn insert(&mut self, fd: OwnedFd, link: Link) -> Res<i32> {
        Slab::insert(self, Entry::silent(fd, Object::Link(Box::new(link)))).map_err(|_| libc::EMFILE)
    }
}

impl State {
    fn datagram_listen(&mut self, path: &str, receive: i32, send: i32) -> Res<i32> {
        let fd = port::unix_datagram()?;
        set_buffers(&fd, receive, send);
        bind_private(&fd, path)?;
        self.insert(fd, Object::Port(Box::default()), READ)
    }

    fn seqpacket_listen(&mut self, path: &str, backlog: i32) -> Res<i32> {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket takes numbers.
        let fd = owned(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })?;
        bind_private(&fd, path)?;
        // SAFETY: listen takes numbers.
        check_int(unsafe { libc::listen(fd.as_raw_fd(), backlog) })?;
        self.insert(fd, Object::Listener, READ)
    }

    fn datagram_batch(
        &mut self,
        handle: i32,
        buffer: i32,
        range: (i32, i32),
        meta: i32,
        max: i32,
    ) -> Res<i32> {
        let span = self.buffers.range(buffer, range.0, range.1)?;
        let meta = self.buffers.ints(meta)?;
        let max = usize::try_from(max).map_err(|_| libc::EINVAL)?.min(meta.len() / RX_STRIDE);
        if max == 0 || span.len() < PACKET_ROOM {
            return Err(libc::EINVAL);
        }
        let entry = self.entry(handle)?;
        let fd = entry.fd.as_raw_fd();
        let Object::Port(port) = &mut entry.object else { return Err(libc::EINVAL) };
        // The port works on the table that it stands in.
        let mut port: Box<Port> = std::mem::take(port);
        let mut sink = Sink { span, base: range.0 as usize, meta, max, count: 0 };
        let outcome = port.receive(fd, &mut sink, &mut self.scratch.landing, &mut self.slab);
        let hot = port.is_hot();
        self.entry(handle)?.object = Object::Port(port);
        if hot {
            self.warm(handle);
        }
        outcome.map(|()| sink.count as i32)
    }

    fn peer(&mut self, handle: i32) -> Res<&Peer> {
        match &self.link(handle)?.0.kind {
            Kind::Packet(packet) => packet.peer.as_ref().ok_or(libc::EINVAL),
            _ => Err(libc::EINVAL),
        }
    }
}

#[napi]
impl Poller {
    #[napi]
    pub fn datagram_listen(&self, path: String, receive_buffer: i32, send_buffer: i32) -> i32 {
        self.with(|state| state.datagram_listen(&path, receive_buffer, send_buffer))
    }

    #[napi]
    pub fn seqpacket_listen(&self, path: String, backlog: i32) -> i32 {
        self.with(|state| state.seqpacket_listen(&path, backlog))
    }

    #[napi]
    pub fn datagram_batch(
        &self,
        handle: i32,
        buffer: i32,
        start: i32,
        end: i32,
        meta_ints: i32,
        max_frames: i32,
    ) -> i32 {
        self.with(|state| state.datagram_batch(handle, buffer, (start, end), meta_ints, max_frames))
    }

    #[napi]
    pub fn peer_probe(&self, handle: i32) -> i32 {
        self.with(|state| port::probe(&state.peer(handle)?.address).map(|()| 0))
    }

    #[napi]
    pub fn peer_path(&self, handle: i32) -> Option<String> {
        self.with_option(|state| Some(state.peer(handle).ok()?.address.describe()?.address))
    }
}
