//! Frames to send: gathered pieces, their headers, and the checksums that are filled in here.

use crate::buffers::{Buffers, Ints, Span};
use crate::checksum::Sum;
use crate::constants::{MAX_FRAME, MIN_FRAME, TX_CHECKSUM, TX_STRIDE};
use crate::sys::Res;

/// A frame in up to three pieces, of which the first holds the headers.
#[derive(Clone, Copy)]
pub struct Frame {
    pub pieces: [Span; 3],
    pub flags: i32,
    /// Payload bytes per segment of a TCP super-segment, else 0.
    pub gso: usize,
}

impl Frame {
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Span::len).sum()
    }

    /// Frame `i` of a descriptor table.
    pub fn parse(buffers: &Buffers, table: &Ints, i: usize) -> Res<Frame> {
        let at = i * TX_STRIDE;
        let span = |field: usize| {
            buffers.span(table.get(at + field), table.get(at + field + 1), table.get(at + field + 2))
        };
        let frame = Frame {
            pieces: [span(0)?, span(5)?, span(8)?],
            flags: table.get(at + 3),
            gso: usize::try_from(table.get(at + 4)).map_err(|_| libc::EINVAL)?,
        };
        let length = frame.len();
        if !(MIN_FRAME..=MAX_FRAME).contains(&length) || frame.gso > 0xffff {
            return Err(libc::EINVAL);
        }
        Ok(frame)
    }

    pub fn wants_checksum(&self) -> bool {
        self.flags & TX_CHECKSUM != 0
    }
}

/// Where the headers of an IP packet lie in its frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    pub v6: bool,
    /// Offset of the transport header.
    pub l4: usize,
    /// End of the IP packet (the frame may be padded behind it).
    pub end: usize,
    pub protocol: u8,
    /// Offset of the checksum field in the transport header.
    pub field: usize,
}

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const IP: usize = 14;

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(bytes[at]) << 8 | usize::from(bytes[at + 1])
}

/// Finds the transport checksum of a frame; `None` where there is none to fill in (not IP, a fragment, an
/// unknown protocol) or where the first piece does not hold the field.
pub fn layout(frame: &Frame) -> Option<Layout> {
    let head = frame.pieces[0].bytes();
    if head.len() < IP + 20 {
        return None;
    }
    let (v6, l4, end, protocol) = match u16_at(head, 12) {
        0x0800 => {
            let header = usize::from(head[IP] & 15) * 4;
            let fragment = u16_at(head, IP + 6) & 0x3fff != 0;
            if head[IP] >> 4 != 4 || header < 20 || fragment {
                return None;
            }
            (false, IP + header, IP + u16_at(head, IP + 2), head[IP + 9])
        }
        0x86dd if head.len() >= IP + 40 => (true, IP + 40, IP + 40 + u16_at(head, IP + 4), head[IP + 6]),
        _ => return None,
    };
    let field = match (v6, protocol) {
        (_, TCP) => 16,
        (_, UDP) => 6,
        (false, ICMP) | (true, ICMPV6) => 2,
        _ => return None,
    };
    if head.len() < l4 + field + 2 || end < l4 + field + 2 || end > frame.len() {
        return None;
    }
    Some(Layout { v6, l4, end, protocol, field })
}

/// Fills in the checksum of an IPv4 header.
pub fn fill_ipv4_header(frame: &Frame) {
    let head = &frame.pieces[0];
    let checksum = {
        let bytes = head.bytes();
        if bytes.len() < IP + 20 || u16_at(bytes, 12) != 0x0800 {
            return;
        }
        let end = IP + usize::from(bytes[IP] & 15) * 4;
        if end < IP + 20 || bytes.len() < end {
            return;
        }
        let mut sum = Sum::default();
        sum.add(&bytes[IP..IP + 10]);
        sum.add(&bytes[IP + 12..end]);
        sum.complement()
    };
    head.write(IP + 10, &checksum);
}

