//! What runs in the forked child. Only async-signal-safe calls, no allocation.

use super::configure;
use super::plan::Plan;
use super::report::{send, Report, Step};
use crate::link::tap;
use crate::sys::{check, check_int, errno, owned, Errno, Res};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

type Outcome<T> = Result<T, (Step, Errno)>;

/// Exit code when the child could not become the command; the parent learns the reason by the pair.
const FAILED: i32 = 127;

/// The whole life of a command's child up to exec. Returns an exit code only on failure.
pub fn run(plan: &Plan, parents_end: &OwnedFd, gate: &OwnedFd, parent: i32) -> i32 {
    // Our copy of the parent's end, so that the parent's death is seen as the end of the pair.
    // SAFETY: closes a descriptor of this process, which never drops the OwnedFd (it execs or _exits).
    unsafe { libc::close(parents_end.as_raw_fd()) };
    reset_handlers();
    let (step, errno) = match live(plan, gate, parent) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let _ = send(gate, Report { step, errno }, None);
    FAILED
}

/// Tries the namespaces and reports.
pub fn probe(plan: &Plan, gate: &OwnedFd) -> i32 {
    let (step, errno) = match namespaces(plan) {
        Ok(()) => (Step::Fork, 0),
        Err(failure) => failure,
    };
    let _ = send(gate, Report { step, errno }, None);
    0
}

enum Never {}

fn live(plan: &Plan, gate: &OwnedFd, parent: i32) -> Outcome<Never> {
    namespaces(plan)?;
    let fd =
        tap::open(&plan.tap_name, plan.setup.tap).map_err(|(step, errno)| (Step::of_tap(step), errno))?;
    configure::tap(&plan.tap_name, &plan.setup)?;
    // Unprivileged ping is a convenience: a kernel without the setting is fine.
    let _ = write_file(c"/proc/sys/net/ipv4/ping_group_range", &plan.ping_groups);
    if let Some((source, target)) = &plan.resolv {
        bind(source, target).map_err(|errno| (Step::Resolv, errno))?;
    }
    for path in &plan.hidden {
        bind(c"/dev/null", path).map_err(|errno| (Step::Hide, errno))?;
    }
    // SAFETY: chdir with a C string.
    check_int(unsafe { libc::chdir(plan.cwd.as_ptr()) }).map_err(|errno| (Step::Chdir, errno))?;
    // After the namespaces: a change of credentials clears the setting.
    die_with(parent).map_err(|errno| (Step::DeathSignal, errno))?;
    send(gate, Report { step: Step::Fork, errno: 0 }, Some(&fd)).map_err(|errno| (Step::Fork, errno))?;
    // The TAP belongs to the parent alone: its interface goes when the parent lets go.
    drop(fd);
    wait(gate)?;
    Err((Step::Exec, exec(plan)))
}

fn namespaces(plan: &Plan) -> Outcome<()> {
    if let Some(user) = &plan.user {
        unshare(libc::CLONE_NEWUSER, Step::UnshareUser)?;
        write_file(c"/proc/self/setgroups", c"deny").map_err(|errno| (Step::DenySetgroups, errno))?;
        write_file(c"/proc/self/uid_map", &user.uid).map_err(|errno| (Step::UidMap, errno))?;
        write_file(c"/proc/self/gid_map", &user.gid).map_err(|errno| (Step::GidMap, errno))?;
    }
    unshare(libc::CLONE_NEWNET, Step::UnshareNet)?;
    unshare(libc::CLONE_NEWNS, Step::UnshareMount)?;
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: constant C strings; the other arguments may be null for a change of propagation.
    let result =
        unsafe { libc::mount(std::ptr::null(), c"/".as_ptr(), std::ptr::null(), flags, std::ptr::null()) };
    check_int(result).map_err(|errno| (Step::PrivateMounts, errno))?;
    configure::loopback().map_err(|errno| (Step::LinkUp, errno))
}

fn unshare(flag: i32, step: Step) -> Outcome<()> {
    // SAFETY: unshare takes a number; the forked child has one thread.
    check_int(unsafe { libc::unshare(flag) }).map_err(|errno| (step, errno))?;
    Ok(())
}

fn write_file(path: &CStr, text: &CStr) -> Res<()> {
    // SAFETY: open with a C string.
    let file = owned(unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) })?;
    let bytes = text.to_bytes();
    // SAFETY: `bytes` is readable for its length.
    check(unsafe { libc::write(file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })?;
    Ok(())
}

fn bind(source: &CStr, target: &CStr) -> Res<()> {
    let none = std::ptr::null();
    // SAFETY: C strings; type and data may be null for a bind mount.
    check_int(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), none, libc::MS_BIND, none.cast()) })?;
    Ok(())
}

/// Has the kernel kill us when the thread that forked us ends.
fn die_with(parent: i32) -> Res<()> {
    // SAFETY: prctl with numbers; getppid only reads.
    unsafe {
        check_int(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
        // It may have ended before the setting.
        if libc::getppid() != parent {
            return Err(libc::ESRCH);
        }
    }
    Ok(())
}

/// Waits for the word to go.
fn wait(gate: &OwnedFd) -> Outcome<()> {
    let mut byte = 0u8;
    loop {
        // SAFETY: reads one byte into a local.
        match check(unsafe { libc::read(gate.as_raw_fd(), (&mut byte as *mut u8).cast(), 1) }) {
            Ok(1) => return Ok(()),
            Ok(_) => return Err((Step::Exec, libc::ECANCELED)),
            Err(libc::EINTR) => {}
            Err(errno) => return Err((Step::Exec, errno)),
        }
    }
}

/// Becomes the command; returns the errno that says most about why not, as execvp does.
fn exec(plan: &Plan) -> Errno {
    unblock();
    inherit_streams();
    let mut reason = libc::ENOENT;
    for file in &plan.candidates {
        // SAFETY: argv and env are NULL-terminated arrays of C strings that the plan keeps.
        unsafe { libc::execve(file.as_ptr(), plan.argv.as_ptr(), plan.env.as_ptr()) };
        match errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => reason = libc::EACCES,
            libc::ENOEXEC => return exec_script(plan, file),
            other => return other,
        }
    }
    reason
}

/// Runs a script without an interpreter line by the shell.
fn exec_script(plan: &Plan, file: &CStr) -> Errno {
    let argv = plan.shell_argv.as_ptr().cast_mut();
    // SAFETY: the array has at least two entries and is ours alone in this process; the second is for the file.
    unsafe {
        argv.add(1).write(file.as_ptr());
        libc::execve(c"/bin/sh".as_ptr(), argv, plan.env.as_ptr());
    }
    errno()
}

/// The parent's handlers are not the command's; ignored signals (Node ignores SIGPIPE) are not either.
fn reset_handlers() {
    for signal in 1..=64 {
        // SAFETY: the default action needs no handler; signals that cannot be set give an error.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Node marks the standard streams close-on-exec and may have made them non-blocking; the command wants neither.
fn inherit_streams() {
    for fd in 0..=2 {
        // SAFETY: fcntl on numbers touches no memory; a closed stream stays closed.
        unsafe {
            libc::fcntl(fd, libc::F_SETFD, 0);
            let flags = libc::fcntl(fd, libc::F_GETFL);
            if flags >= 0 && flags & libc::O_NONBLOCK != 0 {
                libc::fcntl(fd, libc::F_SETFL, flags & !libc::O_NONBLOCK);
            }
        }
    }
}

fn unblock() {
    // SAFETY: a zeroed sigset is valid and is emptied.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}
