//! Commands in a network namespace of their own.
//!
//! Node has many threads, so it cannot change its namespaces itself: a child is forked that unshares, configures a TAP,
//! hands its descriptor back and waits for the word to run the command. Between fork and exec the child may
//! only do what is async-signal-safe (another thread may hold the allocator's lock for ever): everything it needs is
//! prepared in a `Plan` before.

mod child;
mod configure;
mod plan;
mod report;

pub use configure::{exists, set_queue_length};
pub use plan::{Plan, Setup};
use report::{Report, Step};

use crate::sys::{check, check_int, errno, owned, Errno, Res};
use std::os::fd::{AsRawFd, OwnedFd};

/// The child has this long to make its namespace, milliseconds.
const SETUP_TIMEOUT: i32 = 10_000;

/// What failed, and how.
pub type Failure = (&'static str, Errno);

pub struct Spawned {
    pub child: Child,
    pub pidfd: OwnedFd,
    pub tap: OwnedFd,
}

/// A command, from fork until its status was fetched.
pub struct Child {
    pub pid: i32,
    /// Our end of the pair: a byte lets the command run; its end says that exec succeeded.
    gate: Option<OwnedFd>,
    status: Option<i32>,
}

/// Both ends of a pair that keeps message boundaries.
fn pair() -> Res<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: writes two numbers into `fds`.
    check_int(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) })?;
    Ok((owned(fds[0])?, owned(fds[1])?))
}

/// Forks with all signals blocked in the child, which runs `work` and never returns.
fn fork(work: impl FnOnce() -> i32) -> Res<i32> {
    // SAFETY: sigsets are plain data; fork's child runs only `work`, which keeps to async-signal-safe calls.
    unsafe {
        let mut all = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let pid = libc::fork();
        if pid == 0 {
            let code = work();
            libc::_exit(code);
        }
        let failed = errno();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        if pid < 0 {
            Err(failed)
        } else {
            Ok(pid)
        }
    }
}

/// Makes the namespace and the waiting child.
pub fn spawn(plan: &Plan) -> Result<Spawned, Failure> {
    let failed = |step: Step| move |errno| (step.text(), errno);
    let (ours, theirs) = pair().map_err(failed(Step::Fork))?;
    let parent = std::process::id() as i32;
    let pid = fork(|| child::run(plan, &ours, &theirs, parent)).map_err(failed(Step::Fork))?;
    drop(theirs);
    let mut child = Child { pid, gate: Some(ours), status: None };
    // SAFETY: pidfd_open takes numbers. The child is not reaped yet, so the number is still its own.
    let pidfd =
        owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32).map_err(failed(Step::Fork))?;
    let gate = child.gate.as_ref().ok_or((Step::Fork.text(), libc::EIO))?;
    let (report, tap) = report::receive(gate, SETUP_TIMEOUT).map_err(failed(Step::Fork))?;
    match (report, tap) {
        (Report { errno: 0, .. }, Some(tap)) => Ok(Spawned { child, pidfd, tap }),
        (report, _) => {
            child.end();
            Err((report.step.text(), report.errno.max(1)))
        }
    }
}

/// Whether a user namespace with a network of its own can be made here.
pub fn probe() -> Result<(), Failure> {
    let failed = |errno| (Step::Fork.text(), errno);
    let plan = Plan::probe();
    let (ours, theirs) = pair().map_err(failed)?;
    let pid = fork(|| child::probe(&plan, &theirs)).map_err(failed)?;
    drop(theirs);
    let mut child = Child { pid, gate: None, status: None };
    let report = report::receive(&ours, SETUP_TIMEOUT);
    child.end();
    match report.map_err(failed)?.0 {
        Report { errno: 0, .. } => Ok(()),
        Report { errno, step } => Err((step.text(), errno)),
    }
}

impl Child {
    /// Lets the command run and waits until exec succeeded or failed.
    pub fn go(&mut self) -> Res<()> {
        let gate = self.gate.take().ok_or(libc::EINVAL)?;
        // SAFETY: sends one byte from a constant.
        check(unsafe { libc::send(gate.as_raw_fd(), c"g".as_ptr().cast(), 1, libc::MSG_NOSIGNAL) })?;
        match report::receive(&gate, SETUP_TIMEOUT) {
            // The pair was closed by a successful exec (or by the child's end, which its status tells).
            Err(libc::EPIPE) => Ok(()),
            Ok((report, _)) => {
                self.end();
                Err(report.errno.max(1))
            }
            Err(errno) => Err(errno),
        }
    }

    /// The status where the command ended; reaps it.
    pub fn poll(&mut self) -> Option<i32> {
        if self.status.is_none() {
            let mut raw = 0;
            // SAFETY: writes one int. Only we wait for this child.
            let result = unsafe { libc::waitpid(self.pid, &mut raw, libc::WNOHANG) };
            if result == self.pid {
                self.status = Some(if libc::WIFSIGNALED(raw) {
                    crate::constants::CHILD_SIGNALED + libc::WTERMSIG(raw)
                } else {
                    libc::WEXITSTATUS(raw)
                });
            } else if result < 0 && errno() == libc::ECHILD {
                // Somebody else reaped it; its status is lost.
                self.status = Some(255);
            }
        }
        self.status
    }

    pub fn kill(&mut self, pidfd: &OwnedFd, signal: i32) -> Res<()> {
        if self.status.is_some() {
            return Err(libc::ESRCH);
        }
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a pidfd and numbers; no siginfo is passed.
        let result =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
        check(result as isize)?;
        Ok(())
    }

    /// Kills it if it runs still, and reaps it; bounded, for a process in an uninterruptible sleep ends when it likes.
    fn end(&mut self) {
        self.gate = None;
        if self.poll().is_some() {
            return;
        }
        // SAFETY: the pid is ours until it is reaped, which has not happened.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        for _ in 0..100 {
            if self.poll().is_some() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}
