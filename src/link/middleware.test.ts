/** Capture and faults around a memory link. */
import { describe, expect, it } from 'vitest';
import { BlockPool, plainMemory, RX_CHECKSUM_OK, RX_GSO, TX_CHECKSUM } from '../core/index.js';
import type { Clock, Link, LinkHandler, Random } from '../core/index.js';
import { withCapture } from './capture.js';
import { Collector, pause, testFrame, transmit } from './compliance.testutil.js';
import { DelayLine } from './delay-line.js';
import { FAULT_QUEUE, withFaults } from './faults.js';
import { parseFaults } from './faults-spec.js';
import type { Faults } from './faults-spec.js';
import { batchOver } from './framing.js';
import { memoryLinkPair } from './memory-link.js';

/** mulberry32. */
function seeded(seed: number): Random {
  let state = seed;
  return {
    u32: () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return (t ^ (t >>> 14)) >>> 0;
    },
  };
}

/** A clock that stands still, and what was scheduled on it. */
function virtual() {
  let now = 0;
  const timers = new Set<{ at: number; run: () => void }>();
  const clock: Clock = { now: () => now, wall: () => now };
  const schedule = (run: () => void, ms: number): (() => void) => {
    const timer = { at: now + ms, run };
    timers.add(timer);
    return () => timers.delete(timer);
  };
  const advance = (to: number): void => {
    for (;;) {
      const due = [...timers].filter(({ at }) => at <= to).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      timers.delete(due);
      now = Math.max(now, due.at);
      due.run();
    }
    now = to;
  };
  return { clock, schedule, advance, timers };
}

function rig(faults: Faults, seed = 1) {
  const pool = new BlockPool(plainMemory);
  const time = virtual();
  const jobs: (() => void)[] = [];
  const settle = (): void => {
    while (jobs.length > 0) jobs.shift()!();
  };
  const [inner, far] = memoryLinkPair(pool, pool, { schedule: (run) => jobs.push(run) });
  const link = withFaults(inner, faults, { random: seeded(seed), ...time, pool });
  const [near, other] = [new Collector(), new Collector()];
  link.start(near);
  far.start(other);
  return { pool, time, settle, link, inner, far, near, other };
}

/** Sends a thousand frames from `link`; the serials that arrived, in order. */
function run(link: Link, settle: () => void, time: ReturnType<typeof virtual>, target: Collector): number[] {
  for (let i = 0; i < 1000; i++) {
    transmit(link, testFrame(100, i));
    if (i % 10 === 9) {
      link.output.flush();
      settle();
    }
    time.advance(i);
    settle();
  }
  time.advance(10_000);
  settle();
  return target.frames_.map((frame) => frame.readUInt32BE(14));
}

