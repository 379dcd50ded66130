/**
 * What the flows of one link are promised together. A guest may send at once all that was advertised to it, and what the
 * link cannot queue is lost: so the flows that are active share LINK_WINDOW beyond what drains. One flow alone has what its
 * own limits allow; a thousand have a small, equal part each. Flows that are idle hold no more than they were promised last.
 *
 * Active is a flow that received something in the current or the last EPOCH; counting costs two comparisons a visit.
 */
import type { Budget, Millis } from '../core/index.js';

/** Bytes. */
export const LINK_WINDOW = 1024 * 1024;
/** The least part of it, in segments, and in bytes: few segments would wait for each other's acknowledgments. */
const LEAST_SEGMENTS = 3;
const LEAST_BYTES = 4 * 1024;
const MOST_LEAST = 16 * 1024;
/** What a new connection is promised when there are more than NEW_MANY on the link, bytes. */
const NEW_PROMISE = 16 * 1024;
const NEW_MANY = 16;
const EPOCH: Millis = 100;

/** Who takes part: a flow. */
export interface Sharer {
  /** The epoch it was last counted in. */
  epoch: number;
}

export class WindowShare {
  private readonly least: number;
  private readonly budget: Budget;
  private epoch = 0;
  private count = 0;
  private before = 0;

  /** `mss`: payload of a segment, bytes; `budget`: when it is tight, everybody gets the least. */
  constructor(mss: number, budget: Budget) {
    this.least = Math.min(Math.max(LEAST_SEGMENTS * mss, LEAST_BYTES), MOST_LEAST);
    this.budget = budget;
  }

  /** Flows that are active. */
  get active(): number {
    return Math.max(this.count, this.before);
  }

  /** A flow received something: what it may be promised, bytes; Infinity when it is alone. */
  of(sharer: Sharer, now: Millis): number {
    const epoch = Math.floor(now / EPOCH);
    if (epoch !== this.epoch) {
      this.before = epoch === this.epoch + 1 ? this.count : 0;
      this.count = 0;
      this.epoch = epoch;
    }
    if (sharer.epoch !== epoch) {
      sharer.epoch = epoch;
      this.count++;
    }
    if (this.budget.tight) return this.least;
    const { active } = this;
    return active <= 1 ? Number.POSITIVE_INFINITY : Math.max(Math.floor(LINK_WINDOW / active), this.least);
  }

  /** What a new connection may be promised beside `others`, bytes. */
  ofNew(others: number): number {
    if (this.budget.tight) return this.least;
    return others < NEW_MANY ? Number.POSITIVE_INFINITY : NEW_PROMISE;
  }
}
