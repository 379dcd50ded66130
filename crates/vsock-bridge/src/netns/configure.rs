//! Interface configuration by ioctl and rtnetlink. Async-signal-safe: no allocation.

use super::plan::Setup;
use super::report::Step;
use crate::link::tap::Ifreq;
use crate::sys::{check, check_int, owned, Errno, Res};
use std::os::fd::{AsRawFd, OwnedFd};

type Outcome = Result<(), (Step, Errno)>;

const ARPHRD_ETHER: u16 = 1;

fn control_socket() -> Res<OwnedFd> {
    // SAFETY: socket takes numbers.
    owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })
}

fn request<T>(socket: &OwnedFd, number: u64, name: &[u8], value: T) -> Res<()> {
    let mut request = Ifreq::new(name, value)?;
    // SAFETY: the request is one ifreq with the member that `number` reads.
    check_int(unsafe { libc::ioctl(socket.as_raw_fd(), number as _, &mut request) })?;
    Ok(())
}

fn inet(ip: u32) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: ip.to_be() },
        sin_zero: [0; 8],
    }
}

fn up(socket: &OwnedFd, name: &[u8]) -> Res<()> {
    request(socket, libc::SIOCSIFFLAGS, name, (libc::IFF_UP | libc::IFF_RUNNING) as i16)
}

/// Brings the loopback interface up.
pub fn loopback() -> Res<()> {
    up(&control_socket()?, b"lo")
}

/// Gives the TAP its size, address and route, and brings it up.
pub fn tap(name: &[u8], setup: &Setup) -> Outcome {
    let at = |step: Step| move |errno| (step, errno);
    let socket = control_socket().map_err(at(Step::Mtu))?;
    request(&socket, libc::SIOCSIFMTU, name, setup.mtu).map_err(at(Step::Mtu))?;
    if let Some(mac) = setup.mac {
        let mut value = [0u8; 16];
        value[..2].copy_from_slice(&ARPHRD_ETHER.to_ne_bytes());
        value[2..8].copy_from_slice(&mac);
        request(&socket, libc::SIOCSIFHWADDR, name, value).map_err(at(Step::Mac))?;
    }
    if setup.tx_queue_length > 0 {
        queue_length(&socket, name, setup.tx_queue_length).map_err(at(Step::QueueLength))?;
    }
    if setup.guest_ip != 0 {
        let mask = u32::MAX.checked_shl(32 - setup.prefix.clamp(1, 32)).unwrap_or(0);
        request(&socket, libc::SIOCSIFADDR, name, inet(setup.guest_ip)).map_err(at(Step::Address))?;
        request(&socket, libc::SIOCSIFNETMASK, name, inet(mask)).map_err(at(Step::Address))?;
    }
    up(&socket, name).map_err(at(Step::LinkUp))?;
    if setup.gateway_ip != 0 {
        default_route(&socket, setup.gateway_ip).map_err(at(Step::Route))?;
    }
    Ok(())
}

/// Whether the thread's namespace has an interface of this name.
pub fn exists(name: &[u8]) -> bool {
    let find = || {
        let mut index = Ifreq::new(name, 0i32)?;
        let socket = control_socket()?;
        // SAFETY: SIOCGIFINDEX writes one ifreq.
        check_int(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX as _, &mut index) })
    };
    find().is_ok()
}

/// Sets how many frames an interface of the thread's namespace queues.
pub fn set_queue_length(name: &[u8], frames: i32) -> Res<()> {
    queue_length(&control_socket()?, name, frames)
}

/// Sets the transmit queue by rtnetlink: the ioctl for it wants root outside the user namespace.
fn queue_length(socket: &OwnedFd, name: &[u8], frames: i32) -> Res<()> {
    const MESSAGE: usize = 40;
    let mut index = Ifreq::new(name, 0i32)?;
    // SAFETY: SIOCGIFINDEX writes one ifreq.
    check_int(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX as _, &mut index) })?;
    let mut message = [0u8; MESSAGE];
    let mut put = |at: usize, bytes: &[u8]| message[at..at + bytes.len()].copy_from_slice(bytes);
    // nlmsghdr (16 bytes), ifinfomsg (16 bytes), one rtattr with a u32.
    put(0, &(MESSAGE as u32).to_ne_bytes());
    put(4, &libc::RTM_NEWLINK.to_ne_bytes());
    put(6, &((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    put(20, &index.value.to_ne_bytes());
    put(32, &8u16.to_ne_bytes());
    put(34, &libc::IFLA_TXQLEN.to_ne_bytes());
    put(36, &frames.to_ne_bytes());
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes numbers.
    let netlink = owned(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) })?;
    // SAFETY: sends and receives within the lengths of local arrays.
    let (sent, answered, answer) = unsafe {
        let mut answer = [0u8; 256];
        let sent = libc::send(netlink.as_raw_fd(), message.as_ptr().cast(), MESSAGE, 0);
        let answered = if sent < 0 {
            -1
        } else {
            libc::recv(netlink.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
        };
        (sent, answered, answer)
    };
    check(sent.min(answered))?;
    // The acknowledgement is an nlmsgerr: minus an errno behind the header.
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        error => Err(-error),
    }
}

fn as_sockaddr(address: libc::sockaddr_in) -> libc::sockaddr {
    // SAFETY: both are 16 bytes of plain data and begin with the family.
    unsafe { std::mem::transmute(address) }
}

fn default_route(socket: &OwnedFd, gateway: u32) -> Res<()> {
    // SAFETY: a zeroed rtentry is valid.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = as_sockaddr(inet(0));
    route.rt_genmask = as_sockaddr(inet(0));
    route.rt_gateway = as_sockaddr(inet(gateway));
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: SIOCADDRT reads one rtentry.
    check_int(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT as _, &route) })?;
    Ok(())
}
