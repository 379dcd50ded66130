import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Block, BlockPool, plainMemory, seq, type Seq } from '../../core/index.js';
import type { SegmentIn } from '../types.js';
import { emitHeader, emittedLength, parseHeader, readSegment, type TcpHeader } from './header.js';
import {
  emitOptions,
  MAX_OPTIONS,
  OptionsIn,
  optionsLength,
  parseOptions,
  writeTimestamps,
} from './options.js';

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const sequence = u32.map((n) => seq(n));
const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined });
const options = fc
  .record({
    mss: optional(fc.integer({ min: 1, max: 65535 })),
    scale: optional(fc.integer({ min: 0, max: 14 })),
    sackPermitted: optional(fc.constant(true)),
    timestamps: optional(fc.record({ value: u32, echo: u32 })),
    sack: optional(fc.array(fc.record({ start: sequence, end: sequence }), { minLength: 1, maxLength: 2 })),
  })
  .map((o) => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)))
  .filter((o) => optionsLength(o) <= MAX_OPTIONS);
const header = fc.record({
  sourcePort: u16,
  destinationPort: u16,
  seq: sequence,
  ack: sequence,
  flags: fc.integer({ min: 0, max: 255 }),
  window: u16,
  checksum: u16,
  urgent: u16,
  options,
});

/** A SYN of Linux: MSS 1460, SACK permitted, timestamps, window scale 7. */
const LINUX_SYN =
  'a0b40050' +
  '12345678' +
  '00000000' +
  'a002faf0' +
  '00000000' +
  '020405b4' +
  '0402080a' +
  '01020304' +
  '00000000' +
  '01030307';

describe('the TCP header', () => {
  it('deconstructs and constructs a SYN of Linux', () => {
    const packet = Buffer.from(LINUX_SYN, 'hex');
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
    const parsed = parseHeader(view, 0, packet.length)!;
    expect(parsed).toEqual({
      sourcePort: 0xa0b4,
      destinationPort: 80,
      seq: 0x12345678,
      ack: 0,
      flags: 2,
      window: 64240,
      checksum: 0,
      urgent: 0,
      options: { mss: 1460, sackPermitted: true, timestamps: { value: 0x01020304, echo: 0 }, scale: 7 },
    });
    const bytes = new Uint8Array(60).fill(0xa5);
    expect(emitHeader(parsed, bytes, new DataView(bytes.buffer), 5)).toBe(40);
    expect(Buffer.from(bytes.subarray(5, 45)).toString('hex')).toBe(LINUX_SYN);
    expect(bytes[45]).toBe(0xa5);
  });

  it('round trips', () => {
    fc.assert(
      fc.property(header, (h: TcpHeader) => {
        const bytes = new Uint8Array(70).fill(0xa5);
        const view = new DataView(bytes.buffer);
        const length = emitHeader(h, bytes, view, 3);
        expect(length).toBe(emittedLength(h));
        expect(parseHeader(view, 3, length)).toEqual(h);
        for (let n = 0; n < length; n++) expect(parseHeader(view, 3, n)).toBeUndefined();
      }),
    );
  });

  it('a data offset that lies is no header', () => {
    const pool = new BlockPool(plainMemory);
    const block = new Block(plainMemory.allocate(100), pool);
    const segment = {} as SegmentIn;
    for (let offset = 0; offset < 16; offset++) {
      block.region.view.setUint8(12, offset << 4);
      for (let length = 0; length <= 64; length++) {
        const good = offset >= 5 && offset * 4 <= length;
        expect(readSegment(segment, block, 0, length, 0)).toBe(good);
        expect(parseHeader(block.region.view, 0, length) !== undefined).toBe(good);
        if (good) expect([segment.data, segment.length]).toEqual([offset * 4, length - offset * 4]);
      }
    }
  });
});

describe('options', () => {
  it('never read past the end, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const exact = new Uint8Array(bytes);
        const found = new OptionsIn();
        found.parse(new DataView(exact.buffer), 0, exact.length);
        expect(found.scale).toBeLessThanOrEqual(14);
        expect(found.sackCount).toBeLessThanOrEqual(4);
      }),
      { numRuns: 2000 },
    );
  });

  it('every truncation keeps what is whole', () => {
    const bytes = new Uint8Array(40);
    const length = emitOptions(
      { mss: 1460, sackPermitted: true, timestamps: { value: 1, echo: 2 }, scale: 7 },
      bytes,
      0,
    );
    const view = new DataView(bytes.buffer);
    for (let n = 0; n <= length; n++) {
      const parsed = parseOptions(view, 0, n);
      expect(parsed.mss).toBe(n >= 4 ? 1460 : undefined);
      expect(parsed.timestamps !== undefined).toBe(n >= 16);
      expect(parsed.scale).toBe(n >= 20 ? 7 : undefined);
    }
  });

  it('the usual timestamps layout', () => {
    const bytes = new Uint8Array(12);
    expect(writeTimestamps(bytes, 0, 0xdeadbeef, 0x80000001)).toBe(12);
    expect(Buffer.from(bytes).toString('hex')).toBe('0101080adeadbeef80000001');
    const same = new Uint8Array(12);
    emitOptions({ timestamps: { value: 0xdeadbeef, echo: 0x80000001 } }, same, 0);
    expect(same).toEqual(bytes);
    expect(0 as Seq).toBe(0);
  });

  it('stops at END, skips what it does not know', () => {
    const view = new DataView(Uint8Array.of(254, 4, 1, 2, 2, 4, 5, 180, 0, 3, 3, 7).buffer);
    expect(parseOptions(view, 0, 12)).toEqual({ mss: 1460 });
  });
});
