//! A timer that rings through the poller: a wake-up like any other, without an object of the event loop for each.

use crate::constants::READ;
use crate::poller::Poller;
use crate::state::{Object, State};
use crate::sys::{check_int, owned, Res};
use napi_derive::napi;
use std::os::fd::{AsRawFd, RawFd};

impl State {
    fn open_timer(&mut self) -> Res<i32> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: timerfd_create takes numbers.
        let fd = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        self.insert(fd, Object::Timer, READ)
    }

    fn set_timer(&mut self, handle: i32, delay: i32) -> Res<i32> {
        let entry = self.entry(handle)?;
        if !matches!(entry.object, Object::Timer) {
            return Err(libc::EINVAL);
        }
        // All zeros would switch it off.
        let (seconds, nanos) = match delay {
            i32::MIN..=-1 => (0, 0),
            0 => (0, 1),
            _ => (delay / 1000, (delay % 1000) * 1_000_000),
        };
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let when = libc::itimerspec {
            it_interval: none,
            it_value: libc::timespec { tv_sec: seconds.into(), tv_nsec: nanos.into() },
        };
        let fd = entry.fd.as_raw_fd();
        // SAFETY: the kernel reads one itimerspec from a local.
        check_int(unsafe { libc::timerfd_settime(fd, 0, &when, std::ptr::null_mut()) })
    }
}

/// Takes what a timer has to tell, so that it does not tell it again.
pub fn take(fd: RawFd) -> bool {
    let mut value = 0u64;
    // SAFETY: reads eight bytes into a local.
    unsafe { libc::read(fd, (&mut value as *mut u64).cast(), 8) == 8 }
}

#[napi]
impl Poller {
    #[napi]
    pub fn timer_open(&self) -> i32 {
        self.with(|state| state.open_timer())
    }

    #[napi]
    pub fn timer_set(&self, handle: i32, delay: i32) -> i32 {
        self.with(|state| state.set_timer(handle, delay))
    }
}
