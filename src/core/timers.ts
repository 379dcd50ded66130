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

/** One deadline; `at`, `index` and `key` are changed by `Timers` only. An owner of one deadline may be it itself. */
export interface Deadline {
  /** When it fires; Infinity when it is not set. */
  at: Millis;
  /** Position in the heap, OUTSIDE, or DUE; `key` is the time the heap believes. */
  index: number;
  key: Millis;
  fire(now: Millis): void;
}

/** What `at`, `index` and `key` are before a deadline is set. */
export const UNSET: { readonly at: Millis; readonly index: number; readonly key: Millis } = {
  at: NEVER,
  index: OUTSIDE,
  key: NEVER,
};

/** A deadline with a function. Reused: an owner keeps its Timer as long as it lives. */
export class Timer implements Deadline {
  at = UNSET.at;
  index = UNSET.index;
  key = UNSET.key;
  readonly fire: (now: Millis) => void;

  constructor(fire: (now: Millis) => void) {
    this.fire = fire;
  }
}

export class Timers {
  private readonly heap: Deadline[] = [];
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
    if (timer.index < 0) {
      timer.key = at;
      timer.index = this.heap.length;
      this.heap.push(timer);
      this.up(timer);
    } else if (at < timer.key) {
      timer.key = at;
      this.up(timer);
    }
  }

  cancel(timer: Deadline): void {
    this.set(timer, NEVER);
  }

  /** What the owner has promised to call `run` at; see `sooner`. */
  promised: Millis = NEVER;

  /** True when `run` has something to do before `promised`. Asked all the time, so it hands no number out. */
  sooner(): boolean {
    for (;;) {
      const top = this.heap[0];
      if (top === undefined || top.key >= this.promised) return false;
      if (top.at <= top.key) return true;
      top.key = top.at;
      this.down(top);
    }
  }

  /** When `run` has something to do next; Infinity when never. */
  next(): Millis {
    for (;;) {
      const top = this.heap[0];
      if (top === undefined) return NEVER;
      if (top.at <= top.key) return top.key;
      top.key = top.at;
      this.down(top);
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
    const { heap } = this;
    const last = heap.pop()!;
    if (last !== timer) {
      heap[timer.index] = last;
      last.index = timer.index;
      this.up(last);
      this.down(last);
    }
    timer.index = OUTSIDE;
    timer.key = NEVER;
  }

  private up(timer: Deadline): void {
    const { heap } = this;
    let at = timer.index;
    while (at > 0) {
      const parentAt = (at - 1) >> 2;
      const parent = heap[parentAt]!;
      if (parent.key <= timer.key) break;
      heap[at] = parent;
      parent.index = at;
      at = parentAt;
    }
    heap[at] = timer;
    timer.index = at;
  }

  private down(timer: Deadline): void {
    const { heap } = this;
    let at = timer.index;
    for (;;) {
      const first = at * 4 + 1;
      if (first >= heap.length) break;
      let best = first;
      const end = Math.min(first + 4, heap.length);
      for (let i = first + 1; i < end; i++) if (heap[i]!.key < heap[best]!.key) best = i;
      const child = heap[best]!;
      if (child.key >= timer.key) break;
      heap[at] = child;
      child.index = at;
      at = best;
    }
    heap[at] = timer;
    timer.index = at;
  }
}
