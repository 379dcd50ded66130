//! The Internet checksum (RFC 1071) over pieces of any length and alignment.

/// One's complement sum of the bytes as 16-bit words in memory order, folded; an odd last byte is padded with zero.
pub fn sum(bytes: &[u8]) -> u16 {
    // Independent lanes of 32-bit words added into 64 bits: the compiler makes SIMD of it, and no carry is lost
    // (2^32 words would be needed).
    let mut lanes = [0u64; 8];
    let mut chunks = bytes.chunks_exact(32);
    for chunk in &mut chunks {
        for (lane, word) in lanes.iter_mut().zip(chunk.chunks_exact(4)) {
            *lane += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        }
    }
    let mut total: u64 = 0;
    for lane in lanes {
        total += lane;
    }
    let mut pairs = chunks.remainder().chunks_exact(2);
    for pair in &mut pairs {
        total += u64::from(u16::from_ne_bytes([pair[0], pair[1]]));
    }
    if let [last] = pairs.remainder() {
        total += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    fold(total)
}

fn fold(mut total: u64) -> u16 {
    while total >> 16 != 0 {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// A sum over consecutive pieces; a piece may begin at an odd offset of the whole.
#[derive(Clone, Copy, Default)]
pub struct Sum {
    total: u64,
    odd: bool,
}

impl Sum {
    pub fn add(&mut self, bytes: &[u8]) {
        let piece = sum(bytes);
        self.total += u64::from(if self.odd { piece.swap_bytes() } else { piece });
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// Adds a 16-bit field of a pseudo header, given in host order. Only at even offsets.
    pub fn add_u16(&mut self, value: u16) {
        self.total += u64::from(value.to_be());
    }

    /// The sum as it stands in memory.
    pub fn folded(self) -> [u8; 2] {
        fold(self.total).to_ne_bytes()
    }

    /// The checksum as it stands in memory: the complement of the sum.
    pub fn complement(self) -> [u8; 2] {
        (!fold(self.total)).to_ne_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(bytes: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in bytes.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9u32;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    #[test]
    fn agrees_with_the_definition() {
        for length in 0..200 {
            let bytes = noise(length);
            assert_eq!(u16::from_be(sum(&bytes)), slow(&bytes), "{length}");
        }
        assert_eq!(u16::from_be(sum(&[0xff; 70_000])), 0xffff);
        // RFC 1071, section 3.
        assert_eq!(u16::from_be(sum(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    }

    #[test]
    fn any_split_gives_the_same_sum() {
        let bytes = noise(41);
        let whole = sum(&bytes).to_ne_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut pieces = Sum::default();
                pieces.add(&bytes[..first]);
                pieces.add(&bytes[first..second]);
                pieces.add(&bytes[second..]);
                assert_eq!(pieces.folded(), whole, "{first} {second}");
            }
        }
    }
}
