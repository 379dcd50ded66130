/**
 * Time that moves only when a test says so.
 *
 * Theory of operation. Deferred functions and due timers run first, in order; then promises and streams of the test
 * itself get their turn of the real event loop; only when nothing is left to do at this instant does the clock jump
 * to the next timer. Everybody who waits (`advance`, `runUntil`, `run`, `settle`) shares one pump, so that these may
 * be called from inside each other. An error that a timer throws rejects everybody who waits.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Cancel, type Millis, type Scheduler, Timer, Timers } from '../core/index.js';

/** `run` and `runUntil` give up after this much virtual time, ms. */
export const DEFAULT_LIMIT: Millis = 600_000;
/** Turns without the clock moving that are taken for an endless loop. */
const MAX_TURNS = 1_000_000;
/** Turns of the event loop with nothing to do after which an instant counts as over. */
const IDLE_TURNS = 2;

interface Watcher {
  /** True when the waiting is over; `idle`: nothing is left to do at this instant. */
  readonly over: (idle: boolean) => boolean;
  /** What happens when the clock reaches this: `resolve` (advance) or `reject` (a condition that never came). */
  readonly deadline: Millis;
  readonly atDeadline: 'resolve' | 'reject';
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** A network's scheduler on virtual time. */
export class VirtualClock implements Scheduler {
  private time: Millis;
  private readonly epoch: Millis;
  private queue: (() => void)[] = [];
  private readonly timers = new Timers();
  private readonly watchers = new Set<Watcher>();
  private pumping = false;

  /**
   * @param start what `now()` says first, ms
   * @param wall what `wall()` says first, ms since 1970; default 2030-01-01
   */
  constructor(start: Millis = 1000, wall: Millis = Date.UTC(2030, 0, 1)) {
    this.time = start;
    this.epoch = wall - start;
  }

  now(): Millis {
    return this.time;
  }

  wall(): Millis {
    return this.epoch + this.time;
  }

  /** Time passes at once, as for a machine that slept: what was due meanwhile comes together when the test goes on. */
  suspend(ms: Millis): void {
    this.time += ms;
  }

  after(delay: Millis, callback: () => void): Cancel {
    const timer = new Timer(callback);
    this.timers.set(timer, this.time + Math.max(0, delay));
    return () => {
      this.timers.cancel(timer);
    };
  }

  defer(callback: () => void): void {
    this.queue.push(callback);
  }

  /** Timers that are set. */
  get pendingTimers(): number {
    return this.timers.size;
  }

  /** Lets everything happen that happens without the clock moving. */
  settle(): Promise<void> {
    return this.watch((idle) => idle, Number.POSITIVE_INFINITY, 'reject');
  }

  /** Moves the clock by `ms`, doing on the way what falls due. */
  advance(ms: Millis): Promise<void> {
    return this.watch(() => false, this.time + ms, 'resolve');
  }

  /**
   * Moves the clock until the predicate holds; it is asked after every turn.
   *
   * @throws Error when it does not hold within `limit` ms, or when nothing is left that could make it hold
   */
  runUntil(predicate: () => boolean, limit: Millis = DEFAULT_LIMIT): Promise<void> {
    return this.watch(predicate, this.time + limit, 'reject');
  }

  /**
   * Moves the clock until the promise settles, and passes its result on.
   *
   * @example
   * const rtt = await clock.run(guest.ping('192.168.127.1'));
   */
  async run<T>(work: Promise<T> | (() => Promise<T>), limit: Millis = DEFAULT_LIMIT): Promise<T> {
    let settled = false;
    const promise = typeof work === 'function' ? work() : work;
    const note = (): void => {
      settled = true;
    };
    promise.then(note, note);
    await this.runUntil(() => settled, limit);
    return promise;
  }

  private watch(
    over: (idle: boolean) => boolean,
    deadline: Millis,
    atDeadline: 'resolve' | 'reject',
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      this.watchers.add({ over, deadline, atDeadline, resolve, reject });
      if (!this.pumping) void this.pump();
    });
  }

  private async pump(): Promise<void> {
    this.pumping = true;
    try {
      let turns = 0;
      let idleTurns = 0;
      while (this.watchers.size > 0) {
        const worked = this.turn();
        // The test's own promises and streams.
        await nextTurn();
        idleTurns = worked || this.busy() || this.release(false) ? 0 : idleTurns + 1;
        if (++turns > MAX_TURNS) throw new Error(`no end of work at ${this.time} ms of virtual time`);
        if (idleTurns < IDLE_TURNS) continue;
        idleTurns = 0;
        if (this.release(true)) continue;
        this.jump();
        turns = 0;
      }
    } catch (error) {
      for (const watcher of this.take(() => true)) watcher.reject(error as Error);
    } finally {
      this.pumping = false;
    }
  }

  /** Runs what was deferred before this turn and what is due. */
  private turn(): boolean {
    const { queue } = this;
    this.queue = [];
    for (const [i, callback] of queue.entries()) {
      try {
        callback();
      } catch (error) {
        this.queue = [...queue.slice(i + 1), ...this.queue];
        throw error;
      }
    }
    return this.timers.run(this.time) + queue.length > 0;
  }

  private busy(): boolean {
    return this.queue.length > 0 || this.timers.next() <= this.time;
  }

  /** Lets those go whose waiting is over; true when there were any. */
  private release(idle: boolean): boolean {
    const late = (watcher: Watcher): boolean => idle && watcher.deadline <= this.time;
    const done = this.take(
      (watcher) => watcher.over(idle) || (late(watcher) && watcher.atDeadline === 'resolve'),
    );
    const failed = this.take(late);
    for (const watcher of done) watcher.resolve();
    for (const watcher of failed) {
      watcher.reject(
        new Error(`what is waited for did not happen before ${watcher.deadline} ms of virtual time`),
      );
    }
    return done.length + failed.length > 0;
  }

  /** Moves the clock to the next timer or deadline, whichever is first. */
  private jump(): void {
    let next = this.timers.next();
    if (
      next === Number.POSITIVE_INFINITY &&
      [...this.watchers].every((watcher) => watcher.atDeadline === 'reject')
    ) {
      throw new Error(
        `nothing is left to do at ${this.time} ms of virtual time, and what is waited for did not happen`,
      );
    }
    for (const watcher of this.watchers) next = Math.min(next, watcher.deadline);
    this.time = Math.max(this.time, next);
  }

  private take(which: (watcher: Watcher) => boolean): Watcher[] {
    const taken = [...this.watchers].filter(which);
    for (const watcher of taken) this.watchers.delete(watcher);
    return taken;
  }
}
