/**
 * Deadlines of one network, kept in a 4-ary heap. A deadline that moves later, as a retransmission timer
 * does with every acknowledgement, costs one assignment: the heap is corrected when the old one comes up.
 * The owner drives it: `next()` says when, `run(now)` fires what is due.
 */
import type { Millis } from './clock.js';

const NEVER = Number.POSITIVE_INFINITY;
const OUTSIDE = -1;
/** Out of the heap and about to fire. */
const DUE = -2;

/** One deadline; `at` and `index` are changed by `Timers` only. An owner of one deadline may be it itself. */
export interface Deadline {
  /** When it fires; Infinity when it is not set. */
  at: Millis;
  /** Position in the heap, OUTSIDE, or DUE. */
  index: number;
  fire(now: Millis): void;
}

/** What `at` and `index` are before a deadline is set. */
export const UNSET: { readonly at: Millis; readonly index: number } = { at: NEVER, index: OUTSIDE };

/** A deadline with a function. Reused: an owner keeps its Timer as long as it lives. */
export class Timer implements Deadline {
  at = UNSET.at;
  index = UNSET.index;
  readonly fire: (now: Millis) => void;

  constructor(fire: (now: Millis) => void) {
    this.fire = fire;
  }
}

export class Timers {
  private readonly heap: Deadline[] = [];
  /** When the heap believes that each of them fires: apart, for a number of an object of many kinds is an object of its own. */
  private keys = new Float64Array(64);
  private readonly due: Deadline[] = [];

  /** How many timers stand in the heap, cancelled ones that have not come up included. */
  get size(): number {
    return this.heap.length;
  }

  /** Sets or moves a timer; Infinity cancels it. */
  set(timer: Deadline, at: Millis): void {
    timer.at = at;
    if (at === NEVER) {
      if (timer.index >= 0) this.remove(timer);
      timer.index = OUTSIDE;
      return;
    }
    const { index } = timer;
    if (index < 0) {
      this.heap.push(timer);
      this.up(timer, this.heap.length - 1, at);
    } else if (at < this.keys[index]!) this.up(timer, index, at);
  }

  cancel(timer: Deadline): void {
    this.set(timer, NEVER);
  }

  /** What the owner has promised to call `run` at; see `sooner`. */
  promised: Millis = NEVER;

  /** True when `run` has something to do before `promised`. Asked all the time, so it hands no number out. */
  sooner(): boolean {
    const { promised } = this;
    for (;;) {
      const top = this.heap[0];
      if (top === undefined || this.keys[0]! >= promised) return false;
      const { at } = top;
      if (at <= this.keys[0]!) return true;
      this.down(top, 0, at);
    }
  }

  /** When `run` has something to do next; Infinity when never. */
  next(): Millis {
    for (;;) {
      const top = this.heap[0];
      if (top === undefined) return NEVER;
      const { at } = top;
      if (at <= this.keys[0]!) return this.keys[0]!;
      this.down(top, 0, at);
    }
  }

  /**
   * Fires every timer that is due, each at most once; returns how many. A timer is unset before it fires; what is set
   * meanwhile waits for the next run, and what is cancelled meanwhile does not fire. At most `limit` at a time.
   */
  run(now: Millis, limit = 100_000): number {
    const { due } = this;
    let fired = 0;
    while (due.length < limit && this.next() <= now) {
      const timer = this.heap[0]!;
      this.remove(timer);
      timer.index = DUE;
      due.push(timer);
    }
    for (let i = 0; i < due.length; i++) {
      const timer = due[i]!;
      if (timer.index !== DUE) continue;
      timer.index = OUTSIDE;
      timer.at = NEVER;
      fired++;
      timer.fire(now);
    }
    due.length = 0;
    return fired;
  }

  private remove(timer: Deadline): void {
    const { heap, keys } = this;
    const last = heap.pop()!;
    const { index } = timer;
    if (last !== timer) {
      const key = keys[heap.length]!;
      if (index > 0 && keys[(index - 1) >> 2]! > key) this.up(last, index, key);
      else this.down(last, index, key);
    }
    timer.index = OUTSIDE;
  }

  /** Puts a timer where its key belongs, from `index` towards the top. */
  private up(timer: Deadline, index: number, key: Millis): void {
    const { heap } = this;
    if (index >= this.keys.length) this.widen();
    const { keys } = this;
    let at = index;
    while (at > 0) {
      const parentAt = (at - 1) >> 2;
      if (keys[parentAt]! <= key) break;
      const parent = heap[parentAt]!;
      heap[at] = parent;
      keys[at] = keys[parentAt]!;
      parent.index = at;
      at = parentAt;
    }
    heap[at] = timer;
    keys[at] = key;
    timer.index = at;
  }

  /** The same from `index` downwards. */
  private down(timer: Deadline, index: number, key: Millis): void {
    const { heap, keys } = this;
    const { length } = heap;
    let at = index;
    for (;;) {
      const first = at * 4 + 1;
      if (first >= length) break;
      let best = first;
      const end = Math.min(first + 4, length);
      for (let i = first + 1; i < end; i++) if (keys[i]! < keys[best]!) best = i;
      if (keys[best]! >= key) break;
      const child = heap[best]!;
      heap[at] = child;
      keys[at] = keys[best]!;
      child.index = at;
      at = best;
    }
    heap[at] = timer;
    keys[at] = key;
    timer.index = at;
  }

  private widen(): void {
    const keys = new Float64Array(2 * this.keys.length);
    keys.set(this.keys);
    this.keys = keys;
  }
}
