/** Segments between a connection and a frame: room for a received one, header and payload of one that leaves. */
import { type Block, type FrameOutput, type SendRing, seq } from '../../core/index.js';
import type { SegmentIn, SegmentOut } from '../types.js';
import { MIN_HEADER } from './header.js';

/** An empty segment to read into. `block`: any; a read replaces it. */
export function segmentIn(block: Block): SegmentIn {
  return {
    block,
    header: 0,
    data: 0,
    length: 0,
    seq: seq(0),
    ack: seq(0),
    flags: 0,
    window: 0,
    ecn: 0,
  };
}

/** Writes the header of `segment` with its options at `at`; the checksum is 0 (RFC 9293 section 3.1). */
export function writeSegment(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  segment: SegmentOut,
  sourcePort: number,
  destinationPort: number,
): void {
  const { options, optionsLength } = segment;
  view.setUint16(at, sourcePort);
  view.setUint16(at + 2, destinationPort);
  view.setUint32(at + 4, segment.seq);
  view.setUint32(at + 8, segment.ack);
  view.setUint16(at + 12, (((MIN_HEADER + optionsLength) / 4) << 12) | segment.flags);
  view.setUint16(at + 14, segment.window);
  view.setUint16(at + 16, 0);
  view.setUint16(at + 18, segment.urgent);
  for (let i = 0; i < optionsLength; i++) bytes[at + MIN_HEADER + i] = options[i]!;
}

/** Adds the payload of `segment` to the frame: one piece of the ring, or two where it wraps. */
export function addPayload(output: FrameOutput, ring: SendRing, segment: SegmentOut): void {
  const { payloadLength, payloadOffset } = segment;
  if (payloadLength === 0) return;
  const first = Math.min(payloadLength, ring.contiguous(payloadOffset));
  output.payload(ring.region, ring.offset(payloadOffset), first);
  if (first < payloadLength) output.payload(ring.region, 0, payloadLength - first);
}
