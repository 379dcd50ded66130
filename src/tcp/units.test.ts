import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockPool, plainMemory, seq, SliceQueue } from '../core/index.js';
import { Assembler, MAX_PIECES, MAX_RANGES } from './assembler.js';
import { MAX_RTO, RttEstimator } from './rtt.js';
import { HELD, LOST, MAX_RUNS, OUT, SentQueue, type Run } from './sent.js';

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

describe('SentQueue', () => {
  const nobody = { arrived: () => undefined };
  const at = (n: number) => seq(base + n);

  /** What every byte is: where, when, how; and what the queue's sums say. */
  function expectMap(sent: SentQueue, map: readonly (string | undefined)[], una: number, nxt: number): void {
    let place = una;
    let count = 0;
    const sums = { held: 0, heldRanges: 0, lost: 0 };
    let first: Run | undefined;
    for (let run = sent.head; run !== undefined; run = run.next) {
      expect(run.start).toBe(at(place));
      expect(run.length).toBeGreaterThan(0);
      for (let i = 0; i < run.length; i++)
        expect(`${run.state} ${run.again} ${run.state === HELD ? '' : run.sentAt}`).toBe(map[place + i]);
      place += run.length;
      count++;
      if (run.state === HELD) {
        sums.held += run.length;
        sums.heldRanges++;
      } else if (run.state === LOST) {
        sums.lost += run.length;
        first ??= run;
      }
      if (run.next === undefined) expect(sent.tail).toBe(run);
      else expect(run.next.previous).toBe(run);
    }
    expect(place).toBe(nxt);
    expect({ held: sent.held, heldRanges: sent.heldRanges, lost: sent.lost, runs: sent.runs }).toEqual({
      ...sums,
      runs: count,
    });
    expect(sent.firstLost).toBe(first);
  }

  it('agrees with a byte map', () => {
    const step = fc.oneof(
      fc.record({ send: fc.integer({ min: 1, max: 300 }), later: fc.nat(1) }),
      fc.record({ hold: fc.tuple(fc.nat(span), fc.integer({ min: 1, max: 200 })) }),
      fc.record({ release: fc.nat(200) }),
      fc.record({ loseFirst: fc.integer({ min: 1, max: 50 }) }),
      fc.record({ loseRun: fc.nat(5) }),
      fc.record({ resend: fc.integer({ min: 1, max: 50 }), later: fc.nat(1) }),
      fc.record({ all: fc.constantFrom('lose', 'renege') }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const sent = new SentQueue();
        const map: (string | undefined)[] = [];
        let now = 0;
        let una = 0;
        let nxt = 0;
        const of = (i: number): [number, boolean, number] => {
          const [state, again, when] = map[i]!.split(' ');
          return [Number(state), again === 'true', Number(when)];
        };
        for (const s of steps) {
          if ('send' in s) {
            now += s.later;
            sent.append(at(nxt), at(nxt + s.send), now);
            for (let i = 0; i < s.send; i++) map[nxt++] = `${OUT} false ${now}`;
          } else if ('hold' in s) {
            const from = Math.max(s.hold[0], una);
            const to = Math.min(from + s.hold[1], nxt);
            if (from >= to) continue;
            let news = 0;
            for (let i = from; i < to; i++) {
              if (of(i)[0] !== HELD) news++;
              map[i] = `${HELD}`;
            }
            expect(sent.hold(at(from), at(to), nobody)).toBe(news);
          } else if ('release' in s) {
            una = Math.min(una + s.release, nxt);
            sent.release(at(una), nobody);
          } else if ('loseFirst' in s) {
            sent.loseFirst(s.loseFirst);
            const first = una < nxt && of(una);
            for (
              let i = una;
              i < Math.min(una + s.loseFirst, nxt) && first !== false && first[0] === OUT;
              i++
            ) {
              if (map[i] !== `${OUT} ${first[1]} ${first[2]}`) break;
              map[i] = `${LOST} ${first[1]} ${first[2]}`;
            }
          } else if ('loseRun' in s) {
            let run = sent.head;
            for (let i = 0; i < s.loseRun && run !== undefined; i++) run = run.next;
            if (run?.state !== OUT) continue;
            const from = run.start - at(0);
            for (let i = 0; i < run.length; i++) map[from + i] = `${LOST} ${run.again} ${run.sentAt}`;
            sent.lose(run);
          } else if ('resend' in s) {
            const run = sent.firstLost;
            if (run === undefined) continue;
            now += s.later;
            const n = Math.min(s.resend, run.length);
            const from = run.start - at(0);
            sent.resend(run, run.start, n, now);
            for (let i = 0; i < n; i++) map[from + i] = `${OUT} true ${now}`;
          } else if (s.all === 'lose') {
            for (let i = una; i < nxt; i++) if (of(i)[0] === OUT) map[i] = `${LOST} ${of(i)[1]} ${of(i)[2]}`;
            sent.loseAll();
          } else {
            // What was held has forgotten when it left.
            for (let run = sent.head; run !== undefined; run = run.next)
              for (let i = 0; i < run.length && run.state === HELD; i++)
                map[run.start - at(0) + i] = `${LOST} ${run.again} ${run.sentAt}`;
            sent.renege();
          }
          // Which of two transmissions a held range remembers is not told.
          for (let run = sent.head; run !== undefined; run = run.next)
            for (let i = 0; i < run.length && run.state === HELD; i++)
              map[run.start - at(0) + i] = `${HELD} ${run.again} `;
          expectMap(sent, map, una, nxt);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('a burst is one run, and so is what is sent again in one', () => {
    const sent = new SentQueue();
    for (let i = 0; i < 100; i++) sent.append(at(i * 10), at(i * 10 + 10), 5);
    expect(sent.runs).toBe(1);
    sent.append(at(1000), at(1010), 6);
    expect(sent.runs).toBe(2);
    sent.loseAll();
    for (let i = 0; i < 50; i++) sent.resend(sent.firstLost!, sent.firstLost!.start, 10, 7);
    expect(sent.runs).toBe(3);
  });

  it('has a limit', () => {
    const sent = new SentQueue();
    for (let i = 0; i < 3 * MAX_RUNS; i++) sent.append(at(i * 10), at(i * 10 + 10), i);
    expect(sent.runs).toBe(MAX_RUNS);
    // No more cuts, but whole runs are still taken.
    expect(sent.hold(at(3), at(5), nobody)).toBe(0);
    expect(sent.hold(at(10), at(20), nobody)).toBe(10);
    sent.loseAll();
    for (let i = 0; sent.lost > 0; i++) sent.resend(sent.firstLost!, sent.firstLost!.start, 10, 1e6 + i);
    expect(sent.runs).toBeLessThanOrEqual(MAX_RUNS + 1);
    sent.release(at(30 * MAX_RUNS), nobody);
    expect(sent).toMatchObject({
      held: 0,
      heldRanges: 0,
      lost: 0,
      runs: 0,
      head: undefined,
      tail: undefined,
    });
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
