/**
 * Watches for a spin: the event loop turns all the time and nothing comes of it, because a descriptor is ready for ever and
 * nobody takes what it has, or because something asks to be called again and again. Such a thing is a fault of ours or of the
 * kernel's; what it must not do is take a core for days.
 *
 * Theory of operation. Every LOOK ms: did the process use more than half of the time, did the hub make more than MANY_ROUNDS, and was hardly any
 * of them of use (a frame, a datagram, bytes)? Then the hub counts whom it tells, and the next look, if that sees the same, finds out who
 * was told in most rounds. That handle is not listened to for REST ms, and it is logged once what it is. When no handle stands out,
 * it is logged that the loop turns for nothing.
 */
import type { Logger, Scheduler } from '../core/index.js';
import { READ } from './constants.js';
import type { Hub } from './hub.js';

/** How often it is looked, ms. */
export const LOOK = 2000;
/** Rounds a second that are many, and one of how many has to be of use. */
const MANY_ROUNDS = 1000;
const USEFUL = 100;
/** How long a handle that spun is left alone, ms. */
export const REST = 10_000;
/** The same is said once in this time, ms. */
const EVERY = 60_000;

export interface SpinDeps {
  readonly scheduler: Scheduler;
  readonly logger: Logger;
  /** CPU time of the process, ms. */
  cpu(): number;
  /** Grows with everything of use: frames, datagrams, connections. */
  work(): number;
}

export class SpinWatch {
  readonly counters = { spins: 0 };
  private readonly hub: Hub;
  private readonly deps: SpinDeps;
  private cancel: (() => void) | undefined;
  private stopped = false;
  private readonly last = { now: 0, cpu: 0, work: 0, rounds: 0 };
  private readonly resting = new Set<() => void>();

  constructor(hub: Hub, deps: SpinDeps) {
    this.hub = hub;
    this.deps = deps;
  }

  /** Looks from now on, every LOOK ms. */
  start(): void {
    if (this.stopped) return;
    this.take();
    this.later();
  }

  stop(): void {
    this.stopped = true;
    this.cancel?.();
    for (const cancel of this.resting) cancel();
    this.resting.clear();
    this.hub.tally = undefined;
  }

  /** Looks at what was since the last time. */
  look(): void {
    const { hub, last } = this;
    const before = { ...last };
    this.take();
    const seconds = (last.now - before.now) / 1000;
    const rounds = last.rounds - before.rounds;
    const idle = seconds <= 0 || last.cpu - before.cpu < 500 * seconds || rounds < MANY_ROUNDS * seconds;
    if (idle || (last.work - before.work) * USEFUL > rounds) {
      hub.tally = undefined;
      return;
    }
    const { tally } = hub;
    if (tally === undefined) {
      hub.tally = new Map();
      return;
    }
    hub.tally = undefined;
    this.counters.spins++;
    this.end(tally, rounds, rounds / seconds);
  }

  private end(tally: ReadonlyMap<number, number>, rounds: number, rate: number): void {
    let [handle, most] = [0, 0];
    for (const [each, count] of tally) if (count > most) [handle, most] = [each, count];
    const how = `the event loop turned ${Math.round(rate)} times a second and nothing came of it`;
    if (most < rounds / 2) {
      this.deps.logger.warn(`${how}; nothing that is watched was ready all the time`, { every: EVERY });
      return;
    }
    const what = this.hub.describe(handle);
    this.deps.logger.warn(
      `${how}: ${what} was ready all the time, and nobody took what it had; it is left alone for ${REST / 1000} s`,
      { every: EVERY, handle },
    );
    this.hub.poller.interest(handle, 0);
    const wake = (): void => {
      this.resting.delete(cancel);
      // It may have gone meanwhile, and its number be another's, who listens in any case.
      if (this.hub.describe(handle) === what) this.hub.poller.interest(handle, READ);
    };
    const cancel = this.deps.scheduler.after(REST, wake);
    this.resting.add(cancel);
  }

  private take(): void {
    const { last, deps } = this;
    last.now = deps.scheduler.now();
    last.cpu = deps.cpu();
    last.work = deps.work();
    last.rounds = this.hub.rounds;
  }

  private later(): void {
    this.cancel = this.deps.scheduler.after(LOOK, () => {
      this.look();
      this.later();
    });
  }
}
