//! Descriptors over unix sockets (SCM_RIGHTS): from the child of a namespace, and for ports that another process binds.

use crate::datagrams::adopt_datagram;
use crate::poller::Poller;
use crate::state::State;
use crate::sys::{check, owned, Res};
use napi_derive::napi;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

/// The longest text that comes with a descriptor, bytes.
const TEXT: usize = 4096;

/// Room for one descriptor in a control message.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Sends bytes, and a descriptor with them. Async-signal-safe.
pub fn send(socket: RawFd, bytes: &mut [u8], fd: Option<RawFd>) -> Res<usize> {
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = Control([0; 64]);
    // SAFETY: a zeroed msghdr is valid; the control buffer has room for one descriptor (CMSG_SPACE(4) is 24).
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        if let Some(fd) = fd {
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(4) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as _;
            libc::CMSG_DATA(header).cast::<i32>().write_unaligned(fd);
        }
        check(libc::sendmsg(socket, &message, libc::MSG_NOSIGNAL))
    }
}

/// Receives bytes, and the descriptor that came with them. A second one is closed by the kernel: there is no room for it.
pub fn receive(socket: RawFd, bytes: &mut [u8]) -> Res<(usize, Option<OwnedFd>)> {
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = Control([0; 64]);
    let mut fd = None;
    // SAFETY: a zeroed msghdr is valid; the kernel writes within the given lengths; a descriptor that came is ours.
    let count = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let count = check(libc::recvmsg(socket, &mut message, libc::MSG_CMSG_CLOEXEC))?;
        let header = libc::CMSG_FIRSTHDR(&message);
        if !header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS {
            let space = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
            for at in (0..space).step_by(4) {
                let one = owned(libc::CMSG_DATA(header).add(at).cast::<i32>().read_unaligned())?;
                // The first counts; padding may have let a second one in, which is dropped.
                fd.get_or_insert(one);
            }
        }
        count
    };
    Ok((count, fd))
}

#[napi(object)]
pub struct Received {
    /// Bytes of the text, 0 at the end of the stream, or -errno.
    pub count: i32,
    pub text: String,
    /// -1: none came. Else the receiver's to close.
    pub descriptor: i32,
}

impl State {
    fn send_descriptor(&mut self, handle: i32, other: i32, text: &str) -> Res<i32> {
        let socket = self.stream_fd(handle)?;
        let fd = if other == 0 { None } else { Some(self.fd(other)?) };
        let mut bytes = text.as_bytes().to_vec();
        Ok(send(socket, &mut bytes, fd)? as i32)
    }

    fn receive_descriptor(&mut self, handle: i32) -> Res<(Vec<u8>, Option<OwnedFd>)> {
        let mut bytes = vec![0u8; TEXT];
        let (count, fd) = receive(self.stream_fd(handle)?, &mut bytes)?;
        bytes.truncate(count);
        Ok((bytes, fd))
    }
}

#[napi]
impl Poller {
    #[napi]
    pub fn send_descriptor(&self, handle: i32, other: i32, text: String) -> i32 {
        self.with(|state| state.send_descriptor(handle, other, &text))
    }

    #[napi]
    pub fn receive_descriptor(&self, handle: i32) -> Received {
        let mut text = String::new();
        let mut descriptor = -1;
        let count = self.with(|state| {
            let (bytes, fd) = state.receive_descriptor(handle)?;
            text = String::from_utf8_lossy(&bytes).into_owned();
            descriptor = fd.map_or(-1, IntoRawFd::into_raw_fd);
            Ok(bytes.len() as i32)
        });
        Received { count, text, descriptor }
    }

    #[napi]
    pub fn adopt_udp(&self, fd: i32) -> i32 {
        self.with(|state| adopt_datagram(state, fd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, FromRawFd};

    #[test]
    fn a_descriptor_goes_along_with_bytes() {
        let mut pair = [0i32; 2];
        // SAFETY: socketpair writes two descriptors.
        let made = unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()) };
        assert_eq!(made, 0);
        // SAFETY: both were just made.
        let [one, other] = pair.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        assert_eq!(send(one.as_raw_fd(), &mut b"with".to_owned(), Some(one.as_raw_fd())), Ok(4));
        let mut bytes = [0u8; 16];
        let (count, fd) = receive(other.as_raw_fd(), &mut bytes).unwrap();
        assert_eq!((&bytes[..count], fd.is_some()), (&b"with"[..], true));
        assert_eq!(send(one.as_raw_fd(), &mut b"without".to_owned(), None), Ok(7));
        let (count, fd) = receive(other.as_raw_fd(), &mut bytes).unwrap();
        assert_eq!((&bytes[..count], fd.is_none()), (&b"without"[..], true));
    }
}
