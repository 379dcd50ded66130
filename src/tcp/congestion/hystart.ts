/**
 * HyStart++ (RFC 9406): slow start ends when round trips grow, before a queue overflows. A round ends when as much is
 * acknowledged as was out when it began.
 */
import type { Millis } from '../../core/index.js';

const LEAST_THRESHOLD: Millis = 4;
const MOST_THRESHOLD: Millis = 16;
const DIVISOR = 8;
const SAMPLES = 8;
/** Conservative slow start: how much slower, and for how many rounds. */
const SLOWER = 4;
const ROUNDS = 5;
const NEVER = Number.POSITIVE_INFINITY;

export class HyStart {
  /** Slow start must end. */
  over = false;
  private left = 0;
  private least: Millis = NEVER;
  private leastBefore: Millis = NEVER;
  private samples = 0;
  /** In conservative slow start: rounds so far, and the round trip that it began with. */
  private rounds = -1;
  private baseline: Millis = NEVER;

  sample(rtt: Millis): void {
    if (rtt < this.least) this.least = rtt;
    this.samples++;
  }

  /** `bytes` were acknowledged in slow start while `flight` were out; returns by what growth is divided. */
  acked(bytes: number, flight: number): number {
    this.left -= bytes;
    if (this.samples >= SAMPLES) this.judge();
    if (this.left <= 0) this.round(flight - bytes);
    return this.rounds < 0 ? 1 : SLOWER;
  }

  private round(out: number): void {
    this.left = Math.max(out, 1);
    this.leastBefore = this.least;
    this.least = NEVER;
    this.samples = 0;
    if (this.rounds < 0) return;
    this.rounds++;
    if (this.rounds >= ROUNDS) this.over = true;
  }

  private judge(): void {
    if (this.rounds >= 0) {
      // It was not a queue: slow start goes on.
      if (this.least < this.baseline) this.rounds = -1;
      return;
    }
    if (this.leastBefore === NEVER) return;
    const threshold = Math.min(Math.max(this.leastBefore / DIVISOR, LEAST_THRESHOLD), MOST_THRESHOLD);
    if (this.least < this.leastBefore + threshold) return;
    this.baseline = this.least;
    this.rounds = 0;
  }
}
