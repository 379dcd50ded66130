//! What the child tells the parent: a step and an errno, and on success the TAP's descriptor.

use crate::rights;
use crate::sys::{check, Errno, Res};
use std::os::fd::{AsRawFd, OwnedFd};

macro_rules! steps {
    ($($name:ident = $text:literal,)*) => {
        /// The steps of the child, in order.
        #[derive(Clone, Copy, PartialEq, Debug)]
        pub enum Step { $($name,)* }

        impl Step {
            const ALL: &'static [Step] = &[$(Step::$name,)*];

            pub fn text(self) -> &'static str {
                match self { $(Step::$name => $text,)* }
            }
        }
    };
}

steps! {
    Fork = "fork",
    UnshareUser = "unshare user",
    DenySetgroups = "write setgroups",
    UidMap = "write uid_map",
    GidMap = "write gid_map",
    UnshareNet = "unshare net",
    UnshareMount = "unshare mount",
    PrivateMounts = "make mounts private",
    LinkUp = "link up",
    OpenTun = "open /dev/net/tun",
    SetIff = "TUNSETIFF",
    SetHeader = "TUNSETVNETHDRSZ",
    SetOffload = "TUNSETOFFLOAD",
    Mtu = "set mtu",
    Mac = "set mac",
    QueueLength = "set txqueuelen",
    Address = "set address",
    Route = "set route",
    Resolv = "bind resolv.conf",
    Hide = "hide name daemons",
    Chdir = "chdir",
    DeathSignal = "set death signal",
    Exec = "exec",
}

impl Step {
    /// The step that `tap::open` names.
    pub fn of_tap(text: &str) -> Step {
        match text {
            "TUNSETIFF" => Step::SetIff,
            "TUNSETVNETHDRSZ" => Step::SetHeader,
            "TUNSETOFFLOAD" => Step::SetOffload,
            _ => Step::OpenTun,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub step: Step,
    pub errno: Errno,
}

/// Sends a report. Async-signal-safe.
pub fn send(socket: &OwnedFd, report: Report, fd: Option<&OwnedFd>) -> Res<()> {
    let mut bytes = [0u8; 8];
    bytes[..4].copy_from_slice(&(report.step as u32).to_ne_bytes());
    bytes[4..].copy_from_slice(&report.errno.to_ne_bytes());
    rights::send(socket.as_raw_fd(), &mut bytes, fd.map(AsRawFd::as_raw_fd))?;
    Ok(())
}

/// Waits for a report; EPIPE when the other end was closed without one.
pub fn receive(socket: &OwnedFd, timeout: i32) -> Res<(Report, Option<OwnedFd>)> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd in a local.
    if check(unsafe { libc::poll(&mut poll, 1, timeout) } as isize).or_else(retry)? == 0 {
        return Err(libc::ETIMEDOUT);
    }
    let mut bytes = [0u8; 8];
    let (count, fd) = rights::receive(socket.as_raw_fd(), &mut bytes)?;
    if count < bytes.len() {
        return Err(libc::EPIPE);
    }
    let number = |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let step = Step::ALL.get(number(0) as usize).copied().unwrap_or(Step::Fork);
    Ok((Report { step, errno: number(4) }, fd))
}

/// An interrupted wait counts as ready: the receive that follows waits for itself.
fn retry(errno: Errno) -> Res<usize> {
    if errno == libc::EINTR {
        Ok(1)
    } else {
        Err(errno)
    }
}
