//! System calls with errors as numbers: `Ok(value)` or `Err(errno)`.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// An errno, positive.
pub type Errno = i32;
pub type Res<T> = Result<T, Errno>;

pub fn errno() -> Errno {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// The result of a system call that returns -1 and sets errno.
pub fn check(result: isize) -> Res<usize> {
    if result < 0 {
        Err(errno())
    } else {
        Ok(result as usize)
    }
}

pub fn check_int(result: i32) -> Res<i32> {
    if result < 0 {
        Err(errno())
    } else {
        Ok(result)
    }
}

/// A descriptor that a system call just returned.
pub fn owned(result: i32) -> Res<OwnedFd> {
    let fd = check_int(result)?;
    // SAFETY: the kernel just gave us this descriptor and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What JavaScript gets: the value, or -errno.
pub fn flat(result: Res<i32>) -> i32 {
    result.unwrap_or_else(|errno| -errno)
}

pub fn c_string(text: &str) -> Res<CString> {
    CString::new(text).map_err(|_| libc::EINVAL)
}

pub fn set_nonblocking(fd: RawFd) -> Res<()> {
    // SAFETY: fcntl on a number touches no memory; a bad descriptor is an error.
    let flags = check_int(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    if flags & libc::O_NONBLOCK == 0 {
        // SAFETY: as above.
        check_int(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    }
    Ok(())
}

/// Takes over a descriptor of the caller's, or a duplicate of it.
pub fn adopt(fd: RawFd, duplicate: bool) -> Res<OwnedFd> {
    if fd < 0 {
        return Err(libc::EBADF);
    }
    if duplicate {
        // SAFETY: fcntl on a number touches no memory.
        return owned(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) });
    }
    // SAFETY: as above.
    check_int(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open (fcntl succeeded) and the caller hands it over for good.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn set_option<T>(fd: &OwnedFd, level: i32, name: i32, value: &T) -> Res<()> {
    let size = std::mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is readable for `size` bytes.
    check_int(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (value as *const T).cast(), size) })?;
    Ok(())
}

pub fn get_option<T: Copy>(fd: &OwnedFd, level: i32, name: i32, mut value: T) -> Res<T> {
    let mut size = std::mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is writable for `size` bytes; callers use plain integers and C structs.
    check_int(unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, (&mut value as *mut T).cast(), &mut size)
    })?;
    Ok(value)
}

pub fn is_socket(fd: &OwnedFd) -> bool {
    get_option(fd, libc::SOL_SOCKET, libc::SO_TYPE, 0i32).is_ok()
}
