import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { seededRandom } from './random.js';
import { VirtualClock } from './virtual-clock.js';

describe('VirtualClock', () => {
  it('runs timers in the order of their time, at their time', async () => {
    const clock = new VirtualClock(0);
    const seen: [string, number][] = [];
    clock.after(30, () => seen.push(['c', clock.now()]));
    clock.after(10, () => seen.push(['a', clock.now()]));
    const cancel = clock.after(15, () => seen.push(['never', clock.now()]));
    clock.after(20, () => {
      seen.push(['b', clock.now()]);
      clock.after(5, () => seen.push(['b+5', clock.now()]));
    });
    cancel();
    cancel();
    await clock.advance(100);
    expect(seen).toEqual([
      ['a', 10],
      ['b', 20],
      ['b+5', 25],
      ['c', 30],
    ]);
    expect(clock.now()).toBe(100);
    expect(clock.wall()).toBe(Date.UTC(2030, 0, 1) + 100);
    expect(clock.pendingTimers).toBe(0);
  });

  it('settles without moving, streams and promises included', async () => {
    const clock = new VirtualClock(0);
    const stream = new PassThrough();
    let text = '';
    stream.on('data', (chunk: Buffer) => {
      clock.defer(() => (text += chunk.toString()));
    });
    clock.defer(() => stream.write('one '));
    clock.defer(() => void Promise.resolve().then(() => stream.end('two')));
    clock.after(1, () => (text += ' never'));
    await clock.settle();
    expect(text).toBe('one two');
    expect(clock.now()).toBe(0);
  });

  it('moves until a predicate holds, a promise settles, or not at all', async () => {
    const clock = new VirtualClock(0);
    let done = false;
    clock.after(50, () => (done = true));
    await clock.runUntil(() => done);
    expect(clock.now()).toBe(50);
    expect(await clock.run(new Promise((resolve) => void clock.after(7, () => resolve('seven'))))).toBe(
      'seven',
    );
    expect(clock.now()).toBe(57);
    await expect(clock.run(Promise.reject(new Error('refused')))).rejects.toThrow('refused');
    await expect(clock.run(new Promise(() => undefined))).rejects.toThrow('nothing is left to do at 57 ms');
    const tick = (): void => void clock.after(10, tick);
    tick();
    await expect(clock.runUntil(() => false, 100)).rejects.toThrow('before 157 ms');
  });

  it('waits inside of what it runs', async () => {
    const clock = new VirtualClock(0);
    const seen = await clock.run(async () => {
      await clock.advance(10);
      const first = clock.now();
      await Promise.all([clock.advance(10), clock.advance(5)]);
      return [first, clock.now()];
    });
    expect(seen).toEqual([10, 20]);
  });

  it('hands errors of timers to those who wait, and goes on afterwards', async () => {
    const clock = new VirtualClock(0);
    let after = false;
    clock.after(5, () => {
      throw new Error('broken timer');
    });
    clock.after(6, () => (after = true));
    await expect(clock.advance(10)).rejects.toThrow('broken timer');
    await clock.advance(10);
    expect(after).toBe(true);
  });
});

describe('seededRandom', () => {
  it('repeats itself, and differs by seed', () => {
    const draw = (seed: number): number[] => {
      const random = seededRandom(seed);
      return Array.from({ length: 100 }, () => random.u32());
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    expect(new Set(draw(3)).size).toBe(100);
    const mean = draw(4).reduce((sum, n) => sum + n, 0) / 100;
    expect(mean).toBeGreaterThan(0x60000000);
    expect(mean).toBeLessThan(0xa0000000);
  });
});
