import { describe, expect, it } from 'vitest';
import { plainMemory, seq, SendRing, type FrameOutput } from '../../core/index.js';
import { ACK, parseHeader, PSH, type SegmentOut, URG } from '../index.js';
import { addPayload, writeSegment } from './segment.js';

function segment(over: Partial<SegmentOut> = {}): SegmentOut {
  return {
    seq: seq(0xffff_fff0),
    ack: seq(77),
    flags: ACK | PSH | URG,
    window: 65_535,
    urgent: 9,
    options: Uint8Array.from([1, 1, 4, 2]),
    optionsLength: 4,
    payloadOffset: 0,
    payloadLength: 0,
    gsoSize: 0,
    ecn: 0,
    ...over,
  };
}

describe('a segment that leaves', () => {
  it('its header is what a reader finds, whatever stood there before', () => {
    const bytes = new Uint8Array(64).fill(0xa5);
    const view = new DataView(bytes.buffer);
    writeSegment(view, bytes, 8, segment(), 1234, 65_535);
    expect(parseHeader(view, 8, 24)).toEqual({
      sourcePort: 1234,
      destinationPort: 65_535,
      seq: seq(0xffff_fff0),
      ack: seq(77),
      flags: ACK | PSH | URG,
      window: 65_535,
      checksum: 0,
      urgent: 9,
      options: { sackPermitted: true },
    });
    expect([bytes[7], bytes[32]]).toEqual([0xa5, 0xa5]);
  });

  it('its payload is one piece of the ring, two where that wraps, none where there is none', () => {
    const ring = new SendRing(plainMemory, 16 * 1024);
    const size = 16 * 1024;
    ring.write(new Uint8Array(size));
    ring.release(size - 10);
    ring.write(new Uint8Array(100));
    const pieces: number[] = [];
    const output = { payload: (_region, _at, length) => pieces.push(length) } as Partial<FrameOutput>;
    const add = (payloadOffset: number, payloadLength: number): number[] => {
      pieces.length = 0;
      addPayload(output as FrameOutput, ring, segment({ payloadOffset, payloadLength }));
      return [...pieces];
    };
    expect(add(ring.start, 0)).toEqual([]);
    expect(add(ring.start, 10)).toEqual([10]);
    expect(add(ring.start, 30)).toEqual([10, 20]);
    expect(add((ring.start + 10) | 0, 30)).toEqual([30]);
  });
});
