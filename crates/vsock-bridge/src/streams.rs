//! The poller's calls on streams: connect, listen, accept, read, write, end.

use crate::address::{Address, SocketAddress};
use crate::constants::{ACCEPT_INTS, READ, SLICE_STRIDE, WRITE};
use crate::linger::STREAM_UNIT;
use crate::poller::Poller;
use crate::state::{Object, State, Stream};
use crate::sys::{adopt, check, check_int, get_option, owned, set_nonblocking, set_option, Res};
use napi_derive::napi;
use std::os::fd::{AsRawFd, OwnedFd};

/// Slices per system call (IOV_MAX).
const MAX_SLICES: usize = 1024;
const STREAM: i32 = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;

#[napi(object)]
pub struct PeerCredentials {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

fn stream_socket(family: i32) -> Res<OwnedFd> {
    // SAFETY: socket takes numbers.
    owned(unsafe { libc::socket(family, STREAM, 0) })
}

fn is_inet(family: i32) -> bool {
    family == libc::AF_INET || family == libc::AF_INET6
}

fn bind(fd: &OwnedFd, address: &Address) -> Res<()> {
    // SAFETY: the address is valid for its length.
    check_int(unsafe { libc::bind(fd.as_raw_fd(), address.as_ptr(), address.length) })?;
    Ok(())
}

/// Whether AF_VSOCK is allowed; asked at every call.
fn vsock_allowed() -> Res<()> {
    if std::env::var_os("NETPROXY_NO_VSOCK").is_some_and(|value| value == "1") {
        return Err(libc::EPERM);
    }
    Ok(())
}

impl State {
    /// Begins a connection; its result comes by WRITE.
    /// `receive_buffer` is SO_RCVBUF, bytes: set before, as the window scale that is offered depends on it.
    fn connect(&mut self, target: &Address, from: Option<&Address>, receive_buffer: Option<i32>) -> Res<i32> {
        let fd = stream_socket(target.family())?;
        if let Some(bytes) = receive_buffer {
            set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes)?;
        }
        if let Some(from) = from {
            // The port is chosen at connect, when the whole tuple is known.
            set_option(&fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &1i32)?;
            bind(&fd, from)?;
        }
        // SAFETY: the address is valid for its length.
        let result = check_int(unsafe { libc::connect(fd.as_raw_fd(), target.as_ptr(), target.length) });
        match result {
            Ok(_) | Err(libc::EINPROGRESS) if is_inet(target.family()) => self.insert_connecting(fd),
            Ok(_) | Err(libc::EINPROGRESS) => self.insert(fd, Object::Stream(Stream::Plain), WRITE),
            Err(errno) => Err(errno),
        }
    }

    fn listen(&mut self, fd: OwnedFd, address: &Address, backlog: i32) -> Res<i32> {
        bind(&fd, address)?;
        // SAFETY: listen takes numbers.
        check_int(unsafe { libc::listen(fd.as_raw_fd(), backlog) })?;
        self.insert(fd, Object::Listener, READ)
    }

    fn accept(&mut self, listener: i32, out: i32) -> Res<i32> {
        let ints = if out == 0 { None } else { Some(self.buffers.table(out, 0, 1, ACCEPT_INTS)?) };
        let entry = self.entry(listener)?;
        if !matches!(entry.object, Object::Listener) {
            return Err(libc::EINVAL);
        }
        let mut peer = Address::empty();
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let listener = entry.fd.as_raw_fd();
        // SAFETY: the kernel writes at most `length` bytes into the storage.
        let fd = owned(unsafe { libc::accept4(listener, peer.as_mut_ptr(), &mut peer.length, flags) })?;
        let (family, port, words) = peer.words();
        if family == 4 || family == 6 {
            set_option(&fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1i32)?;
        }
        let handle = self.insert(fd, Object::Stream(Stream::Plain), 0)?;
        if let Some(ints) = ints {
            ints.set(0, family);
            ints.set(1, port as i32);
            for (i, word) in words.iter().enumerate() {
                ints.set(2 + i, *word as i32);
            }
        }
        Ok(handle)
    }

    fn adopt_socket(&mut self, fd: i32, duplicate: bool, listener: bool) -> Res<i32> {
        let fd = adopt(fd, duplicate)?;
        let kind = get_option(&fd, libc::SOL_SOCKET, libc::SO_TYPE, 0i32)?;
        let listens = get_option(&fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, 0i32)? != 0;
        if kind != libc::SOCK_STREAM || listens != listener {
            return Err(libc::EINVAL);
        }
        set_nonblocking(fd.as_raw_fd())?;
        if listener {
            self.insert(fd, Object::Listener, READ)
        } else {
            self.insert(fd, Object::Stream(Stream::Plain), 0)
        }
    }