describe('faults', () => {
  it.each(['out', 'in'] as const)('lose, duplicate and reorder the share they should (%s)', (direction) => {
    const { link, far, settle, time, near, other, pool } = rig({
      loss: 0.02,
      reorder: 0.02,
      duplicate: 0.01,
    });
    const out = direction === 'out';
    const got = run(out ? link : far, settle, time, out ? other : near);
    const stats = link.stats!;
    const distinct = new Set(got).size;
    expect(1000 - distinct).toBe(stats['faultLost']);
    expect(got.length - distinct).toBe(stats['faultDuplicated']);
    for (const [name, low, high] of [
      ['faultLost', 8, 40],
      ['faultDuplicated', 2, 25],
      ['faultReordered', 8, 40],
    ] as const) {
      expect(stats[name], name).toBeGreaterThanOrEqual(low);
      expect(stats[name], name).toBeLessThanOrEqual(high);
    }
    const late = got.filter((serial, i) => i > 0 && serial < got[i - 1]!).length;
    expect(late).toBeGreaterThan(0);
    expect(pool.bytesOut).toBe(0);
  });

  it('take no super-segments: each frame of the wire fares by itself', () => {
    expect(rig({ loss: 0.1 }).link.output.offloads.tsoMax).toBe(0);
  });

  it('repeat with the same seed', () => {
    const once = (seed: number): string => {
      const { link, settle, time, other } = rig({ loss: 0.1, duplicate: 0.1, jitter: 5 }, seed);
      return run(link, settle, time, other).join();
    };
    expect(once(7)).toBe(once(7));
    expect(once(7)).not.toBe(once(8));
  });

  it('delay both ways', () => {
    const { link, far, settle, time, near, other } = rig({ delay: 20 });
    transmit(link, testFrame(60, 1));
    link.output.flush();
    transmit(far, testFrame(60, 2));
    far.output.flush();
    settle();
    time.advance(19.9);
    settle();
    expect([near.frames_.length, other.frames_.length]).toEqual([0, 0]);
    time.advance(20);
    settle();
    expect([near.frames_, other.frames_]).toEqual([[testFrame(60, 2)], [testFrame(60, 1)]]);
  });

  it('keep the rate, and block the sender while much waits', () => {
    const { link, settle, time, other } = rig({ rate: 8_000_000 });
    for (let i = 0; i < 600; i++) transmit(link, testFrame(976, i));
    link.output.flush();
    expect(link.output.blocked).toBe(true);
    // 1000 bytes on the wire take 1 ms.
    time.advance(100.5);
    settle();
    expect(other.frames_).toHaveLength(100);
    time.advance(590);
    settle();
    expect(link.output.blocked).toBe(false);
    time.advance(700);
    settle();
    expect(other.frames_).toHaveLength(600);
  });

  it('bound what waits', () => {
    const { link } = rig({ delay: 1000 });
    for (let i = 0; i < 600; i++) transmit(link, testFrame(9014, i));
    const fits = Math.floor(FAULT_QUEUE / 9014);
    expect(link.stats).toMatchObject({ faultOverflow: 600 - fits });
  });

  it('turn one bit behind the addresses, and have the checksum looked at', () => {
    const { link, near, pool } = rig({ corrupt: 1 });
    const handlers: LinkHandler[] = [];
    const fake = { ...link, start: (handler: LinkHandler) => void handlers.push(handler) } as unknown as Link;
    const flags: number[] = [];
    const time = virtual();
    withFaults(
      { ...fake, kind: 'x', name: 'x', output: link.output, close: () => undefined },
      { corrupt: 1 },
      { random: seeded(3), ...time, pool },
    ).start({
      frames: (batch) => {
        flags.push(batch.meta[2]!, batch.meta[3]!);
        near.frames(batch);
      },
      writable: () => undefined,
      closed: () => undefined,
    });
    const block = pool.take();
    const batch = batchOver(block);
    block.region.bytes.set(testFrame(60, 1), 8);
    batch.add(8, 60, RX_CHECKSUM_OK | RX_GSO, 1460);
    handlers[0]!.frames(batch);
    block.release();
    expect(flags).toEqual([RX_GSO, 1460]);
    const [got] = near.frames_;
    const expected = testFrame(60, 1);
    const differing = [...got!].map((byte, i) => byte ^ expected[i]!).filter((bits) => bits !== 0);
    expect(differing).toHaveLength(1);
    expect(Math.log2(differing[0]!) % 1).toBe(0);
    expect(got!.subarray(0, 14)).toEqual(expected.subarray(0, 14));
  });

  it('end with the link and leave no timer', async () => {
    const { link, settle, time, near } = rig({ delay: 50 });
    transmit(link, testFrame(60));
    expect(time.timers.size).toBe(1);
    link.close();
    settle();
    expect(await near.ended).toBeUndefined();
    expect(time.timers.size).toBe(0);
    transmit(link, testFrame(60));
    link.output.flush();
    expect(time.timers.size).toBe(0);
  });

  it('use real timers when none are given', async () => {
    const pool = new BlockPool(plainMemory);
    const clock: Clock = { now: () => performance.now(), wall: Date.now };
    const [inner, far] = memoryLinkPair(pool);
    const link = withFaults(inner, { delay: 5 }, { random: seeded(1), clock, pool });
    const collector = new Collector();
    far.start(collector);
    link.start(new Collector());
    transmit(link, testFrame(60, 4));
    link.output.flush();
    expect(await collector.take(1)).toEqual([testFrame(60, 4)]);
    link.close();
    await pause(1);
  });
});

