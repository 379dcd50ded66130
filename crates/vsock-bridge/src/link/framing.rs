//! How frames are told apart on a byte stream, and bytes that wait in a row.

use crate::constants::*;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Framing {
    /// u32, most significant byte first: QEMU.
    Be32,
    /// u16, least significant byte first: vpnkit, connect, stdio.
    Le16,
}

impl Framing {
    pub fn from_number(kind: i32) -> Option<Framing> {
        match kind {
            KIND_BE32 => Some(Framing::Be32),
            KIND_LE16 => Some(Framing::Le16),
            _ => None,
        }
    }

    pub fn number(self) -> i32 {
        match self {
            Framing::Be32 => KIND_BE32,
            Framing::Le16 => KIND_LE16,
        }
    }

    /// Length of the prefix, bytes.
    pub fn prefix(self) -> usize {
        match self {
            Framing::Be32 => 4,
            Framing::Le16 => 2,
        }
    }

    /// Length of the frame whose prefix stands at the beginning; `None` when the prefix is not whole.
    pub fn length(self, bytes: &[u8]) -> Option<usize> {
        match (self, bytes) {
            (Framing::Be32, [a, b, c, d, ..]) => Some(u32::from_be_bytes([*a, *b, *c, *d]) as usize),
            (Framing::Le16, [a, b, ..]) => Some(usize::from(u16::from_le_bytes([*a, *b]))),
            _ => None,
        }
    }

    /// The prefix of a frame: the first `prefix()` bytes of what this gives.
    pub fn head(self, length: usize) -> [u8; 4] {
        match self {
            Framing::Be32 => (length as u32).to_be_bytes(),
            Framing::Le16 => (length as u32).to_le_bytes(),
        }
    }

    /// Longest frame that can be said in this framing and may be sent.
    pub fn max(self) -> usize {
        match self {
            Framing::Be32 => MAX_FRAME,
            Framing::Le16 => 0xffff,
        }
    }
}

/// Memory that is kept in any case, bytes.
const KEPT: usize = 64 * 1024;
/// Memory goes back when so many fillings in a row needed less than a quarter of it. At once would be dear: the
/// allocator gives large pieces back to the kernel, which clears them page by page for the next one.
const SPARSE: u32 = 64;

/// Bytes in a row that leave at the front.
#[derive(Default)]
pub struct Bytes {
    data: Vec<u8>,
    head: usize,
    /// Fillings in a row that needed little.
    sparse: u32,
}

impl Bytes {
    pub fn new(data: Vec<u8>) -> Bytes {
        Bytes { data, head: 0, sparse: 0 }
    }

    pub fn len(&self) -> usize {
        self.data.len() - self.head
    }

    pub fn rest(&self) -> &[u8] {
        &self.data[self.head..]
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.head > 0 && self.head * 2 > self.data.len() {
            self.data.drain(..self.head);
            self.head = 0;
        }
        self.data.extend_from_slice(bytes);
    }

    pub fn consume(&mut self, count: usize) {
        self.head += count;
        if self.head >= self.data.len() {
            self.sparse = if self.data.len() < self.data.capacity() / 4 { self.sparse + 1 } else { 0 };
            self.data.clear();
            self.head = 0;
            if self.sparse == SPARSE {
                self.sparse = 0;
                self.data.shrink_to(KEPT);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_for_what_comes_and_goes_back_when_little_does() {
        let mut bytes = Bytes::default();
        let mut fill = |size: usize| {
            bytes.push(&vec![7; size]);
            assert_eq!(bytes.len(), size);
            bytes.consume(size);
            assert_eq!(bytes.len(), 0);
            bytes.data.capacity()
        };
        let large = fill(8 * KEPT);
        assert_eq!(fill(8 * KEPT), large);
        for _ in 1..SPARSE {
            assert_eq!(fill(100), large);
        }
        // One that needs much begins the count anew.
        assert_eq!(fill(4 * KEPT), large);
        for _ in 1..SPARSE {
            assert_eq!(fill(100), large);
        }
        assert!(fill(100) <= KEPT);
    }
}
