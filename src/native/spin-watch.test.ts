import { createSocket } from 'node:dgram';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Scheduler, silentLogger } from '../core/index.js';
import { missingAddon } from './addon.testutil.js';
import { Hub } from './hub.js';
import { loadNative } from './loader.js';
import { REST, SpinWatch } from './spin-watch.js';

const loopTurn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

describe.skipIf(missingAddon())('SpinWatch', () => {
  let hub: Hub;
  /** What the watch sees, set by hand. */
  const seen = { now: 0, cpu: 0, work: 0 };
  let warnings: string[] = [];
  let delayed: { at: number; callback: () => void }[] = [];
  let watch: SpinWatch;

  const scheduler: Scheduler = {
    now: () => seen.now,
    wall: () => 0,
    after: (delay, callback) => {
      const entry = { at: seen.now + delay, callback };
      delayed.push(entry);
      return () => {
        delayed = delayed.filter((other) => other !== entry);
      };
    },
    defer: () => undefined,
  };

  beforeEach(() => {
    hub = new Hub(loadNative().addon!);
    Object.assign(seen, { now: 0, cpu: 0, work: 0 });
    warnings = [];
    delayed = [];
    watch = new SpinWatch(hub, {
      scheduler,
      logger: { ...silentLogger, warn: (message) => warnings.push(message) },
      cpu: () => seen.cpu,
      work: () => seen.work,
    });
  });

  afterEach(() => {
    watch.stop();
    hub.close();
  });

  /** Lets the loop turn until the hub made so many more rounds. */
  async function rounds(count: number): Promise<void> {
    for (const until = hub.rounds + count; hub.rounds < until;) await loopTurn();
  }

  /** A moment of virtual time goes by, in which the process was busy. */
  async function spinFor(millis: number): Promise<void> {
    await rounds(millis * 2);
    seen.now += millis;
    seen.cpu += millis;
    for (const { callback } of delayed.filter(({ at }) => at <= seen.now)) callback();
    delayed = delayed.filter(({ at }) => at > seen.now);
  }

  /** A socket with a datagram that nobody reads; how often it was told. */
  async function unreadSocket(): Promise<{ told: number }> {
    const handle = hub.poller.udpOpen('127.0.0.1', 0, false);
    const state = { told: 0 };
    hub.watch(handle, () => state.told++, 'a socket that nobody reads');
    const { port } = hub.poller.address(handle, false)!;
    const sender = createSocket('udp4');
    await new Promise((resolve) => {
      sender.send('x', port, '127.0.0.1', resolve);
    });
    sender.close();
    return state;
  }

  it('finds the descriptor that is ready for ever, leaves it alone, says so once, and tries it again', async () => {
    const socket = await unreadSocket();
    watch.look();
    await spinFor(100);
    watch.look();
    await spinFor(100);
    watch.look();
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('a socket that nobody reads was ready all the time');
    expect(watch.counters.spins).toBe(1);
    const { told } = socket;
    for (let i = 0; i < 50; i++) await loopTurn();
    expect(socket.told).toBe(told);
    seen.now += REST;
    for (const { callback } of delayed.splice(0)) callback();
    await rounds(10);
    expect(socket.told).toBeGreaterThan(told);
  });

  it('leaves alone what brings something, and a loop that turns while the process is hardly busy', async () => {
    await unreadSocket();
    watch.look();
    for (let i = 0; i < 4; i++) {
      await spinFor(100);
      seen.work += hub.rounds;
      watch.look();
    }
    for (let i = 0; i < 4; i++) {
      await spinFor(100);
      seen.cpu -= 90;
      watch.look();
    }
    expect([warnings, watch.counters.spins, hub.tally]).toEqual([[], 0, undefined]);
  });

  it('says that the loop turns for nothing when no descriptor is the reason', async () => {
    // One after the other: none is ready in most rounds.
    let next = 0;
    const turn = (): void => {
      wakeups[next++ % wakeups.length]!.set(0);
    };
    const wakeups = Array.from({ length: 4 }, () => hub.wakeup(turn)!);
    hub.watch(hub.poller.udpOpen('127.0.0.1', 0, false), () => undefined);
    turn();
    watch.look();
    await spinFor(100);
    watch.look();
    await spinFor(100);
    watch.look();
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('nothing that is watched was ready all the time');
    expect(watch.counters.spins).toBe(1);
  });

  it('looks by itself until it is stopped', () => {
    watch.start();
    expect(delayed).toHaveLength(1);
    watch.stop();
    expect(delayed).toHaveLength(0);
    watch.start();
    expect(delayed).toHaveLength(0);
  });
});
