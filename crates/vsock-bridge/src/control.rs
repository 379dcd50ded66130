//! Control messages of sockets: reading them, writing them, and the address in an extended error.

use crate::address::words_of;

/// Calls `visit` with level, type and data of each control message.
pub fn each_control(header: &libc::msghdr, mut visit: impl FnMut(i32, i32, &[u8])) {
    // SAFETY: the kernel filled the control buffer that the header points to, which is alive; the macros stay inside
    // its length, and every data slice ends with its message.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            let length = ((*control).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let data = std::slice::from_raw_parts(libc::CMSG_DATA(control), length);
            visit((*control).cmsg_level, (*control).cmsg_type, data);
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
}

pub fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
}

/// The offender's address in a sockaddr.
pub fn offender(bytes: &[u8]) -> [u32; 4] {
    match bytes.get(..2).map(|family| i32::from(u16::from_ne_bytes([family[0], family[1]]))) {
        Some(libc::AF_INET) => [u32::from_be(word(bytes, 4)), 0, 0, 0],
        Some(libc::AF_INET6) if bytes.len() >= 24 => {
            let mut ip = [0u8; 16];
            ip.copy_from_slice(&bytes[8..24]);
            words_of(ip)
        }
        _ => [0; 4],
    }
}

/// Writes a control message to the front of `room`; returns the bytes that it takes with its padding.
pub fn put_control(room: &mut [u8], level: i32, kind: i32, data: &[u8]) -> usize {
    // SAFETY: both macros compute with numbers only.
    let (space, length) = unsafe { (libc::CMSG_SPACE(data.len() as u32), libc::CMSG_LEN(data.len() as u32)) };
    // SAFETY: all-zero is a valid cmsghdr.
    let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
    header.cmsg_len = length as _;
    header.cmsg_level = level;
    header.cmsg_type = kind;
    let start = length as usize - data.len();
    room[..space as usize].fill(0);
    room[start..length as usize].copy_from_slice(data);
    // SAFETY: the header is shorter than `start`, the room was just indexed up to there, and the write is unaligned.
    unsafe { room.as_mut_ptr().cast::<libc::cmsghdr>().write_unaligned(header) };
    space as usize
}