describe('delay line', () => {
  it('delivers by time, then by order', () => {
    const { clock, schedule, advance } = virtual();
    const got: number[] = [];
    const line = new DelayLine({ rate: 0, limit: 1e6, clock, schedule }, (frames) => {
      got.push(...frames.map(({ bytes }) => bytes[0]!));
    });
    const random = seeded(5);
    const due = Array.from({ length: 200 }, () => random.u32() % 20);
    due.forEach((ms, i) => line.add({ bytes: Uint8Array.of(i), flags: 0, gsoSize: 0 }, ms));
    advance(100);
    const expected = due.map((ms, i) => [ms, i] as const).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    expect(got).toEqual(expected.map(([, i]) => i));
    expect(line.bytes).toBe(0);
  });
});

describe('parseFaults', () => {
  it('reads every fault', () => {
    expect(
      parseFaults('loss=2%, reorder=2.5%,duplicate=1%,corrupt=0%,delay=20ms,jitter=0.5s,rate=100mbit'),
    ).toEqual({ loss: 0.02, reorder: 0.025, duplicate: 0.01, corrupt: 0, delay: 20, jitter: 500, rate: 1e8 });
    expect(parseFaults('rate=1.5gbit')).toEqual({ rate: 1.5e9 });
    expect(parseFaults('rate=64kbit')).toEqual({ rate: 64_000 });
  });

  it.each([
    '',
    'loss',
    'loss=2',
    'loss=101%',
    'loss=-1%',
    'los=2%',
    'delay=20',
    'delay=2min',
    'rate=100',
    'rate=0bit',
  ])('refuses "%s"', (text) => {
    expect(() => parseFaults(text)).toThrow(
      expect.objectContaining({
        code: 'ERR_NETPROXY_CONFIG',
        message: expect.stringContaining(`"${text}"`),
        remedy: expect.stringContaining('delay=20ms'),
      }),
    );
  });

  it('refuses a fault that is given twice', () => {
    expect(() => parseFaults('loss=1%,loss=2%')).toThrow('is given twice');
  });
});

describe('capture', () => {
  it('shows both directions as they are on the wire, and changes nothing', async () => {
    const pool = new BlockPool(plainMemory);
    const [inner, far] = memoryLinkPair(pool);
    const seen: [string, Buffer][] = [];
    const link = withCapture(inner, {
      frame: (direction, bytes, offset, length) => {
        seen.push([direction, Buffer.from(bytes.subarray(offset, offset + length))]);
      },
    });
    const [near, other] = [new Collector(), new Collector()];
    link.start(near);
    far.start(other);
    transmit(far, testFrame(77, 1));
    far.output.flush();
    await near.take(1);
    // A UDP datagram whose checksum the link fills in.
    const udp = Buffer.alloc(46, 1);
    udp.write('080045000020000000004011', 12, 'hex');
    udp.writeUInt16BE(12, 38);
    const payload = Buffer.from('abcd');
    const at = link.output.begin(42);
    link.output.payload({ id: 0, bytes: payload, view: new DataView(payload.buffer) }, 0, 4);
    link.output.bytes.set(udp.subarray(0, 42), at);
    link.output.end(TX_CHECKSUM, 0);
    transmit(link, testFrame(9014, 2));
    link.output.flush();
    const got = await other.take(2);
    expect(got[0]!.readUInt16BE(40)).not.toBe(0x0101);
    expect(seen).toEqual([
      ['in', testFrame(77, 1)],
      ['out', got[0]],
      ['out', testFrame(9014, 2)],
    ]);
    expect([link.kind, link.name, link.output.blocked]).toEqual(['memory', 'memory a', false]);
    expect(link.stats).toMatchObject({ txFrames: 2 });
    link.close();
    expect(await near.ended).toBeUndefined();
  });
});