    /// The descriptor of a stream that is about to be written to. Nagle's algorithm goes off before the second write: the
    /// first has nothing to wait for, and a connection of one request never pays for the call.
    fn writable_fd(&mut self, handle: i32) -> Res<i32> {
        let entry = self.entry(handle)?;
        let Object::Stream(stream) = entry.object else { return Err(libc::EINVAL) };
        match stream {
            Stream::Plain => (),
            Stream::Fresh => entry.object = Object::Stream(Stream::Begun),
            Stream::Begun => {
                entry.object = Object::Stream(Stream::Plain);
                set_option(&entry.fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1i32)?;
            }
        }
        Ok(entry.fd.as_raw_fd())
    }

    fn writev(&mut self, handle: i32, slices: i32, start: i32, count: i32) -> Res<i32> {
        let fd = self.writable_fd(handle)?;
        let table = self.buffers.table(slices, start, count, SLICE_STRIDE)?;
        let iovecs = &mut self.scratch.iovecs;
        iovecs.clear();
        let mut total = 0usize;
        for i in 0..count as usize {
            let at = i * SLICE_STRIDE;
            let span = self.buffers.span(table.get(at), table.get(at + 1), table.get(at + 2))?;
            if span.len() > 0 && iovecs.len() < MAX_SLICES && total + span.len() <= i32::MAX as usize {
                total += span.len();
                iovecs.push(span.iovec());
            }
        }
        if iovecs.is_empty() {
            return Ok(0);
        }
        // SAFETY: an all-zero msghdr is valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = iovecs.as_mut_ptr();
        message.msg_iovlen = iovecs.len() as _;
        // SAFETY: every slice is readable for its length.
        let sent = check(unsafe { libc::sendmsg(fd, &message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) })?;
        self.linger.moved(sent as usize / STREAM_UNIT);
        Ok(sent as i32)
    }

    fn receive(&mut self, handle: i32, buffer: i32, ranges: [(i32, i32); 2], flags: i32) -> Res<i32> {
        let fd = self.stream_fd(handle)?;
        let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 2];
        for (part, (offset, length)) in parts.iter_mut().zip(ranges) {
            *part = self.buffers.span(buffer, offset, length)?.iovec();
        }
        let total = parts[0].iov_len + parts[1].iov_len;
        if total == 0 || total > i32::MAX as usize {
            // An empty read would look like the end of the stream.
            return Err(libc::EINVAL);
        }
        // SAFETY: an all-zero msghdr is valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = 2;
        // SAFETY: both ranges are writable for their lengths.
        let count = check(unsafe { libc::recvmsg(fd, &mut message, flags | libc::MSG_DONTWAIT) })?;
        self.linger.moved(count as usize / STREAM_UNIT);
        Ok(count as i32)
    }

    fn reset(&mut self, handle: i32) -> Res<i32> {
        self.stream_fd(handle)?;
        let entry = self.entry(handle)?;
        let abort = libc::linger { l_onoff: 1, l_linger: 0 };
        // Other families know no reset: closing with unread data does what they can.
        let _ = set_option(&entry.fd, libc::SOL_SOCKET, libc::SO_LINGER, &abort);
        self.close(handle).map(|()| 0)
    }
}

#[napi]
impl Poller {
    #[napi(js_name = "tcpConnect4")]
    pub fn tcp_connect_v4(&self, ip: u32, port: i32, receive_buffer: Option<i32>) -> i32 {
        self.with(|state| {
            let port = u16::try_from(port).map_err(|_| libc::EINVAL)?;
            state.connect(&Address::v4(ip, port), None, receive_buffer)
        })
    }

    #[napi]
    pub fn tcp_connect(&self, ip: String, port: i32, bind_ip: Option<String>) -> i32 {
        self.with(|state| {
            let from = bind_ip.map(|ip| Address::parse(&ip, 0)).transpose()?;
            state.connect(&Address::parse(&ip, port)?, from.as_ref(), None)
        })
    }

    #[napi]
    pub fn tcp_listen(&self, ip: String, port: i32, backlog: i32, v6_only: bool) -> i32 {
        self.with(|state| {
            let address = Address::parse(&ip, port)?;
            let fd = stream_socket(address.family())?;
            set_option(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1i32)?;
            if address.family() == libc::AF_INET6 {
                set_option(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &i32::from(v6_only))?;
            }
            state.listen(fd, &address, backlog)
        })
    }

    #[napi]
    pub fn unix_connect(&self, path: String) -> i32 {
        self.with(|state| state.connect(&Address::unix(&path)?, None, None))
    }

