/** A token bucket: `rate` a second, at most `burst` at once. */
import type { Millis } from './clock.js';

export class Rate {
  private readonly rate: number;
  private readonly burst: number;
  private tokens: number;
  private refilled: Millis = 0;

  constructor(rate: number, burst: number) {
    this.rate = rate;
    this.burst = burst;
    this.tokens = burst;
  }

  /** True when one more fits; it is then taken. */
  take(now: Millis): boolean {
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.refilled) * this.rate) / 1000);
    this.refilled = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
