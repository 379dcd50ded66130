import { describe, expect, it } from 'vitest';
import { QUICK_ACKS } from './receive.js';
import type { Script } from './script.testutil.js';
import { established, USUAL, type Seg } from './script.testutil.js';

/** A connection past its quick acknowledgments. */
function settled(syn: Seg = { mss: 1000 }): Script {
  const s = established({ mss: 1000 }, syn);
  for (let i = 0; i < 20; i++)
    s.receives({ seq: 1 + i * 1000, ack: 1, len: 1000, ...(syn.ts && { ts: [200, 0] as const }) });
  s.reads().after(100).skips().told.length = 0;
  return s;
}
const next = 20_001;

describe('acknowledgments', () => {
  it('the first segments are acknowledged at once', () => {
    const s = established();
    for (let i = 0; i < 10; i++) s.receives({ seq: 1 + i, ack: 1, len: 1 }).sends([{ ack: 2 + i }]);
  });

  it('"a delayed ACK": one small segment waits 40 ms', () => {
    settled()
      .receives({ seq: next, ack: 1, len: 10 })
      .sendsNothing()
      .after(39)
      .sendsNothing()
      .after(1)
      .sends([{ ack: next + 10 }]);
  });

  it('"an ACK SHOULD be generated for at least every second full-sized segment"', () => {
    const s = settled().receives({ seq: next, ack: 1, len: 1000 }).sendsNothing();
    s.receives({ seq: next + 1000, ack: 1, len: 1000 }).sends([{ ack: next + 2000 }]);
  });

  it('a batch in order is acknowledged once', () => {
    const s = settled();
    s.receives(...Array.from({ length: 12 }, (_, i) => ({ seq: next + i * 1000, ack: 1, len: 1000 }))).sends([
      { ack: next + 12_000 },
    ]);
  });

  it('data takes the acknowledgment along', () => {
    const s = settled()
      .receives({ seq: next, ack: 1, len: 10 })
      .writes('x')
      .sends([{ ack: next + 10, data: 'x' }]);
    s.receives({ seq: next + 10, ack: 2 })
      .after(1000)
      .sendsNothing();
  });

  it('each segment before its turn: one duplicate ACK at once; filling the gap: at once (RFC 5681 section 4.2)', () => {
    const s = settled();
    s.receives({ seq: next + 1000, ack: 1, len: 1000 }, { seq: next + 2000, ack: 1, len: 1000 }).sends([
      { ack: next },
      { ack: next },
    ]);
    s.receives({ seq: next, ack: 1, len: 500 }).sends([{ ack: next + 500 }]);
    s.receives({ seq: next + 500, ack: 1, len: 500 }).sends([{ ack: next + 3000 }]);
  });

  it('after a loss the segments of a batch are acknowledged one by one, for acknowledgments are lost, too; then no more', () => {
    const s = settled()
      .receives({ seq: next + 1000, ack: 1, len: 1000 })
      .skips();
    const batch = (from: number): Seg[] =>
      Array.from({ length: 10 }, (_, i) => ({ seq: next + (from + i) * 1000, ack: 1, len: 1000 }));
    s.receives({ seq: next, ack: 1, len: 1000 }).sends([{ ack: next + 2000 }]);
    s.receives(...batch(2)).sends(batch(3).map(({ seq }) => ({ ack: seq! })));
    expect(s.receives(...batch(12)).sent()).toHaveLength(QUICK_ACKS - 11 + 1);
    s.receives(...batch(22)).sends([{ ack: next + 32_000 }]);
  });
});

describe('SACK (RFC 2018, 2883)', () => {
  const s0 = (): Script => settled({ ...USUAL, mss: 1000 });
  const seg = (from: number, len = 1000): Seg => ({ seq: next + from * 1000, ack: 1, len, ts: [300, 0] });
  const block = (a: number, b: number): readonly [number, number] => [next + a * 1000, next + b * 1000];

  it('"The first SACK block MUST specify the contiguous block of data containing the segment which triggered this ACK"', () => {
    s0()
      .receives(seg(2))
      .sends([{ ack: next, sack: [block(2, 3)] }])
      .receives(seg(6))
      .sends([{ sack: [block(6, 7), block(2, 3)] }])
      .receives(seg(4))
      .sends([{ sack: [block(4, 5), block(6, 7), block(2, 3)] }])
      .receives(seg(3))
      .sends([{ sack: [block(2, 5), block(6, 7)] }])
      .receives(seg(8), seg(10), seg(12))
      .sends([{}, {}, { sack: [block(12, 13), block(10, 11), block(8, 9)] }]);
  });

  it('a filled gap leaves no block', () => {
    s0()
      .receives(seg(1))
      .skips()
      .receives(seg(0))
      .sends([{ ack: next + 2000, sack: [] }]);
  });

  it('four blocks fit without timestamps', () => {
    const s = settled({ mss: 1000, sackPermitted: true });
    for (const i of [1, 3, 5, 7, 9]) s.receives({ seq: next + i * 1000, ack: 1, len: 1000 });
    expect(s.sent().at(-1)!.sack).toHaveLength(4);
  });

  it('D-SACK: a duplicate is reported in the first block', () => {
    s0()
      .receives({ ...seg(-1) })
      .sends([{ ack: next, sack: [block(-1, 0)] }])
      .receives(seg(2))
      .skips()
      .receives(seg(2))
      .sends([{ sack: [block(2, 3), block(2, 3)] }]);
  });

  it('D-SACK: of text that is new in part, the part that is not (RFC 2883 section 4.2)', () => {
    const half = (from: number): Seg => ({ ...seg(from), seq: next + from * 1000 + 500 });
    s0()
      .receives(seg(2))
      .skips()
      .receives(half(2))
      .sends([
        {
          sack: [
            [next + 2500, next + 3000],
            [next + 2000, next + 3500],
          ],
        },
      ])
      .receives(half(1))
      .sends([
        {
          sack: [
            [next + 2000, next + 2500],
            [next + 1500, next + 3500],
          ],
        },
      ])
      .receives(seg(5, 100))
      .skips()
      .receives(seg(4, 3000))
      .sends([{ sack: [[next + 5000, next + 5100], block(4, 7), [next + 1500, next + 3500]] }]);
  });

  it('the block before a FIN that waits holds the FIN too', () => {
    s0()
      .receives({ ...seg(2), fin: true })
      .sends([{ sack: [[next + 2000, next + 3001]] }])
      .receives(seg(0, 2000))
      .sends([{ ack: next + 3001, sack: [] }]);
  });

  it('no SACK where it was not negotiated', () => {
    settled()
      .receives({ seq: next + 1000, ack: 1, len: 10 })
      .sends([{ ack: next, sack: [] }]);
  });
});

