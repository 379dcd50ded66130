/** What every controller here has in common: the initial window, slow start, and the way back from a false alarm. */
import type { Millis } from '../../core/index.js';
import type { CongestionController } from './controller.js';
import { HyStart } from './hystart.js';

/** RFC 6928 section 2. */
const INITIAL_SEGMENTS = 10;
const INITIAL_BYTES = 14_600;

export abstract class Window implements CongestionController {
  abstract readonly name: string;
  cwnd = 0;
  ssthresh = Number.POSITIVE_INFINITY;
  protected mss = 536;
  private readonly hystart = new HyStart();
  private fraction = 0;
  private undoCwnd = 0;
  private undoSsthresh = 0;

  start(mss: number): void {
    this.mss = mss;
    this.cwnd = this.initialWindow();
  }

  sample(rtt: Millis, _now: Millis): void {
    this.hystart.sample(rtt);
  }

  acked(bytes: number, flight: number, now: Millis, most = flight): void {
    // A window that is not used says nothing about the path (RFC 7661 section 4.3, in the manner of kernels).
    if (most * 2 < this.cwnd) {
      this.unused(now);
      return;
    }
    if (this.cwnd >= this.ssthresh) {
      this.avoid(bytes, now);
      return;
    }
    // RFC 5681 section 3.1 with byte counting; no limit per ACK, for guests acknowledge whole super-segments at once.
    let grow = Math.min(bytes, Math.max(this.ssthresh - this.cwnd, this.mss));
    if (this.ssthresh === Number.POSITIVE_INFINITY) {
      grow /= this.hystart.acked(bytes, flight);
      if (this.hystart.over) this.ssthresh = this.cwnd;
    }
    this.grow(grow);
  }

  loss(flight: number, now: Millis): void {
    this.remember();
    this.reduced(now);
    this.ssthresh = Math.max(Math.floor(flight * this.factor), 2 * this.mss);
    this.cwnd = this.ssthresh;
  }

  recovered(flight: number, _now: Millis): void {
    // RFC 6582 section 3.2 step 3, first choice: no burst after a full acknowledgment.
    this.cwnd = Math.max(Math.min(this.ssthresh, flight + INITIAL_SEGMENTS * this.mss), this.mss);
  }

  timeout(flight: number, again: boolean, now: Millis): void {
    // RFC 5681 section 3.1: ssthresh is kept when the same segment times out again.
    if (!again) {
      this.remember();
      this.restarted(now);
      this.ssthresh = Math.max(Math.floor(flight * this.factor), 2 * this.mss);
    }
    this.cwnd = this.mss;
  }

  idle(_now: Millis): void {
    // RFC 5681 section 4.1.
    this.cwnd = Math.min(this.cwnd, this.initialWindow());
  }

  undo(_now: Millis): void {
    this.cwnd = Math.max(this.cwnd, this.undoCwnd);
    this.ssthresh = Math.max(this.ssthresh, this.undoSsthresh);
  }

  /** What is left of the window after a loss. */
  protected abstract readonly factor: number;
  /** Congestion avoidance: `bytes` were acknowledged. */
  protected abstract avoid(bytes: number, now: Millis): void;
  /** The window is about to be reduced, or begins anew after a timeout. */
  protected abstract reduced(now: Millis): void;
  protected abstract restarted(now: Millis): void;

  /** Acknowledgments come, but the application does not fill the window. */
  protected unused(_now: Millis): void {
    // Nothing grows by time here.
  }

  /** The window stays a whole number; what is less is kept for later. */
  protected grow(bytes: number): void {
    this.fraction += bytes;
    const whole = Math.trunc(this.fraction) | 0;
    this.fraction -= whole;
    this.cwnd += whole;
  }

  private remember(): void {
    this.undoCwnd = this.cwnd;
    this.undoSsthresh = this.ssthresh;
  }

  private initialWindow(): number {
    return Math.min(INITIAL_SEGMENTS * this.mss, Math.max(2 * this.mss, INITIAL_BYTES));
  }
}
