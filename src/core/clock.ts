/** Milliseconds: an instant on the monotonic clock or a span. Fractions are allowed. */
export type Millis = number;

/** The monotonic clock. Its zero means nothing; wall time comes from `wall()`. */
export interface Clock {
  now(): Millis;
  /** Milliseconds since 1970-01-01 UTC, for leases, SNTP and captures. */
  wall(): Millis;
  /**
   * The monotonic clock in whole microseconds, from 0 to 999,999,999 and from 0 again: a small integer, which costs nothing of the
   * heap. Where there is none, time is measured in whole milliseconds.
   */
  micros?(): number;
}

/** Randomness that protocols get from outside; seeded in tests. */
export interface Random {
  /** A uniform number, 0 to 2^32 - 1. */
  u32(): number;
}

/** A uniform integer, 0 to n - 1, n from 1 to 2^32. The bias is below n / 2^32. */
export function below(random: Random, n: number): number {
  return Math.floor((random.u32() / 0x100000000) * n);
}

/** Cancels what it was returned for; calling it twice, or after the fact, is harmless. */
export type Cancel = () => void;

/** A timer that is set again and again. */
export interface Wakeup {
  /** Rings once in `delay` ms (0: as soon as possible), instead of when it was set to before. */
  set(delay: Millis): void;
  /** For good. */
  stop(): void;
}

/** The event loop as a network sees it: a clock, one-shot timers, and "after what is ready now". */
export interface Scheduler extends Clock {
  /** Calls back once after `delay` ms (0: as soon as possible, never from inside this call). */
  after(delay: Millis, callback: () => void): Cancel;
  /** Calls back once when everything that is ready now has been looked at. */
  defer(callback: () => void): void;
  /** A timer for what is set thousands of times a second, where there is a cheaper one than `after`. */
  wakeup?(ring: () => void): Wakeup | undefined;
}

/** The scheduler's own wake-up, or one made of `after`. */
export function wakeupOf(scheduler: Scheduler, ring: () => void): Wakeup {
  const own = scheduler.wakeup?.(ring);
  if (own !== undefined) return own;
  let cancel: Cancel | undefined;
  return {
    set: (delay) => {
      cancel?.();
      cancel = scheduler.after(delay, ring);
    },
    stop: () => {
      cancel?.();
    },
  };
}
