import { describe, expect, it } from 'vitest';
import { seeded } from './virtual.testutil.js';
import { type Script, USUAL, type Seg } from './script.testutil.js';
import { TCP_STATES } from './state.js';
import { into, WINDOW } from './states.testutil.js';
import type { TcpState } from './types.js';

/** A segment near what would be right, or nowhere near it. */
function randomSegment(random: () => number, s: Script): Seg {
  const { rcv, snd } = s.connection;
  const pick = (n: number): number => Math.floor(random() * n);
  const near = (at: number, spread: number): number => at + pick(2 * spread + 1) - spread;
  const wild = random() < 0.1;
  const nxt = (rcv.nxt - rcv.irs) | 0;
  const una = (snd.una - snd.iss) | 0;
  const roll = random();
  return {
    seq: wild ? pick(2 ** 32) : roll < 0.4 ? nxt : near(nxt, roll < 0.8 ? 200 : WINDOW),
    ...(random() < 0.9 && {
      ack: wild ? pick(2 ** 32) : near(una + (random() < 0.5 ? snd.flight : 0), random() < 0.6 ? 0 : 6000),
    }),
    len: random() < 0.5 ? 0 : pick(random() < 0.5 ? 4 : 3000),
    win: random() < 0.2 ? 0 : pick(65536),
    ...(random() < 0.03 && { syn: true }),
    ...(random() < 0.05 && { fin: true }),
    ...(random() < 0.02 && { rst: true }),
    ...(random() < 0.05 && { urg: true }),
    ...(random() < 0.6 && { ts: [near(100 + Math.floor(s.now), 50), pick(2 ** 32)] as const }),
    ...(random() < 0.3 && {
      sack: Array.from({ length: 1 + pick(2) }, () => {
        const from = near(una, 6000);
        return [from, from + pick(4000) - 100] as const;
      }),
    }),
    ...(random() < 0.02 && { mss: pick(65536), scale: pick(20), sackPermitted: true }),
  };
}

function play(state: TcpState, seed: number): void {
  const random = seeded(seed);
  const s = into[state](random() < 0.5 ? { mss: 1000 } : { ...USUAL, mss: 1000 });
  expect(s.connection.state).toBe(state);
  for (let i = 0; i < 150; i++) {
    const roll = random();
    if (roll < 0.75)
      s.receives(...Array.from({ length: 1 + Math.floor(random() * 3) }, () => randomSegment(random, s)));
    else if (roll < 0.85) s.after(random() < 0.1 ? 20_000 * random() : 100 * random());
    else if (roll < 0.92) s.reads(Math.min(s.connection.received.bytes, Math.floor(random() * 5000)));
    else if (
      roll < 0.97 &&
      s.connection.ring.room > 1000 &&
      s.connection.state === 'ESTABLISHED' &&
      !s.connection.closeWanted
    )
      s.writes(Math.floor(random() * 1000));
    else if (roll < 0.98) s.closes();
    else if (roll > 0.995) s.discards();
    s.skips();
    const { connection } = s;
    expect(connection.received.bytes + connection.rcv.assembler.bytes).toBeLessThanOrEqual(2 * WINDOW);
    if (s.end === undefined && !connection.state.startsWith('SYN')) {
      expect(connection.snd.flight).toBeLessThanOrEqual(connection.ring.bytes + 1);
      expect(connection.info().cwnd).toBeGreaterThan(0);
    }
    // Landing blocks that slices stay in, copies of the small ones, never more.
    expect(s.pool.bytesOut).toBeLessThanOrEqual(20 * 256 * 1024);
  }
  s.aborts();
  expect(s.pool.bytesOut).toBe(0);
  expect(s.deadline).toBe(Number.POSITIVE_INFINITY);
}

describe('random segments in every state', () => {
  for (const state of TCP_STATES)
    it(`${state}: nothing is thrown, memory is bounded and all given back`, () => {
      for (let seed = 0; seed < 25; seed++) play(state, seed);
    });
});
