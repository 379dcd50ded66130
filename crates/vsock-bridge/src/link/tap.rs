//! Linux TAP devices, with the virtio-net header in front of each frame where the device was opened with it.

use super::{Sink, Stats};
use crate::constants::*;
use crate::frame::{self, Frame, TCP, UDP};
use crate::netns;
use crate::sys::{c_string, check, check_int, owned, set_nonblocking, Errno, Res};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Length of the header with the count of merged buffers, as the newer virtio specification has it.
const VNET_HEADER: usize = 12;
const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_ECN: u8 = 0x80;

pub struct Tap {
    pub name: String,
    /// Bytes of virtio-net header before each frame; 0: none.
    pub header: usize,
    pub offloads: bool,
    /// The MTU that we gave its interface, for where its namespace may not be entered; 0: unknown.
    pub mtu: i32,
}

/// What a TAP is opened with.
#[derive(Clone, Copy)]
pub struct Open {
    pub vnet_header: bool,
    pub offloads: bool,
}

/// `struct ifreq` with one of its variants; padded to the kernel's 40 bytes.
#[repr(C)]
pub struct Ifreq<T> {
    pub name: [u8; 16],
    pub value: T,
    pad: [u8; 16],
}

impl<T> Ifreq<T> {
    /// A name of 1 to 15 bytes.
    pub fn new(name: &[u8], value: T) -> Res<Ifreq<T>> {
        if name.is_empty() || name.len() > 15 || name.contains(&0) {
            return Err(libc::EINVAL);
        }
        let mut field = [0u8; 16];
        field[..name.len()].copy_from_slice(name);
        Ok(Ifreq { name: field, value, pad: [0; 16] })
    }
}

/// Opens a TAP in the calling thread's network namespace. Async-signal-safe. The error names the step.
pub fn open(name: &[u8], how: Open) -> Result<OwnedFd, (&'static str, Errno)> {
    // SAFETY: open with a constant path.
    let fd = owned(unsafe {
        libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC | libc::O_NONBLOCK)
    })
    .map_err(|errno| ("open /dev/net/tun", errno))?;
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI;
    if how.vnet_header {
        flags |= libc::IFF_VNET_HDR;
    }
    let mut request = Ifreq::new(name, flags as i16).map_err(|errno| ("TUNSETIFF", errno))?;
    // SAFETY: TUNSETIFF reads and writes one ifreq.
    check_int(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF as _, &mut request) })
        .map_err(|errno| ("TUNSETIFF", errno))?;
    if how.vnet_header {
        let size = VNET_HEADER as i32;
        // SAFETY: TUNSETVNETHDRSZ reads one int.
        check_int(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ as _, &size) })
            .map_err(|errno| ("TUNSETVNETHDRSZ", errno))?;
        let offloads = if how.offloads { libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 } else { 0 };
        // SAFETY: TUNSETOFFLOAD takes a number.
        check_int(unsafe {
            libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD as _, offloads as libc::c_ulong)
        })
        .map_err(|errno| ("TUNSETOFFLOAD", errno))?;
    }
    Ok(fd)
}

/// Frames that wait for us in a TAP of our making. The kernel's 1,000 are less than what a thousand flows send at once,
/// and what does not fit is lost.
const QUEUE_LENGTH: i32 = 10_000;

/// Opens a TAP in the calling thread's namespace; one that was not there gets a queue for bursts.
pub fn open_here(name: &[u8], how: Open) -> Res<OwnedFd> {
    let made = !netns::exists(name);
    let fd = open(name, how).map_err(|(_, errno)| errno)?;
    if made {
        // Without it bursts cost retransmissions, no more: the interface serves all the same.
        let _ = netns::set_queue_length(name, QUEUE_LENGTH);
    }
    Ok(fd)
}

/// Opens a TAP in the namespace at a path.
pub fn open_in(netns: &str, name: &str, how: Open) -> Res<OwnedFd> {
    let path = c_string(netns)?;
    // SAFETY: open with a C string.
    let namespace = owned(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) })?;
    let name = name.as_bytes().to_vec();
    inside(namespace, move || open_here(&name, how))
}

/// Runs `work` on a thread of its own that has entered a network namespace: setns is per thread.
fn inside<T: Send + 'static>(namespace: OwnedFd, work: impl FnOnce() -> Res<T> + Send + 'static) -> Res<T> {
    let enter = move || {
        // SAFETY: changes the namespace of this thread only, which ends with this closure.
        check_int(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })?;
        work()
    };
    let thread = std::thread::Builder::new().name("netproxy-netns".into()).spawn(enter);
    thread.map_err(|error| error.raw_os_error().unwrap_or(libc::EAGAIN))?.join().unwrap_or(Err(libc::EIO))
}

/// MTU of an interface in the thread's namespace.
fn mtu_here(name: &[u8]) -> Res<i32> {
    let mut request = Ifreq::new(name, 0i32)?;
    // SAFETY: socket takes numbers; SIOCGIFMTU reads and writes one ifreq.
    unsafe {
        let socket = owned(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        check_int(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU as _, &mut request))?;
    }
    Ok(request.value)
}

/// MTU of a TAP's interface, in whatever namespace that is; an error where it may not be entered.
pub fn mtu(fd: RawFd, name: &str) -> Res<i32> {
    const TUNGETDEVNETNS: u64 = 0x54e3;
    // SAFETY: TUNGETDEVNETNS takes no argument and returns a descriptor.
    let namespace = owned(unsafe { libc::ioctl(fd, TUNGETDEVNETNS as _, 0) })?;
    let name = name.as_bytes().to_vec();
    inside(namespace, move || mtu_here(&name))
}

