/** Congestion avoidance of RFC 5681, as fast recovery of RFC 6582 uses it. */
import type { Millis } from '../../core/index.js';
import { Window } from './window.js';

export class NewReno extends Window {
  readonly name = 'newreno';
  protected readonly factor = 0.5;
  /** Bytes acknowledged towards the next segment (RFC 3465). */
  private counted = 0;

  protected avoid(bytes: number, _now: Millis): void {
    this.counted += bytes;
    if (this.counted < this.cwnd) return;
    this.counted -= this.cwnd;
    this.cwnd += this.mss;
  }

  protected reduced(_now: Millis): void {
    this.counted = 0;
  }

  protected restarted(_now: Millis): void {
    this.counted = 0;
  }
}
