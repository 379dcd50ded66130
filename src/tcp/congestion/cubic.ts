/** CUBIC (RFC 9438): the window grows by time since the last loss, not by round trips. */
import type { Millis } from '../../core/index.js';
import { Window } from './window.js';

/** Section 5: C in segments per second cubed, and beta. */
const C = 0.4;
const BETA = 0.7;
/** Section 4.3: what a Reno flow would gain in a round trip, in segments, for equal shares. */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);
const NONE = -1;

export class Cubic extends Window {
  readonly name = 'cubic';
  protected readonly factor = BETA;
  /** W_max, cwnd_prior, W_est of the RFC, bytes. */
  private most = 0;
  private prior = 0;
  private estimate = 0;
  /** When congestion avoidance began, ms; K, seconds. */
  private epochAt: Millis = NONE;
  private k = 0;
  private lastAt: Millis = 0;
  private rtt: Millis = 0;
  private undoMost = 0;
  private undoPrior = 0;

  override sample(rtt: Millis, now: Millis): void {
    super.sample(rtt, now);
    this.rtt = rtt;
  }

  override idle(now: Millis): void {
    super.idle(now);
    this.unused(now);
  }

  override undo(now: Millis): void {
    super.undo(now);
    this.most = this.undoMost;
    this.prior = this.undoPrior;
    this.epochAt = NONE;
  }

  protected avoid(bytes: number, now: Millis): void {
    if (this.epochAt === NONE) this.begin(now);
    this.lastAt = now;
    const { cwnd, mss } = this;
    // Section 4.3: from where a Reno flow would have reached the old window on, it grows as Reno does.
    this.estimate += (this.estimate < this.prior ? ALPHA : 1) * mss * (bytes / cwnd);
    const t = (now - this.epochAt) / 1000;
    if (this.at(t) < this.estimate) {
      this.grow(Math.max(this.estimate - cwnd, 0));
      return;
    }
    // Sections 4.4 and 4.5: towards where the curve will be in a round trip, by half of the window at most.
    const target = Math.min(Math.max(this.at(t + this.rtt / 1000), cwnd), 1.5 * cwnd);
    this.grow((target - cwnd) * Math.min(bytes / cwnd, 1));
  }

  protected reduced(_now: Millis): void {
    this.undoMost = this.most;
    this.undoPrior = this.prior;
    // Section 4.7, fast convergence: a flow that is still below its old window leaves room for a new one.
    this.most = this.cwnd < this.most ? (this.cwnd * (1 + BETA)) / 2 : this.cwnd;
    this.prior = this.cwnd;
    this.epochAt = NONE;
  }

  protected restarted(_now: Millis): void {
    this.undoMost = this.most;
    this.undoPrior = this.prior;
    // Section 4.8: K is 0 and W_max the window with which congestion avoidance begins.
    this.most = 0;
    this.prior = this.cwnd;
    this.epochAt = NONE;
  }

  /** Section 5.8: time in which the window was not used is no time of the curve. */
  protected override unused(now: Millis): void {
    if (this.epochAt !== NONE) this.epochAt += now - this.lastAt;
    this.lastAt = now;
  }

  private begin(now: Millis): void {
    const { cwnd, mss } = this;
    this.epochAt = now;
    this.lastAt = now;
    this.estimate = cwnd;
    if (this.most < cwnd) {
      this.k = 0;
      this.most = cwnd;
    } else this.k = Math.cbrt((this.most - cwnd) / mss / C);
  }

  /** W_cubic(t) of section 4.2, bytes. */
  private at(t: number): number {
    const s = t - this.k;
    return C * s * s * s * this.mss + this.most;
  }
}