impl Tap {
    /// Asks the descriptor for its name, flags and header size.
    pub fn adopt(fd: &OwnedFd, offloads: bool) -> Res<Tap> {
        let mut request = Ifreq::new(b"x", 0i16)?;
        // SAFETY: TUNGETIFF writes one ifreq.
        check_int(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETIFF as _, &mut request) })?;
        let flags = i32::from(request.value);
        // A TUN, or packet information in front of frames, is not Ethernet as it is meant here.
        if flags & libc::IFF_TAP == 0 || flags & libc::IFF_NO_PI == 0 {
            return Err(libc::EINVAL);
        }
        let mut header = 0i32;
        if flags & libc::IFF_VNET_HDR != 0 {
            // SAFETY: TUNGETVNETHDRSZ writes one int.
            check_int(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETVNETHDRSZ as _, &mut header) })?;
            if !(10..=64).contains(&header) {
                return Err(libc::EINVAL);
            }
        }
        set_nonblocking(fd.as_raw_fd())?;
        let length = request.name.iter().position(|&byte| byte == 0).unwrap_or(16);
        Ok(Tap {
            name: String::from_utf8_lossy(&request.name[..length]).into_owned(),
            header: header as usize,
            offloads: offloads && header > 0,
            mtu: 0,
        })
    }

    pub fn receive(&mut self, fd: RawFd, sink: &mut Sink, stats: &mut Stats) -> Res<()> {
        let mut at = 0;
        let mut header = [0u8; 64];
        while !sink.full() && sink.span.len() - at >= PACKET_ROOM {
            let room = sink.span.part(at, at + PACKET_ROOM);
            let parts =
                [libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: self.header }, room.iovec()];
            // SAFETY: both ranges are writable for their lengths.
            let result = check(unsafe { libc::readv(fd, parts.as_ptr(), 2) });
            let length = match result {
                Ok(length) => length,
                Err(libc::EAGAIN | libc::EINTR) => return Ok(()),
                Err(errno) => return Err(errno),
            };
            if length < self.header + MIN_FRAME || length > self.header + PACKET_ROOM {
                stats.rx_bad += 1;
                continue;
            }
            let length = length - self.header;
            let (mut flags, mut gso) = (0, 0);
            if self.header > 0 {
                if header[0] & (NEEDS_CSUM | DATA_VALID) != 0 {
                    flags |= RX_CHECKSUM_OK;
                }
                if matches!(header[1] & !GSO_ECN, GSO_TCPV4 | GSO_TCPV6) {
                    flags |= RX_GSO;
                    gso = i32::from(u16::from_ne_bytes([header[4], header[5]]));
                }
            }
            sink.push(at, length, flags, gso);
            at = (at + length).next_multiple_of(16);
        }
        Ok(())
    }

    pub fn send(&mut self, fd: RawFd, frames: &[Frame], stats: &mut Stats) -> Res<()> {
        for frame in frames {
            let mut header = [0u8; 64];
            if self.header > 0 && !vnet_header(frame, &mut header) {
                stats.tx_errors += 1;
                continue;
            }
            let mut parts = [libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: self.header }; 4];
            for (part, piece) in parts[1..].iter_mut().zip(&frame.pieces) {
                *part = piece.iovec();
            }
            // SAFETY: all ranges are readable for their lengths.
            match check(unsafe { libc::writev(fd, parts.as_ptr(), 4) }) {
                Ok(_) => stats.sent(frame.len()),
                Err(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => stats.tx_dropped += 1,
                // The interface is gone for good.
                Err(libc::EBADFD) => return Err(libc::EBADFD),
                // It is down (EIO), or it does not like this frame.
                Err(_) => stats.tx_errors += 1,
            }
        }
        Ok(())
    }
}

/// Fills in the virtio-net header and the partial checksum that goes with it; false for a super-segment that is none.
fn vnet_header(frame: &Frame, header: &mut [u8; 64]) -> bool {
    if !frame.wants_checksum() && frame.gso == 0 {
        return true;
    }
    frame::fill_ipv4_header(frame);
    let Some(layout) = frame::layout(frame) else {
        return frame.gso == 0;
    };
    if !matches!(layout.protocol, TCP | UDP) {
        frame::fill_transport(frame, &layout);
        return frame.gso == 0;
    }
    frame::fill_partial(frame, &layout);
    header[0] = NEEDS_CSUM;
    header[6..8].copy_from_slice(&(layout.l4 as u16).to_ne_bytes());
    header[8..10].copy_from_slice(&(layout.field as u16).to_ne_bytes());
    if frame.gso == 0 {
        return true;
    }
    let head = frame.pieces[0].bytes();
    let end = layout.l4 + usize::from(head[layout.l4 + 12] >> 4) * 4;
    if layout.protocol != TCP || end < layout.l4 + 20 || end > frame.len() {
        return false;
    }
    if frame.len() - end > frame.gso {
        header[1] = if layout.v6 { GSO_TCPV6 } else { GSO_TCPV4 };
        header[2..4].copy_from_slice(&(end as u16).to_ne_bytes());
        header[4..6].copy_from_slice(&(frame.gso as u16).to_ne_bytes());
    }
    true
}
