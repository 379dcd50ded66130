/** Slow start and congestion avoidance (RFC 5681), as fast recovery of RFC 6582 and 6675 uses it. */
import type { Millis } from '../../core/index.js';
import type { CongestionController } from './controller.js';

/** RFC 6928 section 2. */
const INITIAL_SEGMENTS = 10;
const INITIAL_BYTES = 14_600;

export class NewReno implements CongestionController {
  readonly name = 'newreno';
  cwnd = 0;
  ssthresh = Number.POSITIVE_INFINITY;
  private mss = 536;
  /** Bytes acknowledged towards the next segment of congestion avoidance (RFC 3465). */
  private counted = 0;

  start(mss: number): void {
    this.mss = mss;
    this.cwnd = this.initialWindow();
  }

  acked(bytes: number, flight: number, _now: Millis): void {
    // A window that is not used says nothing about the path (RFC 7661 section 4.3, in the manner of kernels).
    if (flight * 2 < this.cwnd) return;
    if (this.cwnd < this.ssthresh) {
      // RFC 5681 section 3.1 with byte counting; no limit per ACK, for guests acknowledge whole super-segments at once.
      this.cwnd += Math.min(bytes, Math.max(this.ssthresh - this.cwnd, this.mss));
      return;
    }
    this.counted += bytes;
    if (this.counted >= this.cwnd) {
      this.counted -= this.cwnd;
      this.cwnd += this.mss;
    }
  }

  loss(flight: number, _now: Millis): void {
    this.ssthresh = Math.max(flight / 2, 2 * this.mss);
    this.cwnd = this.ssthresh;
    this.counted = 0;
  }

  recovered(flight: number, _now: Millis): void {
    // RFC 6582 section 3.2 step 3, first choice: no burst after a full acknowledgment.
    this.cwnd = Math.max(Math.min(this.ssthresh, flight + INITIAL_SEGMENTS * this.mss), this.mss);
  }

  timeout(flight: number, again: boolean, _now: Millis): void {
    // RFC 5681 section 3.1: ssthresh is kept when the same segment times out again.
    if (!again) this.ssthresh = Math.max(flight / 2, 2 * this.mss);
    this.cwnd = this.mss;
    this.counted = 0;
  }

  idle(): void {
    // RFC 5681 section 4.1.
    this.cwnd = Math.min(this.cwnd, this.initialWindow());
  }

  private initialWindow(): number {
    return Math.min(INITIAL_SEGMENTS * this.mss, Math.max(2 * this.mss, INITIAL_BYTES));
  }
}