describe('the window', () => {
  it('is what the application has not to read yet, and the right edge never moves back', () => {
    const s = established({ receiveWindow: 8000, mss: 1000 });
    s.receives({ seq: 1, ack: 1, len: 3000 }).sends([{ ack: 3001, win: 5000 }]);
    s.receives({ seq: 3001, ack: 1, len: 5000 }).sends([{ ack: 8001, win: 0 }]);
  });

  it('an update is sent when it opened by a quarter, or from shut by two segments', () => {
    const s = established({ receiveWindow: 40_000, mss: 1000 });
    for (let i = 0; i < 40; i++) s.receives({ seq: 1 + i * 1000, ack: 1, len: 1000 });
    s.skips()
      .reads(1999)
      .sendsNothing()
      .reads(1)
      .sends([{ ack: 40_001, win: 2000 }]);
    s.reads(7000)
      .sendsNothing()
      .reads(3000)
      .sends([{ win: 12_000 }]);
  });

  it('a small buffer is reopened at half of it', () => {
    const s = established({ receiveWindow: 100 }).receives({ seq: 1, ack: 1, len: 100 }).skips();
    s.reads(49)
      .sendsNothing()
      .reads(1)
      .sends([{ win: 50 }]);
  });

  it('is never shrunk by a limit, only no longer moved', () => {
    const s = established({ receiveWindow: 10_000, mss: 1000 });
    s.connection.windowLimit = 2000;
    s.receives({ seq: 1, ack: 1, len: 1000 })
      .sends([{ win: 9000 }])
      .reads()
      .sendsNothing();
    s.receives({ seq: 1001, ack: 1, len: 9000 })
      .sends([{ win: 0 }])
      .reads()
      .sends([{ win: 2000 }]);
    s.connection.windowLimit = 1e9;
    s.output();
    s.sends([{ win: 10_000 }]);
    expect(s.connection.windowLimit).toBe(10_000);
    s.connection.windowLimit = 0;
    s.receives({ seq: 10_001, ack: 1, len: 10_000 })
      .sends([{ win: 0 }])
      .reads()
      .sendsNothing();
  });

  it('scaled: 1 MiB by default, never more than the field can say', () => {
    const s = established({}, { ...USUAL, ts: [100, 0] })
      .receives({ seq: 1, ack: 1, len: 1000, ts: [101, 0] })
      .reads();
    expect(s.sent().at(-1)!.win! << 5).toBeGreaterThan(1_000_000);
    const unscaled = established().receives({ seq: 1, ack: 1, len: 2000 });
    unscaled
      .sends([{ win: 65535 }])
      .reads()
      .sendsNothing();
  });

  it('scaled: rounding moves the right edge neither back nor without bound', () => {
    const s = established({ receiveWindow: 1 << 20 }, { ...USUAL });
    let edge = 0;
    let at = 1;
    // Odd segments, nothing is read.
    for (let i = 0; i < 5000 && s.connection.rcv.window > 0; i++) {
      const len = Math.min(1 + ((i * 37) % 700), s.connection.rcv.window);
      s.receives({ seq: at, ack: 1, len, ts: [101, 0] });
      at += len;
      for (const segment of s.sent()) {
        const now = segment.ack! + segment.win! * 32;
        if (segment.win! > 0) expect(now).toBeGreaterThanOrEqual(edge);
        edge = Math.max(edge, now);
      }
    }
    expect(edge).toBeLessThanOrEqual(1 + (1 << 20) * 1.07);
  });

  it('what is kept before its turn is bounded by it', () => {
    const s = established({ receiveWindow: 5000 });
    for (let i = 1; i < 100; i++) s.receives({ seq: 1 + i * 100, ack: 1, len: 90 });
    expect(s.connection.info().outOfOrder).toBeLessThanOrEqual(5000);
  });
});
