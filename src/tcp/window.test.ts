/** The window beyond RFC 9293: it follows the consumer, and memory budgets hold it back. */
import { describe, expect, it } from 'vitest';
import { Budget } from '../core/index.js';
import { FAST_DRAIN, LEAST_TUNED, RECEIVE_FLOOR, SLOW_DRAIN } from './receive.js';
import { established, USUAL } from './script.testutil.js';

const KIB = 1024;

/** A connection whose window begins at 256 KiB. */
const tuned = () => established({ receiveStart: 256 * KIB, mss: 60_000 }, { ...USUAL, mss: 60_000 });

/** The peer sends `total` bytes and the application takes them at once, all within `span` ms. */
function transfer(s: ReturnType<typeof tuned>, from: number, total: number, span: number): number {
  const steps = Math.ceil(total / 50_000);
  let at = from;
  for (let i = 0; i < steps; i++) {
    s.receives({ seq: at, ack: 1, len: 50_000 }).reads();
    s.after(span / steps).skips();
    at += 50_000;
  }
  return at;
}

describe('a window that tunes itself', () => {
  it('begins small, and grows to the cap while the consumer is fast', () => {
    const s = tuned();
    expect(s.connection.windowLimit).toBe(256 * KIB);
    let at = transfer(s, 1, 300 * KIB, FAST_DRAIN / 2);
    expect(s.connection.windowLimit).toBe(512 * KIB);
    at = transfer(s, at, 600 * KIB, FAST_DRAIN / 2);
    expect(s.connection.windowLimit).toBe(1024 * KIB);
    transfer(s, at, 4096 * KIB, FAST_DRAIN);
    expect(s.connection.windowLimit).toBe(1024 * KIB);
  });

  it('shrinks while the consumer is slow, and no edge moves back', () => {
    const s = tuned();
    let at = 1;
    let edge = 0;
    for (let i = 0; i < 200; i++) {
      s.receives({ seq: at, ack: 1, len: 20_000 }).reads();
      at += 20_000;
      s.after(SLOW_DRAIN / 4);
      for (const { ack, win } of s.sent()) {
        expect(ack! + (win! << 5)).toBeGreaterThanOrEqual(edge);
        edge = ack! + (win! << 5);
      }
    }
    expect(s.connection.windowLimit).toBe(LEAST_TUNED);
  });

  it('stays as it is in between, and within what the owner allows', () => {
    const s = tuned();
    const at = transfer(s, 1, 300 * KIB, (FAST_DRAIN + SLOW_DRAIN) / 2);
    expect(s.connection.windowLimit).toBe(256 * KIB);
    s.connection.windowLimit = 20_000;
    expect(s.connection.windowLimit).toBe(20_000);
    s.connection.windowLimit = Number.POSITIVE_INFINITY;
    transfer(s, at, 700 * KIB, FAST_DRAIN / 2);
    expect(s.connection.windowLimit).toBe(512 * KIB);
  });
});

describe('a memory budget', () => {
  it('takes no more when it is used up but a floor, and what was not taken is sent again', () => {
    const budget = new Budget(100_000);
    const s = established({ budget, mss: 10_000 }, { mss: 10_000 });
    const other = established({ budget, mss: 10_000 }, { mss: 10_000 });
    for (let i = 0; i < 6; i++) s.receives({ seq: 1 + i * 10_000, ack: 1, len: 10_000 });
    for (let i = 0; i < 4; i++) other.receives({ seq: 1 + i * 10_000, ack: 1, len: 10_000 });
    expect([budget.used, budget.full]).toEqual([100_000, true]);
    s.skips()
      .receives({ seq: 60_001, ack: 1, len: 1 })
      .sends([{ ack: 60_001 }]);
    expect([s.counters.droppedMemory, budget.used]).toEqual([1, 100_000]);
    // Before its turn: neither.
    s.receives({ seq: 60_101, ack: 1, len: 100 });
    expect([s.counters.droppedMemory, s.connection.rcv.assembler.bytes]).toEqual([2, 0]);
    s.skips();
    // A third one may have its floor, and no byte more.
    const third = established({ budget, mss: 10_000 }, { mss: 10_000 });
    for (let i = 0; i < 3; i++) third.receives({ seq: 1 + i * 10_000, ack: 1, len: 10_000 });
    expect(third.connection.received.bytes).toBe(RECEIVE_FLOOR);
    expect(third.sent().at(-1)!.ack).toBe(1 + RECEIVE_FLOOR);
    expect(budget.refused).toBeGreaterThan(0);
    other.reads();
    expect(budget.full).toBe(false);
    s.receives({ seq: 60_001, ack: 1, len: 10_000 });
    expect(s.connection.received.bytes).toBe(70_000);
  });

  it('counts what waits out of order, and gives everything back at the end', () => {
    const budget = new Budget(1_000_000);
    const s = established({ budget, mss: 10_000 }, { mss: 10_000 });
    s.receives({ seq: 10_001, ack: 1, len: 10_000 }).writes('x'.repeat(20_000));
    expect(budget.used).toBe(10_000 + 32 * KIB);
    s.receives({ seq: 1, ack: 1, len: 10_000 });
    expect(budget.used).toBe(20_000 + 32 * KIB);
    s.connection.abort(s.now);
    expect(budget.used).toBe(0);
  });
});
