//! Socket addresses between text, numbers and the kernel's structures.

use crate::sys::{c_string, check_int, Res};
use napi_derive::napi;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

/// A kernel address of any family.
pub struct Address {
    storage: libc::sockaddr_storage,
    pub length: libc::socklen_t,
}

#[napi(object)]
pub struct SocketAddress {
    pub family: String,
    pub address: String,
    pub port: u32,
}

fn size<T>() -> libc::socklen_t {
    std::mem::size_of::<T>() as libc::socklen_t
}

impl Address {
    /// Room for an address that the kernel writes.
    pub fn empty() -> Address {
        Address {
            // SAFETY: all-zero is a valid sockaddr_storage (AF_UNSPEC).
            storage: unsafe { std::mem::zeroed() },
            length: size::<libc::sockaddr_storage>(),
        }
    }

    fn of<T: Copy>(value: T) -> Address {
        let mut address = Address::empty();
        address.length = size::<T>();
        // SAFETY: sockaddr_storage is large and aligned enough for every sockaddr; T is one.
        unsafe { (&mut address.storage as *mut libc::sockaddr_storage).cast::<T>().write(value) };
        address
    }

    pub fn v4(ip: u32, port: u16) -> Address {
        Address::of(libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: port.to_be(),
            sin_addr: libc::in_addr { s_addr: ip.to_be() },
            sin_zero: [0; 8],
        })
    }

    pub fn v6(ip: [u8; 16], port: u16, scope: u32) -> Address {
        Address::of(libc::sockaddr_in6 {
            sin6_family: libc::AF_INET6 as u16,
            sin6_port: port.to_be(),
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: ip },
            sin6_scope_id: scope,
        })
    }

    /// An address text, with `%scope` behind an IPv6 address if need be.
    pub fn parse(text: &str, port: i32) -> Res<Address> {
        let port = u16::try_from(port).map_err(|_| libc::EINVAL)?;
        let (ip, scope) = text.split_once('%').unwrap_or((text, ""));
        match ip.parse::<IpAddr>().map_err(|_| libc::EINVAL)? {
            IpAddr::V4(ip) if scope.is_empty() => Ok(Address::v4(ip.into(), port)),
            IpAddr::V4(_) => Err(libc::EINVAL),
            IpAddr::V6(ip) => Ok(Address::v6(ip.octets(), port, scope_id(scope)?)),
        }
    }

    /// A unix socket's path; a leading NUL makes it abstract.
    pub fn unix(path: &str) -> Res<Address> {
        // SAFETY: all-zero is a valid sockaddr_un.
        let mut value: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        value.sun_family = libc::AF_UNIX as u16;
        let bytes = path.as_bytes();
        let inner = bytes.strip_prefix(&[0]).unwrap_or(bytes);
        if bytes.is_empty() || bytes.len() >= value.sun_path.len() || inner.contains(&0) {
            return Err(libc::EINVAL);
        }
        for (to, from) in value.sun_path.iter_mut().zip(bytes) {
            *to = *from as libc::c_char;
        }
        let mut address = Address::of(value);
        let named = usize::from(bytes[0] != 0);
        address.length = (std::mem::offset_of!(libc::sockaddr_un, sun_path) + bytes.len() + named) as _;
        Ok(address)
    }

    /// The path part of a sockaddr_un as the kernel wrote it, its last NUL included where there is one.
    pub fn unix_bytes(path: &[u8]) -> Res<Address> {
        // SAFETY: all-zero is a valid sockaddr_un.
        let mut value: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        if path.is_empty() || path.len() > value.sun_path.len() {
            return Err(libc::EINVAL);
        }
        value.sun_family = libc::AF_UNIX as u16;
        for (to, from) in value.sun_path.iter_mut().zip(path) {
            *to = *from as libc::c_char;
        }
        let mut address = Address::of(value);
        address.length = (std::mem::offset_of!(libc::sockaddr_un, sun_path) + path.len()) as _;
        Ok(address)
    }

    /// Connects a socket to it.
    pub fn connect(&self, fd: RawFd) -> Res<()> {
        // SAFETY: the address is valid for its length.
        check_int(unsafe { libc::connect(fd, self.as_ptr(), self.length) })?;
        Ok(())
    }

    pub fn vsock(cid: u32, port: u32) -> Address {
        // SAFETY: all-zero is a valid sockaddr_vm.
        let mut value: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
        value.svm_family = libc::AF_VSOCK as u16;
        value.svm_cid = cid;
        value.svm_port = port;
        Address::of(value)
    }

    /// This end's address of a socket, or the peer's.
    pub fn name(fd: RawFd, peer: bool) -> Res<Address> {
        let mut address = Address::empty();
        let get = if peer { libc::getpeername } else { libc::getsockname };
        // SAFETY: the kernel writes at most `length` bytes into the storage.
        check_int(unsafe { get(fd, address.as_mut_ptr(), &mut address.length) })?;
        Ok(address)
    }

    pub fn family(&self) -> i32 {
        i32::from(self.storage.ss_family)
    }

    pub fn as_ptr(&self) -> *const libc::sockaddr {
        (&self.storage as *const libc::sockaddr_storage).cast()
    }

    pub fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&mut self.storage as *mut libc::sockaddr_storage).cast()
    }

    fn view<T: Copy>(&self) -> T {
        // SAFETY: the storage holds at least a T of plain data (zero where the kernel wrote less).
        unsafe { (&self.storage as *const libc::sockaddr_storage).cast::<T>().read() }
    }

    /// Family (4, 6, or the kernel's number), port, and four address words. A mapped address counts as IPv4.
    pub fn words(&self) -> (i32, u32, [u32; 4]) {
        match self.family() {
            libc::AF_INET => {
                let value: libc::sockaddr_in = self.view();
                let ip = u32::from_be(value.sin_addr.s_addr);
                (4, u32::from(u16::from_be(value.sin_port)), [ip, 0, 0, 0])
            }
            libc::AF_INET6 => {
                let value: libc::sockaddr_in6 = self.view();
                let port = u32::from(u16::from_be(value.sin6_port));
                match Ipv6Addr::from(value.sin6_addr.s6_addr).to_ipv4_mapped() {
                    Some(ip) => (4, port, [ip.into(), 0, 0, 0]),
                    None => (6, port, words_of(value.sin6_addr.s6_addr)),
                }
            }
            libc::AF_VSOCK => {
                let value: libc::sockaddr_vm = self.view();
                (libc::AF_VSOCK, value.svm_port, [value.svm_cid, 0, 0, 0])
            }
            other => (other, 0, [0; 4]),
        }
    }

    pub fn describe(&self) -> Option<SocketAddress> {
        let (family, port, words) = self.words();
        let (family, address) = match family {
            4 => ("ipv4", Ipv4Addr::from(words[0]).to_string()),
            6 => ("ipv6", Ipv6Addr::from(bytes_of(words)).to_string()),
            libc::AF_VSOCK => ("vsock", words[0].to_string()),
            libc::AF_UNIX => ("unix", self.path()),
            _ => return None,
        };
        Some(SocketAddress { family: family.to_owned(), address, port })
    }

    fn path(&self) -> String {
        let value: libc::sockaddr_un = self.view();
        let length = self.length as usize;
        let length = length.saturating_sub(std::mem::offset_of!(libc::sockaddr_un, sun_path));
        let bytes: Vec<u8> = value.sun_path.iter().take(length).map(|&byte| byte as u8).collect();
        // A named socket's path ends with a NUL, an abstract one begins with it.
        let end = bytes.iter().skip(1).position(|&byte| byte == 0).map_or(bytes.len(), |at| at + 1);
        let path = if bytes.first() == Some(&0) { &bytes[..] } else { &bytes[..end] };
        String::from_utf8_lossy(path).into_owned()
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        self.words() == other.words()
    }
}

