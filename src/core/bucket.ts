/** A token bucket: so much a second, so much at once. Whole numbers, no timers, no memory per call. */
import type { Millis } from './clock.js';

/** Longer pauses fill no more than this would, ms: a clock that jumped an hour must not overflow anything. */
const LONGEST: Millis = 60_000;
/** Nobody owes more than this, whatever is asked for. */
const MOST_DEBT = 2 ** 30;

export class Bucket {
  /** Tokens a second, and the most it holds. */
  readonly rate: number;
  readonly burst: number;
  /** Nobody owes more. */
  private readonly mostDebt: number;
  private tokens: number;
  /** Thousandths of a token beyond `tokens`. */
  private rest = 0;
  private filled: Millis = 0;

  /** `rate`: 1 to 1e12 tokens a second. `burst`: 1 to 2^30; it begins full. `mostDebt`: what is spent beyond is forgotten. */
  constructor(rate: number, burst: number, mostDebt = MOST_DEBT) {
    this.rate = rate;
    this.burst = burst;
    this.mostDebt = mostDebt;
    this.tokens = burst;
  }

  /** Takes so many if they are there; false, and nothing is taken, when they are not. `now` in whole ms. */
  take(now: Millis, amount = 1): boolean {
    this.fill(now);
    if (this.tokens < amount) return false;
    this.tokens -= amount;
    return true;
  }

  /** Takes so many whether they are there or not: what was had too early is waited for afterwards. */
  spend(now: Millis, amount: number): void {
    this.fill(now);
    this.tokens = Math.max(-this.mostDebt, this.tokens - amount);
  }

  /** More was spent than there was; `by` more than so many. */
  inDebt(now: Millis, by = 0): boolean {
    this.fill(now);
    return this.tokens < -by;
  }

  /** Milliseconds until nothing is owed; 0 when nothing is. */
  wait(now: Millis): Millis {
    this.fill(now);
    return this.tokens >= 0 ? 0 : Math.ceil((-this.tokens * 1000) / this.rate);
  }

  private fill(now: Millis): void {
    const elapsed = Math.min(now - this.filled, LONGEST);
    if (elapsed <= 0) return;
    this.filled = now;
    const thousandths = elapsed * this.rate + this.rest;
    const whole = Math.floor(thousandths / 1000);
    const tokens = this.tokens + whole;
    this.rest = thousandths - whole * 1000;
    this.tokens = tokens < this.burst ? tokens : this.burst;
  }
}
