/** The wake-ups of a hub: timers in its epoll set. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { missingAddon } from './addon.testutil.js';
import { Hub } from './hub.js';
import { loadNative } from './loader.js';

describe.skipIf(missingAddon())('a wake-up of a hub', () => {
  let hub: Hub;

  beforeEach(() => {
    hub = new Hub(loadNative().addon!);
  });

  afterEach(() => {
    hub.close();
  });

  it('rings once, at its time, and not again before it is set again', async () => {
    let rings = 0;
    let rung: () => void = () => undefined;
    const wakeup = hub.wakeup(() => {
      rings++;
      rung();
    })!;
    const ring = (): Promise<void> => new Promise((resolve) => (rung = resolve));
    const begun = performance.now();
    wakeup.set(20);
    await ring();
    expect(performance.now() - begun).toBeGreaterThanOrEqual(19);
    await sleep(30);
    expect(rings).toBe(1);
    wakeup.set(0);
    await ring();
    expect(rings).toBe(2);
  });

  it('takes a new time in place of the old one', async () => {
    const rings: string[] = [];
    let rung: () => void = () => undefined;
    const far = hub.wakeup(() => rings.push('far'))!;
    const near = hub.wakeup(() => {
      rings.push('near');
      rung();
    })!;
    far.set(1);
    far.set(1_000_000_000_000);
    near.set(60_000);
    near.set(20);
    await new Promise<void>((resolve) => (rung = resolve));
    expect(rings).toEqual(['near']);
  });

  it('rings also when others took all the time of the turn before it', async () => {
    // Handles are told in the order in which they became ready: all but one of these stand behind one that is slow.
    const rings = new Set<number>();
    const busy = (): void => {
      const until = performance.now() + 5;
      while (performance.now() < until);
    };
    const wakeups = Array.from({ length: 3 }, (_, i) =>
      hub.wakeup(() => {
        rings.add(i);
        busy();
      }),
    );
    for (const wakeup of wakeups) wakeup!.set(1);
    // All have rung before the poller looks.
    busy();
    await sleep(50);
    expect(rings.size).toBe(3);
  });

  it('has a clock that stands still while one handle is served, and goes on for the next', async () => {
    const busy = (): void => {
      const until = performance.now() + 5;
      while (performance.now() < until);
    };
    const seen: [number, number][] = [];
    await new Promise<void>((resolve) => {
      const ring = (): void => {
        const before = hub.now();
        busy();
        seen.push([before, hub.now()]);
        if (seen.length === 2) hub.defer(resolve);
      };
      for (let i = 0; i < 2; i++) hub.wakeup(ring)!.set(0);
    });
    expect(seen.every(([before, after]) => before === after)).toBe(true);
    expect(seen[1]![0] - seen[0]![0]).toBeGreaterThanOrEqual(4);
    const outside = hub.now();
    busy();
    expect(hub.now() - outside).toBeGreaterThanOrEqual(4);
  });

  it('is silent when it was stopped, and stopping gives its descriptor back', async () => {
    let rings = 0;
    const before = hub.poller.handleCount();
    const wakeup = hub.wakeup(() => rings++)!;
    wakeup.set(1);
    wakeup.stop();
    wakeup.stop();
    await sleep(20);
    expect(rings).toBe(0);
    expect(hub.poller.handleCount()).toBe(before);
    wakeup.set(0);
    await sleep(10);
    expect(rings).toBe(0);
  });
});

describe.skipIf(missingAddon())('the memory of a hub', () => {
  it('is used again, and given back when nobody took of it for a while', async () => {
    const hub = new Hub(loadNative().addon!);
    const { memory } = hub;
    const first = memory.allocate(1000);
    memory.free(first);
    // What was composed in it may still leave in this run of code.
    expect(memory.allocate(1000)).not.toBe(first);
    await sleep(0);
    expect(memory.allocate(1000)).toBe(first);
    memory.free(first);
    const known = (): boolean => hub.poller.checksum(first.id, 0, 2) >= 0;
    await expect.poll(known, { timeout: 10_000 }).toBe(false);
    expect(memory.allocate(1000)).not.toBe(first);
    hub.close();
  });
});