fn scope_id(scope: &str) -> Res<u32> {
    if scope.is_empty() {
        return Ok(0);
    }
    if let Ok(number) = scope.parse() {
        return Ok(number);
    }
    let name = c_string(scope)?;
    // SAFETY: a C string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(libc::ENODEV),
        index => Ok(index),
    }
}

pub fn words_of(bytes: [u8; 16]) -> [u32; 4] {
    let value = u128::from_be_bytes(bytes);
    [(value >> 96) as u32, (value >> 64) as u32, (value >> 32) as u32, value as u32]
}

pub fn bytes_of(words: [u32; 4]) -> [u8; 16] {
    words.iter().fold(0u128, |value, word| value << 32 | u128::from(*word)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_words() {
        let address = Address::parse("127.0.0.1", 80).unwrap();
        assert_eq!(address.words(), (4, 80, [0x7f00_0001, 0, 0, 0]));
        let address = Address::parse("2001:db8::1", 443).unwrap();
        assert_eq!(address.words(), (6, 443, [0x2001_0db8, 0, 0, 1]));
        assert_eq!(bytes_of(words_of([7; 16])), [7; 16]);
        let mapped = Address::parse("::ffff:10.0.0.1", 1).unwrap();
        assert_eq!(mapped.words(), (4, 1, [0x0a00_0001, 0, 0, 0]));
        assert_eq!(mapped.describe().unwrap().address, "10.0.0.1");
        for wrong in ["", "localhost", "127.0.0.1%1", "1.2.3", "::1%nosuchif"] {
            assert!(Address::parse(wrong, 1).is_err(), "{wrong}");
        }
        for port in [-1, 65_536, i32::MAX] {
            assert!(Address::parse("::1", port).is_err());
        }
    }

    #[test]
    fn unix_paths() {
        for path in ["/tmp/x", "\0abstract", &"p".repeat(107)] {
            assert_eq!(Address::unix(path).unwrap().describe().unwrap().address, path);
        }
        for wrong in ["", "/a\0b", &"p".repeat(108)] {
            assert!(Address::unix(wrong).is_err());
        }
    }
}
