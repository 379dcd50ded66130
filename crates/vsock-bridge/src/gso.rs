//! TCP super-segments for links without offloads: cut into segments of `gso` payload bytes, each with its own header and
//! checksums, as a network card would.

use crate::buffers::Span;
use crate::constants::TX_CHECKSUM;
use crate::frame::{fill_checksums, layout, Frame, TCP};
use crate::sys::Res;

const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// Length of the headers of a TCP frame that is to be cut; the first piece must end with them.
fn headers(frame: &Frame) -> Res<(usize, usize, bool)> {
    let found = layout(frame).filter(|found| found.protocol == TCP).ok_or(libc::EINVAL)?;
    let head = frame.pieces[0].bytes();
    let end = found.l4 + usize::from(head[found.l4 + 12] >> 4) * 4;
    if end != head.len() || end < found.l4 + 20 {
        return Err(libc::EINVAL);
    }
    Ok((found.l4, end, found.v6))
}

/// Bytes of header copies that cutting the frame needs in the arena.
pub fn arena_need(frame: &Frame) -> Res<usize> {
    if frame.gso == 0 {
        return Ok(0);
    }
    let (_, header, _) = headers(frame)?;
    Ok((frame.len() - header).div_ceil(frame.gso).max(1) * header)
}

/// Cuts `frame` and appends the segments to `out`. `arena` must have room for `arena_need` more bytes: it must not
/// move, for frames point into it.
pub fn cut(frame: &Frame, arena: &mut Vec<u8>, out: &mut Vec<Frame>) -> Res<()> {
    let (l4, header, v6) = headers(frame)?;
    let payload = frame.len() - header;
    let count = payload.div_ceil(frame.gso).max(1);
    let head = frame.pieces[0].bytes();
    let sequence = u32::from_be_bytes([head[l4 + 4], head[l4 + 5], head[l4 + 6], head[l4 + 7]]);
    let id = u16::from_be_bytes([head[18], head[19]]);
    for i in 0..count {
        let from = i * frame.gso;
        let to = payload.min(from + frame.gso);
        let at = arena.len();
        if arena.capacity() - at < header {
            return Err(libc::EINVAL);
        }
        arena.extend_from_slice(head);
        let copy = &mut arena[at..];
        if v6 {
            copy[18..20].copy_from_slice(&((header - 54 + to - from) as u16).to_be_bytes());
        } else {
            copy[16..18].copy_from_slice(&((header - 14 + to - from) as u16).to_be_bytes());
            copy[18..20].copy_from_slice(&id.wrapping_add(i as u16).to_be_bytes());
        }
        copy[l4 + 4..l4 + 8].copy_from_slice(&sequence.wrapping_add(from as u32).to_be_bytes());
        if i + 1 < count {
            copy[l4 + 13] &= !FIN_PSH;
        }
        if i > 0 {
            copy[l4 + 13] &= !CWR;
        }
        // SAFETY: the arena keeps its place (checked above) until the frames have been sent.
        let copy = unsafe { Span::from_raw(copy.as_mut_ptr(), header) };
        let [_, first, second] = frame.pieces;
        let middle = first.len();
        let segment = Frame {
            pieces: [
                copy,
                first.part(from, to),
                second.part(from.saturating_sub(middle), to.saturating_sub(middle)),
            ],
            flags: TX_CHECKSUM,
            gso: 0,
        };
        fill_checksums(&segment);
        out.push(segment);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tests::{packet, span, verify};

    #[test]
    fn segments_add_up() {
        for payload in [1, 99, 100, 101, 1000] {
            let mut bytes = packet(TCP, payload);
            bytes[47] = 0x99;
            let data = bytes[54..].to_vec();
            for middle in [0, 1, 50, 100, 101, payload] {
                let middle = middle.min(payload);
                let whole = span(&mut bytes);
                let frame = Frame {
                    pieces: [
                        whole.part(0, 54),
                        whole.part(54, 54 + middle),
                        whole.part(54 + middle, usize::MAX),
                    ],
                    flags: TX_CHECKSUM,
                    gso: 100,
                };
                let mut arena = Vec::with_capacity(arena_need(&frame).unwrap());
                let mut out = Vec::new();
                cut(&frame, &mut arena, &mut out).unwrap();
                assert_eq!(out.len(), payload.div_ceil(100));
                let mut joined = Vec::new();
                for (i, segment) in out.iter().enumerate() {
                    let flat: Vec<u8> =
                        segment.pieces.iter().flat_map(|piece| piece.bytes().to_vec()).collect();
                    assert!(verify(&flat));
                    let last = i + 1 == out.len();
                    assert_eq!(flat[47] & FIN_PSH != 0, last);
                    assert_eq!(flat[47] & CWR != 0, i == 0);
                    joined.extend_from_slice(&flat[54..]);
                }
                assert_eq!(joined, data);
            }
        }
    }

    #[test]
    fn what_is_no_tcp_is_refused() {
        let mut bytes = packet(crate::frame::UDP, 300);
        let whole = span(&mut bytes);
        let frame = Frame {
            pieces: [whole.part(0, 42), whole.part(42, usize::MAX), Span::EMPTY],
            flags: 0,
            gso: 100,
        };
        assert_eq!(arena_need(&frame), Err(libc::EINVAL));
        let mut bytes = packet(TCP, 300);
        let whole = span(&mut bytes);
        let frame = Frame {
            pieces: [whole.part(0, 60), whole.part(60, usize::MAX), Span::EMPTY],
            flags: 0,
            gso: 100,
        };
        assert_eq!(arena_need(&frame), Err(libc::EINVAL));
    }
}