    #[napi]
    pub fn unix_listen(&self, path: String, backlog: i32) -> i32 {
        self.with(|state| {
            let address = Address::unix(&path)?;
            state.listen(stream_socket(libc::AF_UNIX)?, &address, backlog)
        })
    }

    #[napi]
    pub fn vsock_connect(&self, cid: u32, port: u32) -> i32 {
        self.with(|state| {
            vsock_allowed()?;
            state.connect(&Address::vsock(cid, port), None, None)
        })
    }

    #[napi]
    pub fn vsock_listen(&self, port: u32, backlog: i32) -> i32 {
        self.with(|state| {
            vsock_allowed()?;
            let fd = stream_socket(libc::AF_VSOCK)?;
            state.listen(fd, &Address::vsock(libc::VMADDR_CID_ANY, port), backlog)
        })
    }

    #[napi]
    pub fn accept(&self, listener: i32, out_ints: i32) -> i32 {
        self.with(|state| state.accept(listener, out_ints))
    }

    #[napi]
    pub fn adopt_stream(&self, fd: i32, duplicate: bool) -> i32 {
        self.with(|state| state.adopt_socket(fd, duplicate, false))
    }

    #[napi]
    pub fn adopt_listener(&self, fd: i32, duplicate: bool) -> i32 {
        self.with(|state| state.adopt_socket(fd, duplicate, true))
    }

    #[napi]
    pub fn so_error(&self, handle: i32) -> i32 {
        self.with(|state| {
            match get_option(&state.entry(handle)?.fd, libc::SOL_SOCKET, libc::SO_ERROR, 0i32)? {
                0 => Ok(0),
                errno => Err(errno),
            }
        })
    }

    #[napi]
    pub fn is_self_connected(&self, handle: i32, target_port: i32) -> i32 {
        self.with(|state| {
            let fd = state.fd(handle)?;
            let ours = Address::name(fd, false)?;
            let same = is_inet(ours.family()) && ours.words().1 as i32 == target_port;
            Ok(i32::from(same && ours == Address::name(fd, true)?))
        })
    }

    #[napi]
    pub fn address(&self, handle: i32, peer: bool) -> Option<SocketAddress> {
        self.with_option(|state| Address::name(state.fd(handle).ok()?, peer).ok()?.describe())
    }

    #[napi]
    pub fn writev(&self, handle: i32, slices_ints: i32, start: i32, count: i32) -> i32 {
        self.with(|state| state.writev(handle, slices_ints, start, count))
    }

    #[napi]
    pub fn readv(
        &self,
        handle: i32,
        buffer: i32,
        offset1: i32,
        length1: i32,
        offset2: i32,
        length2: i32,
    ) -> i32 {
        self.with(|state| state.receive(handle, buffer, [(offset1, length1), (offset2, length2)], 0))
    }

    #[napi]
    pub fn peek(&self, handle: i32, buffer: i32, offset: i32, length: i32) -> i32 {
        self.with(|state| state.receive(handle, buffer, [(offset, length), (0, 0)], libc::MSG_PEEK))
    }

    #[napi]
    pub fn shutdown_write(&self, handle: i32) -> i32 {
        self.with(|state| {
            let fd = state.stream_fd(handle)?;
            // SAFETY: shutdown takes numbers.
            check_int(unsafe { libc::shutdown(fd, libc::SHUT_WR) })
        })
    }

    #[napi]
    pub fn reset(&self, handle: i32) -> i32 {
        self.with(|state| state.reset(handle))
    }

    #[napi]
    pub fn unacknowledged(&self, handle: i32) -> i32 {
        self.with(|state| {
            let fd = state.fd(handle)?;
            let mut bytes = 0i32;
            // SAFETY: SIOCOUTQ (TIOCOUTQ) writes one int.
            check_int(unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &mut bytes) })?;
            Ok(bytes)
        })
    }

    #[napi]
    pub fn set_option(&self, handle: i32, option: i32, value: i32) -> i32 {
        self.with(|state| crate::options::set(state.entry(handle)?, option, value).map(|()| 0))
    }

    #[napi]
    pub fn peer_credentials(&self, handle: i32) -> Option<PeerCredentials> {
        self.with_option(|state| {
            let none = libc::ucred { pid: 0, uid: 0, gid: 0 };
            let entry = state.entry(handle).ok()?;
            let found = get_option(&entry.fd, libc::SOL_SOCKET, libc::SO_PEERCRED, none).ok()?;
            // Sockets of other families answer with pid 0.
            (found.pid != 0).then_some(PeerCredentials { pid: found.pid, uid: found.uid, gid: found.gid })
        })
    }
}
