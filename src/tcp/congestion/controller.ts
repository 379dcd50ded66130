/** What a congestion controller is to the sender. All sizes in bytes. */
import type { Millis } from '../../core/index.js';

export interface CongestionController {
  readonly name: string;
  /** How much may be in the network. Never below one segment. */
  cwnd: number;
  ssthresh: number;
  /** The handshake is done: segments carry up to `mss` bytes. */
  start(mss: number): void;
  /** A round trip of data that was sent once. Comes before `acked` of the same acknowledgment. */
  sample(rtt: Millis, now: Millis): void;
  /**
   * New data was acknowledged outside fast recovery while `flight` bytes were out; `most`: how much was out when it was our
   * turn to send last, which shows whether the window is used. Default `flight`.
   */
  acked(bytes: number, flight: number, now: Millis, most?: number): void;
  /** Loss was detected by SACK or duplicate acknowledgments, or the peer told of congestion. `flight`: as `most` above. */
  loss(flight: number, now: Millis): void;
  /** All that was out when recovery began is acknowledged. */
  recovered(flight: number, now: Millis): void;
  /** The retransmission timer expired; `again`: for the same data as the last time. */
  timeout(flight: number, again: boolean, now: Millis): void;
  /** Nothing was sent for longer than the retransmission timeout. */
  idle(now: Millis): void;
  /** The last `loss` or `timeout` was none: all is as it was before. */
  undo(now: Millis): void;
}
