//! Where packets land: nobody knows their lengths before, so each gets a slot for the longest, and is packed behind the
//! one before it afterwards. What the caller's range has no room for is stashed for the next call.

use super::framing::Bytes;
use super::Sink;
use crate::constants::PACKET_ROOM;
use crate::sys::{check, Res};
use std::os::fd::RawFd;

/// Packets per system call.
pub const BATCH: usize = 32;

/// Slots, and the addresses of who sent; memory is taken when the first packet is expected.
#[derive(Default)]
pub struct Landing {
    bytes: Vec<u8>,
    names: Vec<libc::sockaddr_un>,
    packets: Vec<Landed>,
}

#[derive(Clone, Copy)]
struct Landed {
    length: usize,
    name: usize,
    truncated: bool,
}

impl Landing {
    /// Receives up to `want` packets (at most BATCH) without waiting; their number.
    pub fn receive(&mut self, fd: RawFd, want: usize, named: bool) -> Res<usize> {
        if self.bytes.is_empty() {
            self.bytes = vec![0; BATCH * PACKET_ROOM];
            // SAFETY: all-zero is a valid sockaddr_un.
            self.names = vec![unsafe { std::mem::zeroed() }; BATCH];
        }
        self.packets.clear();
        let want = want.min(BATCH);
        let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: PACKET_ROOM }; BATCH];
        // SAFETY: all-zero mmsghdrs are valid.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        let slots = self.bytes.chunks_exact_mut(PACKET_ROOM);
        for (i, slot) in slots.enumerate().take(want) {
            parts[i].iov_base = slot.as_mut_ptr().cast();
            let header = &mut messages[i].msg_hdr;
            header.msg_iov = &mut parts[i];
            header.msg_iovlen = 1;
            if named {
                header.msg_name = (&mut self.names[i] as *mut libc::sockaddr_un).cast();
                header.msg_namelen = std::mem::size_of::<libc::sockaddr_un>() as _;
            }
        }
        let (flags, timeout) = (libc::MSG_DONTWAIT as _, std::ptr::null_mut());
        // SAFETY: each message has one slot of PACKET_ROOM bytes and room for an address, all of them ours.
        let result = unsafe { libc::recvmmsg(fd, messages.as_mut_ptr(), want as u32, flags, timeout) };
        let count = check(result as isize)?;
        self.packets.extend(messages[..count].iter().map(|message| Landed {
            length: (message.msg_len as usize).min(PACKET_ROOM),
            name: message.msg_hdr.msg_namelen as usize,
            truncated: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        }));
        Ok(count)
    }

    /// Packet `i` of the last receive; `None`: it was longer than its slot.
    pub fn packet(&self, i: usize) -> Option<&[u8]> {
        let landed = self.packets[i];
        let from = i * PACKET_ROOM;
        (!landed.truncated).then(|| &self.bytes[from..from + landed.length])
    }

    /// The path of who sent packet `i` as it stands in a sockaddr_un: empty for a socket without one.
    pub fn sender(&self, i: usize) -> &[u8] {
        let path = &self.names[i].sun_path;
        let before = std::mem::offset_of!(libc::sockaddr_un, sun_path);
        let length = self.packets[i].name.saturating_sub(before).min(path.len());
        // SAFETY: c_char and u8 have the same layout; the length is within the array.
        unsafe { std::slice::from_raw_parts(path.as_ptr().cast(), length) }
    }
}

/// Packets that wait for the next call, each behind its length and tag.
#[derive(Default)]
pub struct Stash(Bytes);

impl Stash {
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    pub fn push(&mut self, packet: &[u8], tag: i32) {
        self.0.push(&(packet.len() as u32).to_ne_bytes());
        self.0.push(&tag.to_ne_bytes());
        self.0.push(packet);
    }

    /// Hands over what fits; true when all did.
    pub fn drain(&mut self, into: &mut Packer) -> bool {
        while let Some((header, rest)) = self.0.rest().split_first_chunk::<8>() {
            let [a, b, c, d, tag @ ..] = *header;
            let length = u32::from_ne_bytes([a, b, c, d]) as usize;
            if !into.put(&rest[..length], i32::from_ne_bytes(tag)) {
                return false;
            }
            self.0.consume(8 + length);
        }
        true
    }
}

/// Packs packets one behind the other, at multiples of 16.
pub struct Packer<'a> {
    pub sink: &'a mut Sink,
    at: usize,
}

impl<'a> Packer<'a> {
    pub fn new(sink: &'a mut Sink) -> Packer<'a> {
        Packer { sink, at: 0 }
    }

    /// How many packets to ask the kernel for: none unless the longest one fits.
    pub fn want(&self) -> usize {
        let fits = self.sink.span.len() - self.at >= PACKET_ROOM;
        if fits {
            BATCH.min(self.sink.max - self.sink.count)
        } else {
            0
        }
    }

    /// Copies a packet behind the others; false when it does not fit.
    pub fn put(&mut self, packet: &[u8], tag: i32) -> bool {
        if self.sink.full() || packet.len() > self.sink.span.len() - self.at {
            return false;
        }
        self.sink.span.write(self.at, packet);
        self.sink.push(self.at, packet.len(), 0, tag);
        self.at = (self.at + packet.len()).next_multiple_of(16).min(self.sink.span.len());
        true
    }
}
