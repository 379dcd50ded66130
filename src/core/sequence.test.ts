import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seq, seqAdd, seqDiff, seqGe, seqGt, seqLe, seqLt, seqMax, seqMin } from './sequence.js';

describe('sequence numbers (RFC 9293 section 3.4)', () => {
  it('wrap at 2^32', () => {
    expect(seq(0xffffffff)).toBe(-1);
    expect(seqAdd(seq(0xffffffff), 1)).toBe(0);
    expect(seqAdd(seq(0), -1)).toBe(-1);
    expect(seqDiff(seq(5), seq(0xfffffffb))).toBe(10);
    expect(seqDiff(seq(0xfffffffb), seq(5))).toBe(-10);
    expect(seqLt(seq(0xffffffff), seq(0))).toBe(true);
  });

  it('order those less than 2^31 apart', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 0xffffffff }),
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        (start, distance) => {
          const a = seq(start);
          const b = seqAdd(a, distance);
          expect([seqLt(a, b), seqLe(a, b), seqGt(a, b), seqGe(a, b)]).toEqual([true, true, false, false]);
          expect([seqLt(b, a), seqLe(a, a), seqGt(b, a), seqGe(a, a)]).toEqual([false, true, true, true]);
          expect(seqDiff(b, a)).toBe(distance);
          expect([seqMax(a, b), seqMin(a, b), seqMax(b, a), seqMin(b, a)]).toEqual([b, a, b, a]);
        },
      ),
    );
  });
});
