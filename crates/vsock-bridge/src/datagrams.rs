//! The poller's calls on UDP and ping sockets: batches both ways, and the error queue.

use crate::address::{bytes_of, Address};
use crate::buffers::Ints;
use crate::constants::*;
use crate::control::{each_control, offender, put_control, word};
use crate::poller::Poller;
use crate::state::{Object, State};
use crate::sys::{adopt, check, check_int, get_option, owned, set_nonblocking, set_option, Res};
use napi_derive::napi;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Datagrams per system call.
const BATCH: usize = 64;

/// Room for control messages: an address, TTL, TOS, an extended error; 152 bytes at most.
const CONTROL: usize = 192;
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// What one batch needs; kept by the poller and used again. The messages point into the other vectors, which never
/// change their size.
pub struct Batch {
    parts: Vec<libc::iovec>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    messages: Vec<libc::mmsghdr>,
}

impl Default for Batch {
    fn default() -> Batch {
        // SAFETY: all-zero is valid for each of these C structures.
        let (part, name, message) = unsafe { (std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed()) };
        let mut batch = Batch {
            parts: vec![part; BATCH],
            names: vec![name; BATCH],
            controls: vec![Control([0; CONTROL]); BATCH],
            messages: vec![message; BATCH],
        };
        for i in 0..BATCH {
            let header: &mut libc::msghdr = &mut batch.messages[i].msg_hdr;
            header.msg_iov = &mut batch.parts[i];
            header.msg_iovlen = 1;
            header.msg_name = (&mut batch.names[i] as *mut libc::sockaddr_storage).cast();
        }
        batch
    }
}

impl Batch {
    /// Gives message `i` its part and room for a name and control messages.
    fn expect(&mut self, i: usize, part: libc::iovec) {
        self.parts[i] = part;
        let header = &mut self.messages[i].msg_hdr;
        header.msg_namelen = std::mem::size_of::<libc::sockaddr_storage>() as _;
        header.msg_control = self.controls[i].0.as_mut_ptr().cast();
        header.msg_controllen = std::mem::size_of::<Control>() as _;
    }

    fn name(&self, i: usize) -> (i32, u32, [u32; 4]) {
        let mut address = Address::empty();
        // SAFETY: both are sockaddr_storage.
        unsafe { address.as_mut_ptr().cast::<libc::sockaddr_storage>().write(self.names[i]) };
        address.words()
    }
}

fn put(ints: &Ints, at: usize, words: [u32; 4]) {
    for (i, value) in words.iter().enumerate() {
        ints.set(at + i, *value as i32);
    }
}

/// Asks for the error queue, for TTL and TOS of what comes, and for the address that it was sent to.
fn prepare(fd: &OwnedFd, v6: bool, packet_info: bool) -> Res<()> {
    let (level, headers, info) = if v6 {
        let headers = [libc::IPV6_RECVERR, libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVTCLASS];
        (libc::IPPROTO_IPV6, headers, libc::IPV6_RECVPKTINFO)
    } else {
        let headers = [libc::IP_RECVERR, libc::IP_RECVTTL, libc::IP_RECVTOS];
        (libc::IPPROTO_IP, headers, libc::IP_PKTINFO)
    };
    for header in headers {
        set_option(fd, level, header, &1i32)?;
    }
    if packet_info {
        set_option(fd, level, info, &1i32)?;
    }
    Ok(())
}

/// Takes over a bound UDP socket of the caller's, which another process made.
pub fn adopt_datagram(state: &mut State, fd: RawFd) -> Res<i32> {
    let fd = adopt(fd, false)?;
    let kind = get_option(&fd, libc::SOL_SOCKET, libc::SO_TYPE, 0i32)?;
    let family = get_option(&fd, libc::SOL_SOCKET, libc::SO_DOMAIN, 0i32)?;
    if kind != libc::SOCK_DGRAM || (family != libc::AF_INET && family != libc::AF_INET6) {
        return Err(libc::EINVAL);
    }
    set_nonblocking(fd.as_raw_fd())?;
    let v6 = family == libc::AF_INET6;
    prepare(&fd, v6, true)?;
    state.insert(fd, Object::Datagram(v6), READ)
}

impl State {
    fn datagram_socket(&mut self, v6: bool, protocol: i32, local: Option<&Address>) -> Res<i32> {
        let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket takes numbers.
        let fd = owned(unsafe { libc::socket(family, kind, protocol) })?;
        prepare(&fd, v6, protocol == 0)?;
        if v6 {
            set_option(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &1i32)?;
        }
        if let Some(local) = local {
            // SAFETY: the address is valid for its length.
            check_int(unsafe { libc::bind(fd.as_raw_fd(), local.as_ptr(), local.length) })?;
        }
        self.insert(fd, Object::Datagram(v6), READ)
    }

    fn datagram(&self, handle: i32) -> Res<(RawFd, bool)> {
        let entry = self.slab.get(handle).ok_or(libc::EBADF)?;
        match entry.object {
            Object::Datagram(v6) => Ok((entry.fd.as_raw_fd(), v6)),
            _ => Err(libc::EINVAL),
        }
    }

