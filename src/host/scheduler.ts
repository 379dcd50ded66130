/** The real event loop, clock and randomness. */
import { randomFillSync } from 'node:crypto';
import type { Random, Scheduler } from '../core/index.js';

/** setTimeout cannot wait longer, ms. */
const LONGEST = 0x7fffffff;

export const nodeScheduler: Scheduler = {
  now: () => performance.now(),
  wall: () => Date.now(),
  micros: () => {
    const [seconds, nanos] = process.hrtime();
    return (seconds % 1000) * 1_000_000 + Math.floor(nanos / 1000);
  },
  after: (delay, callback) => {
    const timer = setTimeout(callback, Math.min(Math.ceil(delay), LONGEST));
    // Links and sockets keep a process alive, timers do not.
    timer.unref();
    return () => {
      clearTimeout(timer);
    };
  },
  defer: (callback) => {
    setImmediate(callback);
  },
};

/** Random numbers of the operating system, drawn in bulk. */
export function systemRandom(): Random {
  const pool = new Uint32Array(256);
  let used = pool.length;
  return {
    u32: () => {
      if (used === pool.length) {
        randomFillSync(pool);
        used = 0;
      }
      return pool[used++]!;
    },
  };
}