/// The pseudo header's sum (RFC 9293 3.1, RFC 8200 8.1); ICMP over IPv4 has none.
fn pseudo(head: &[u8], layout: &Layout) -> Sum {
    let mut sum = Sum::default();
    if layout.protocol == ICMP && !layout.v6 {
        return sum;
    }
    let addresses = if layout.v6 { IP + 8..IP + 40 } else { IP + 12..IP + 20 };
    sum.add(&head[addresses]);
    sum.add_u16(u16::from(layout.protocol));
    sum.add_u16((layout.end - layout.l4) as u16);
    sum
}

/// Fills in the transport checksum.
pub fn fill_transport(frame: &Frame, layout: &Layout) {
    let head = &frame.pieces[0];
    let at = layout.l4 + layout.field;
    let checksum = {
        let mut sum = pseudo(head.bytes(), layout);
        sum.add(&head.bytes()[layout.l4..at]);
        sum.add(&[0, 0]);
        // Bytes of the packet that lie behind the field, piece by piece: padding does not count.
        let mut left = layout.end - at - 2;
        for (i, piece) in frame.pieces.iter().enumerate() {
            let bytes = if i == 0 { &piece.bytes()[at + 2..] } else { piece.bytes() };
            let take = bytes.len().min(left);
            sum.add(&bytes[..take]);
            left -= take;
        }
        sum.complement()
    };
    // RFC 768: zero means none, so a sum of zero is sent as ones.
    let udp_zero = layout.protocol == UDP && checksum == [0, 0];
    head.write(at, if udp_zero { &[0xff, 0xff] } else { &checksum });
}

/// Whether the TCP or UDP checksum of a received frame is right. False as well where there is none to look at.
pub fn verified(bytes: &[u8]) -> bool {
    // SAFETY: the span is only read, and not kept.
    let whole = unsafe { Span::from_raw(bytes.as_ptr().cast_mut(), bytes.len()) };
    let frame = Frame { pieces: [whole, Span::EMPTY, Span::EMPTY], flags: 0, gso: 0 };
    let Some(layout) = layout(&frame) else { return false };
    if !matches!(layout.protocol, TCP | UDP) {
        return false;
    }
    let mut sum = pseudo(bytes, &layout);
    sum.add(&bytes[layout.l4..layout.end]);
    sum.complement() == [0, 0]
}

/// Puts the pseudo header's sum into the field, as a device that finishes the checksum wants it.
pub fn fill_partial(frame: &Frame, layout: &Layout) {
    let head = &frame.pieces[0];
    let sum = pseudo(head.bytes(), layout).folded();
    head.write(layout.l4 + layout.field, &sum);
}