    fn udp_send(&mut self, handle: i32, desc: i32, start: i32, count: i32) -> Res<i32> {
        let (fd, v6) = self.datagram(handle)?;
        let table = self.buffers.table(desc, start, count, UDP_TX_STRIDE)?;
        let count = count as usize;
        let batch = &mut self.batch;
        let mut sent = 0;
        while sent < count {
            let size = BATCH.min(count - sent);
            for i in 0..size {
                let at = (sent + i) * UDP_TX_STRIDE;
                batch.parts[i] =
                    self.buffers.span(table.get(at), table.get(at + 1), table.get(at + 2))?.iovec();
                let port = u16::try_from(table.get(at + 3)).map_err(|_| libc::EINVAL)?;
                fill_target(batch, i, v6, port, words(&table, at + 4));
                fill_control(batch, i, v6, words(&table, at + 8), (table.get(at + 12), table.get(at + 13)));
            }
            match send_some(fd, batch, size) {
                Ok(number) => {
                    sent += number;
                    if number < size {
                        break;
                    }
                }
                Err(errno) if sent == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(sent as i32)
    }

    fn udp_receive(&mut self, handle: i32, buffer: i32, range: (i32, i32), slot: i32, meta: i32) -> Res<i32> {
        let (fd, _) = self.datagram(handle)?;
        let span = self.buffers.range(buffer, range.0, range.1)?;
        let ints = self.buffers.ints(meta)?;
        let slot = usize::try_from(slot).ok().filter(|slot| *slot > 0).ok_or(libc::EINVAL)?;
        let size = BATCH.min(span.len() / slot).min(ints.len() / UDP_RX_STRIDE);
        if size == 0 {
            return Err(libc::EINVAL);
        }
        let batch = &mut self.batch;
        for i in 0..size {
            batch.expect(i, span.part(i * slot, (i + 1) * slot).iovec());
        }
        let count = match receive_some(fd, batch, size) {
            // An error of an earlier datagram: the error queue has it. What has come is still there.
            Err(libc::EAGAIN | libc::EINTR) => return Ok(0),
            Err(_) => receive_some(fd, batch, size).or_else(|errno| match errno {
                libc::EAGAIN | libc::EINTR => Ok(0),
                errno => Err(errno),
            })?,
            Ok(count) => count,
        };
        for i in 0..count {
            let message = &batch.messages[i];
            let (family, port, source) = batch.name(i);
            let truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            let at = i * UDP_RX_STRIDE;
            ints.set(at, range.0 + (i * slot) as i32);
            ints.set(at + 1, (message.msg_len as usize).min(slot) as i32);
            ints.set(at + 2, port as i32);
            ints.set(
                at + 3,
                if truncated { UDP_TRUNCATED } else { 0 } | if family == 6 { UDP_IPV6 } else { 0 },
            );
            put(&ints, at + 4, source);
            let mut target = [0; 4];
            let (mut ttl, mut tos) = (0, 0);
            each_control(&message.msg_hdr, |level, kind, data| match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    ttl = word(data, 0);
                }
                // One byte in IPv4, an int in IPv6.
                (libc::IPPROTO_IP, libc::IP_TOS) => tos = data.first().map_or(0, |&byte| u32::from(byte)),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => tos = word(data, 0),
                // in_pktinfo: index, local address, destination address.
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => target[0] = u32::from_be(word(data, 8)),
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    target = [0, 4, 8, 12].map(|at| u32::from_be(word(data, at)));
                }
                _ => {}
            });
            put(&ints, at + 8, target);
            ints.set(at + 12, ttl as i32);
            ints.set(at + 13, tos as i32);
        }
        Ok(count as i32)
    }

    fn udp_errors(&mut self, handle: i32, meta: i32, max: i32) -> Res<i32> {
        let (fd, _) = self.datagram(handle)?;
        let ints = self.buffers.table(meta, 0, max, UDP_ERROR_STRIDE)?;
        let mut count = 0;
        while count < max as usize {
            let batch = &mut self.batch;
            let mut payload = [0u8; 8];
            batch.expect(0, libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() });
            let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
            // SAFETY: the message points to a part, a name and a control buffer that are alive.
            match check(unsafe { libc::recvmsg(fd, &mut batch.messages[0].msg_hdr, flags) }) {
                Ok(_) => {}
                Err(libc::EINTR) => continue,
                Err(libc::EAGAIN) => break,
                Err(errno) if count == 0 => return Err(errno),
                Err(_) => break,
            }
            let at = count * UDP_ERROR_STRIDE;
            let (_, port, target) = batch.name(0);
            each_control(&batch.messages[0].msg_hdr, |level, kind, data| {
                let error = (level == libc::IPPROTO_IP && kind == libc::IP_RECVERR)
                    || (level == libc::IPPROTO_IPV6 && kind == libc::IPV6_RECVERR);
                // sock_extended_err: errno, origin, type, code, pad, info, data; then the offender's address.
                if error && data.len() >= 16 {
                    ints.set(at, word(data, 0) as i32);
                    ints.set(at + 1, i32::from(data[4]));
                    ints.set(at + 2, i32::from(data[5]));
                    ints.set(at + 3, i32::from(data[6]));
                    ints.set(at + 4, word(data, 8) as i32);
                    put(&ints, at + 6, offender(&data[16..]));
                }
            });
            ints.set(at + 5, port as i32);
            put(&ints, at + 10, target);
            ints.set(at + 14, u32::from_be(word(&payload, 0)) as i32);
            ints.set(at + 15, u32::from_be(word(&payload, 4)) as i32);
            count += 1;
        }
        Ok(count as i32)
    }
}

