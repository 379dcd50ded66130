//! What this host allows.

use crate::netns;
use crate::sys::{check_int, owned, Res};
use napi_derive::napi;

#[napi(object)]
pub struct Capabilities {
    pub version: String,
    pub tun: i32,
    pub userns: i32,
    pub userns_step: String,
    pub ping_sockets: i32,
    pub vsock: bool,
}

fn result<T>(outcome: Res<T>) -> i32 {
    outcome.map_or_else(|errno| -errno, |_| 0)
}

/// CPU time of the calling thread, µs; 0 where it cannot be asked for.
#[napi]
pub fn thread_cpu() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec into a local.
    match check_int(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }) {
        Ok(_) => time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3,
        Err(_) => 0.0,
    }
}

#[napi]
pub fn capabilities() -> Capabilities {
    // SAFETY: open with a constant path; socket takes numbers.
    let (tun, ping) = unsafe {
        (
            owned(libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC)),
            owned(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, libc::IPPROTO_ICMP)),
        )
    };
    let (userns, userns_step) = match netns::probe() {
        Ok(()) => (0, ""),
        Err((step, errno)) => (-errno, step),
    };
    Capabilities {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tun: result(tun),
        userns,
        userns_step: userns_step.to_owned(),
        ping_sockets: result(ping),
        vsock: true,
    }
}