/// Fills in whatever the frame's flags ask for.
pub fn fill_checksums(frame: &Frame) {
    if frame.wants_checksum() {
        fill_ipv4_header(frame);
        if let Some(layout) = layout(frame) {
            fill_transport(frame, &layout);
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn span(bytes: &mut [u8]) -> Span {
        // SAFETY: tests keep `bytes` alive while the span is in use.
        unsafe { Span::from_raw(bytes.as_mut_ptr(), bytes.len()) }
    }

    /// A TCP (or UDP) packet over IPv4 with junk in its checksum fields and `payload` bytes of data.
    pub fn packet(protocol: u8, payload: usize) -> Vec<u8> {
        let l4 = if protocol == TCP { 20 } else { 8 };
        let mut frame = vec![0xa5u8; 14 + 20 + l4 + payload];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14..26].copy_from_slice(&[0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0x77, 0x77]);
        let total = (20 + l4 + payload) as u16;
        frame[16..18].copy_from_slice(&total.to_be_bytes());
        frame[26..34].copy_from_slice(&[192, 168, 127, 1, 192, 168, 127, 2]);
        if protocol == TCP {
            frame[46] = 0x50;
        }
        for (i, byte) in frame[14 + 20 + l4..].iter_mut().enumerate() {
            *byte = (i * 7 + 3) as u8;
        }
        frame
    }

    /// Verifies the IPv4 header and the transport checksum of a whole frame.
    pub fn verify(frame: &[u8]) -> bool {
        let total = u16_at(frame, 16);
        let mut header = Sum::default();
        header.add(&frame[14..34]);
        let mut sum = Sum::default();
        sum.add(&frame[26..34]);
        sum.add_u16(u16::from(frame[23]));
        sum.add_u16((total - 20) as u16);
        sum.add(&frame[34..14 + total]);
        header.complement() == [0, 0] && sum.complement() == [0, 0]
    }

    fn split(bytes: &mut [u8], first: usize, second: usize) -> Frame {
        let whole = span(bytes);
        Frame {
            pieces: [whole.part(0, first), whole.part(first, second), whole.part(second, bytes.len())],
            flags: TX_CHECKSUM,
            gso: 0,
        }
    }

    #[test]
    fn checksums_at_every_split() {
        for (protocol, header) in [(TCP, 54), (UDP, 42)] {
            for payload in [0, 1, 2, 33] {
                let plain = packet(protocol, payload);
                for first in header..=plain.len() {
                    for second in first..=plain.len() {
                        let mut bytes = plain.clone();
                        fill_checksums(&split(&mut bytes, first, second));
                        assert!(verify(&bytes), "{protocol} {payload} {first} {second}");
                    }
                }
            }
        }
    }

    #[test]
    fn received_frames_are_verified() {
        for (protocol, field) in [(TCP, 50), (UDP, 40)] {
            for payload in [0, 1, 2, 33, 1448] {
                let mut bytes = packet(protocol, payload);
                assert!(!verified(&bytes));
                let end = bytes.len();
                fill_checksums(&split(&mut bytes, end, end));
                assert!(verified(&bytes), "{protocol} {payload}");
                // Padding does not count; the end of the packet does.
                let mut padded = bytes.clone();
                padded.extend_from_slice(&[0x77; 7]);
                assert!(verified(&padded));
                assert!(!verified(&bytes[..end - 1]));
                for at in [26, 33, 34, field, end - 1] {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= 0x10;
                    assert!(!verified(&damaged), "{protocol} {payload} {at}");
                }
            }
        }
        for cut in 0..60 {
            verified(&packet(TCP, 20)[..cut]);
        }
        let mut icmp = packet(UDP, 8);
        icmp[23] = ICMP;
        assert!(!verified(&icmp));
    }

    #[test]
    fn padding_does_not_count() {
        let mut bytes = packet(UDP, 4);
        bytes.resize(60, 0x99);
        fill_checksums(&split(&mut bytes, 60, 60));
        assert!(verify(&bytes));
    }

    #[test]
    fn fragments_get_the_header_checksum_only() {
        let mut bytes = packet(UDP, 8);
        bytes[20] = 0x20;
        let before = bytes.clone();
        fill_checksums(&split(&mut bytes, 42, 42));
        assert_ne!(bytes[24..26], before[24..26]);
        assert_eq!(bytes[34..], before[34..]);
    }

    #[test]
    fn damaged_headers_are_left_alone() {
        let plain = packet(TCP, 40);
        for cut in 14..plain.len() {
            for at in 12..plain.len().min(50) {
                for value in [0, 0xff, 0x4f, 0x60] {
                    let mut bytes = plain[..cut].to_vec();
                    if at < cut {
                        bytes[at] = value;
                    }
                    let first = cut.min(54);
                    fill_checksums(&split(&mut bytes, first, cut));
                }
            }
        }
    }

    #[test]
    fn ipv6_and_icmp() {
        let mut bytes = vec![0x5au8; 14 + 40 + 8 + 5];
        bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
        bytes[18..21].copy_from_slice(&[0, 13, ICMPV6]);
        fill_checksums(&split(&mut bytes, 62, 64));
        let mut sum = Sum::default();
        sum.add(&bytes[22..54]);
        sum.add_u16(58);
        sum.add_u16(13);
        sum.add(&bytes[54..]);
        assert_eq!(sum.complement(), [0, 0]);

        let mut bytes = packet(UDP, 9);
        bytes[23] = ICMP;
        fill_checksums(&split(&mut bytes, 42, 45));
        let mut sum = Sum::default();
        sum.add(&bytes[34..]);
        assert_eq!(sum.complement(), [0, 0]);
    }
}