fn words(table: &Ints, at: usize) -> [u32; 4] {
    [0, 1, 2, 3].map(|i| table.get(at + i) as u32)
}

fn fill_target(batch: &mut Batch, i: usize, v6: bool, port: u16, words: [u32; 4]) {
    let address = if v6 { Address::v6(bytes_of(words), port, 0) } else { Address::v4(words[0], port) };
    // SAFETY: both are sockaddr_storage.
    batch.names[i] = unsafe { address.as_ptr().cast::<libc::sockaddr_storage>().read() };
    batch.messages[i].msg_hdr.msg_namelen = address.length;
}

/// Says which of our addresses the datagram leaves from, with which TTL and TOS; zeros leave it to the kernel.
fn fill_control(batch: &mut Batch, i: usize, v6: bool, source: [u32; 4], (ttl, tos): (i32, i32)) {
    let room = &mut batch.controls[i].0;
    let mut used = 0;
    if source != [0; 4] {
        let mut info = [0u8; 20];
        if v6 {
            info[..16].copy_from_slice(&bytes_of(source));
            used += put_control(&mut room[used..], libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        } else {
            // in_pktinfo.ipi_spec_dst is the source of what we send.
            info[4..8].copy_from_slice(&source[0].to_be_bytes());
            used += put_control(&mut room[used..], libc::IPPROTO_IP, libc::IP_PKTINFO, &info[..12]);
        }
    }
    let (level, ttl_name, tos_name) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, libc::IPV6_TCLASS)
    } else {
        (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_TOS)
    };
    if ttl != 0 {
        used += put_control(&mut room[used..], level, ttl_name, &ttl.to_ne_bytes());
    }
    if tos != 0 {
        used += put_control(&mut room[used..], level, tos_name, &tos.to_ne_bytes());
    }
    let header = &mut batch.messages[i].msg_hdr;
    header.msg_control = if used == 0 { std::ptr::null_mut() } else { room.as_mut_ptr().cast() };
    header.msg_controllen = used as _;
}

/// Sends a batch. A pending error of an earlier datagram fails the call once, though nothing is wrong with this
/// one: then it is tried again.
fn send_some(fd: RawFd, batch: &mut Batch, count: usize) -> Res<usize> {
    let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _;
    let messages = batch.messages[..count].as_mut_ptr();
    // SAFETY: each message points to a part, a name and a control buffer that are alive.
    let send = || check(unsafe { libc::sendmmsg(fd, messages, count as u32, flags) } as isize);
    match send() {
        Err(libc::EAGAIN) => Err(libc::EAGAIN),
        Err(_) => send(),
        sent => sent,
    }
}

fn receive_some(fd: RawFd, batch: &mut Batch, count: usize) -> Res<usize> {
    let messages = batch.messages[..count].as_mut_ptr();
    let flags = libc::MSG_DONTWAIT as _;
    // SAFETY: each message points to a part, a name and a control buffer that are alive and writable.
    check(unsafe { libc::recvmmsg(fd, messages, count as u32, flags, std::ptr::null_mut()) } as isize)
}

#[napi]
impl Poller {
    #[napi]
    pub fn udp_open(&self, bind_ip: Option<String>, port: i32, ipv6: bool) -> i32 {
        self.with(|state| {
            let any = if ipv6 { "::" } else { "0.0.0.0" };
            let local = Address::parse(bind_ip.as_deref().unwrap_or(any), port)?;
            if (local.family() == libc::AF_INET6) != ipv6 {
                return Err(libc::EINVAL);
            }
            state.datagram_socket(ipv6, 0, Some(&local))
        })
    }

    #[napi]
    pub fn ping_open(&self, ipv6: bool) -> i32 {
        let protocol = if ipv6 { libc::IPPROTO_ICMPV6 } else { libc::IPPROTO_ICMP };
        self.with(|state| state.datagram_socket(ipv6, protocol, None))
    }

    #[napi]
    pub fn udp_send_batch(&self, handle: i32, desc_ints: i32, start: i32, count: i32) -> i32 {
        self.with(|state| state.udp_send(handle, desc_ints, start, count))
    }

    #[napi]
    pub fn udp_recv_batch(
        &self,
        handle: i32,
        buffer: i32,
        start: i32,
        end: i32,
        slot: i32,
        meta_ints: i32,
    ) -> i32 {
        self.with(|state| state.udp_receive(handle, buffer, (start, end), slot, meta_ints))
    }

    #[napi]
    pub fn udp_errors(&self, handle: i32, meta_ints: i32, max: i32) -> i32 {
        self.with(|state| state.udp_errors(handle, meta_ints, max))
    }
}
