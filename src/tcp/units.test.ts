import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockPool, plainMemory, seq, seqAdd, SliceQueue } from '../core/index.js';
import { Assembler, MAX_PIECES, MAX_RANGES } from './assembler.js';
import { NewReno } from './congestion/newreno.js';
import { MAX_RTO, RttEstimator } from './rtt.js';
import { MAX_SACKED, Scoreboard } from './scoreboard.js';

const base = 0xffff_fc00;
const span = 4000;

describe('Assembler', () => {
  const bytes = Uint8Array.from({ length: span + 1 }, (_, i) => (i * 31 + (i >> 8) * 7) & 255);
  const spans = fc.array(fc.tuple(fc.nat(span - 1), fc.integer({ min: 1, max: 900 })), { maxLength: 60 });

  it('holds exactly what a byte map holds, and gives it in order', () => {
    fc.assert(
      fc.property(spans, fc.boolean(), (list, low) => {
        const pool = new BlockPool(plainMemory, 64 * 1024, low ? 1 : 16);
        const assembler = new Assembler(pool);
        const map = new Uint8Array(span);
        for (const [start, n] of list) {
          const length = Math.min(n, span - start);
          const block = pool.take();
          block.region.bytes.set(bytes.subarray(start, start + length), 100);
          let news = 0;
          for (let i = start; i < start + length; i++) if (map[i] === 0) news++;
          map.fill(1, start, start + length);
          expect(assembler.add(seq(base + start), block, 100, length)).toBe(news);
          block.release();
        }
        let ranges = 0;
        for (let i = 0; i < span; i++) if (map[i] === 1 && (i === 0 || map[i - 1] === 0)) ranges++;
        expect(assembler.ranges).toBe(ranges);
        expect(assembler.bytes).toBe(map.reduce((a, b) => a + b, 0));
        // Fill each gap in turn, as in-order text does, reaching into what is kept.
        const queue = new SliceQueue(pool);
        let nxt = 0;
        while (nxt < span) {
          let gap = 0;
          while (nxt + gap < span && map[nxt + gap] === 0) gap++;
          const reach = Math.min(gap + (nxt % 3) * 100, span - nxt);
          queue.copy(bytes, nxt, reach);
          nxt += reach;
          nxt += assembler.drain(seq(base + nxt), queue);
        }
        expect(assembler.bytes).toBe(0);
        expect(assembler.pieces).toBe(0);
        let at = 0;
        for (let i = 0; i < queue.count; i++) {
          const view = queue.viewAt(i);
          expect(Buffer.compare(view, bytes.subarray(at, at + view.length))).toBe(0);
          at += view.length;
        }
        expect(at).toBe(span);
        queue.clear();
        assembler.clear();
        expect(pool.bytesOut).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it('has a limit of ranges and one of pieces', () => {
    const pool = new BlockPool(plainMemory);
    const assembler = new Assembler(pool);
    const block = pool.take();
    for (let i = 0; i < MAX_RANGES; i++) expect(assembler.add(seq(i * 10), block, 0, 1)).toBe(1);
    expect(assembler.add(seq(MAX_RANGES * 10), block, 0, 1)).toBe(0);
    // What joins a range is still taken.
    expect(assembler.add(seq(1), block, 0, 1)).toBe(1);
    assembler.clear();
    for (let i = 0; i < MAX_PIECES; i++) expect(assembler.add(seq(i * 600), block, 0, 600)).toBe(600);
    expect(assembler.add(seq(MAX_PIECES * 600), block, 0, 600)).toBe(0);
    assembler.clear();
    block.release();
    expect(pool.bytesOut).toBe(0);
  });

  it('tiny pieces do not pin the blocks they came in', () => {
    const pool = new BlockPool(plainMemory);
    const assembler = new Assembler(pool);
    for (let i = 0; i < 200; i++) {
      const block = pool.take();
      assembler.add(seq(i * 10), block, 0, 2);
      block.release();
    }
    expect(pool.bytesOut).toBeLessThanOrEqual(16 * 1024);
    assembler.clear();
    expect(pool.bytesOut).toBe(0);
  });

  it('copies that are mostly dead are copied together again', () => {
    const pool = new BlockPool(plainMemory);
    const assembler = new Assembler(pool);
    const queue = new SliceQueue(pool);
    const block = pool.take();
    let nxt = 0;
    let far = 1 << 24;
    // Each round fills a gather block, leaves one byte of it far away, and drains the rest.
    for (let round = 0; round < 200; round++) {
      assembler.add(seq((far += 10)), block, 0, 1);
      for (let i = 0; i < 32; i++) assembler.add(seq(nxt + 1 + i * 511), block, 0, 511);
      nxt += 1;
      nxt += assembler.drain(seq(nxt), queue);
      queue.clear();
    }
    expect(assembler.bytes).toBe(200);
    expect(pool.bytesOut - pool.blockSize).toBeLessThan(16 * 16 * 1024);
    assembler.clear();
    block.release();
    expect(pool.bytesOut).toBe(0);
  });
});

describe('Scoreboard', () => {
  it('agrees with a byte map', () => {
    const step = fc.oneof(
      fc.record({ add: fc.tuple(fc.nat(span - 1), fc.integer({ min: 1, max: 500 })) }),
      fc.record({ advance: fc.nat(span) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(span), fc.nat(span), (steps, a, b) => {
        const board = new Scoreboard();
        const map = new Uint8Array(span + 1);
        let una = 0;
        for (const s of steps) {
          if ('add' in s) {
            const from = Math.max(s.add[0], una);
            const to = Math.min(from + s.add[1], span);
            if (from >= to) continue;
            let news = 0;
            for (let i = from; i < to; i++) if (map[i] === 0) news++;
            map.fill(1, from, to);
            expect(board.add(seq(base + from), seq(base + to))).toBe(news);
          } else if (s.advance > una) {
            una = s.advance;
            map.fill(0, 0, una);
            board.advance(seq(base + una));
          }
        }
        expect(board.bytes).toBe(map.reduce((x, y) => x + y, 0));
        const [from, to] = a < b ? [a, b] : [b, a];
        let between = 0;
        for (let i = from; i < to; i++) between += map[i]!;
        expect(board.between(seq(base + from), seq(base + to))).toBe(between);
        let end = from;
        while (map[end] === 1) end++;
        expect(board.endOf(seq(base + from))).toBe(seq(base + end));
        let next = from + 1;
        while (next < to && !(map[next] === 1 && map[next - 1] === 0)) next++;
        if (from < to) expect(board.nextStart(seq(base + from), seq(base + to))).toBe(seq(base + next));
      }),
      { numRuns: 500 },
    );
  });

  it('has a limit', () => {
    const board = new Scoreboard();
    for (let i = 0; i < MAX_SACKED; i++) expect(board.add(seq(i * 10), seq(i * 10 + 1))).toBe(1);
    expect(board.add(seq(MAX_SACKED * 10), seq(MAX_SACKED * 10 + 1))).toBe(0);
    expect(board.ranges).toBe(MAX_SACKED);
    expect(board.add(seq(0), seq(100))).toBe(90);
  });

  it('IsLost: three ranges above, or more than two segments (RFC 6675 section 4)', () => {
    const at = (n: number) => seqAdd(seq(base), n);
    const board = new Scoreboard();
    expect(board.lostBelow(100, at(0))).toBe(at(0));
    board.add(at(100), at(300));
    expect(board.lostBelow(100, at(0))).toBe(at(0));
    board.add(at(300), at(301));
    expect(board.lostBelow(100, at(0))).toBe(at(100));
    board.clear();
    for (const n of [100, 200, 300]) board.add(at(n), at(n + 10));
    expect(board.lostBelow(100, at(0))).toBe(at(100));
  });
});

describe('RttEstimator (RFC 6298)', () => {
  it('section 2.2 and 2.3', () => {
    const rtt = new RttEstimator();
    expect(rtt.timeout()).toBe(1000);
    rtt.sample(400);
    expect([rtt.srtt, rtt.rttvar, rtt.timeout()]).toEqual([400, 200, 1200]);
    rtt.sample(800);
    expect([rtt.srtt, rtt.rttvar, rtt.timeout()]).toEqual([450, 250, 1450]);
  });

  it('has a floor and a ceiling, and backs off until a sample', () => {
    const rtt = new RttEstimator();
    rtt.sample(0.05);
    expect(rtt.timeout()).toBe(200);
    rtt.expired();
    rtt.expired();
    expect(rtt.timeout()).toBe(800);
    rtt.progressed();
    expect(rtt.timeout()).toBe(400);
    for (let i = 0; i < 100; i++) rtt.expired();
    expect(rtt.timeout()).toBe(MAX_RTO);
    rtt.sample(10);
    expect(rtt.timeout()).toBe(200);
    rtt.sample(1e9);
    expect(rtt.timeout()).toBe(MAX_RTO);
  });
});

describe('NewReno (RFC 5681)', () => {
  it('the initial window (RFC 6928 section 2)', () => {
    for (const [mss, window] of [
      [500, 5000],
      [1460, 14_600],
      [2000, 14_600],
      [9000, 18_000],
    ] as const) {
      const control = new NewReno();
      control.start(mss);
      expect(control.cwnd).toBe(window);
    }
  });

  it('congestion avoidance: a segment a round trip', () => {
    const control = new NewReno();
    control.start(1000);
    control.loss(20_000, 0);
    expect(control.cwnd).toBe(10_000);
    for (let i = 0; i < 10; i++) control.acked(1000, 10_000, 0);
    expect(control.cwnd).toBe(11_000);
  });

  it('slow start ends at ssthresh', () => {
    const control = new NewReno();
    control.start(1000);
    control.timeout(20_000, false, 0);
    expect([control.cwnd, control.ssthresh]).toEqual([1000, 10_000]);
    control.timeout(1000, true, 0);
    expect(control.ssthresh).toBe(10_000);
    control.acked(50_000, 50_000, 0);
    expect(control.cwnd).toBe(10_000);
  });

  it('a window that is not used does not grow', () => {
    const control = new NewReno();
    control.start(1000);
    control.acked(1000, 1000, 0);
    expect(control.cwnd).toBe(10_000);
  });
});
