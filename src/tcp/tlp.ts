/**
 * The tail loss probe (RFC 8985 section 7): when an acknowledgment is overdue, one segment asks for it long before the
 * retransmission timer would, so that a lost tail is found by SACK and not by a timeout.
 */
import { seqGe, seqGt, type Millis, type Seq } from '../core/index.js';
import { OPEN } from './recovery.js';
import type { Sender } from './send.js';
import type { OptionsIn } from './wire/options.js';

/** How long a peer may hold back the acknowledgment of a single segment (TLP.max_ack_delay). */
export const WORST_DELAYED_ACK: Millis = 200;
/** Added to a probe timeout that is short: a batch on either side takes that long. */
export const PROBE_SLACK: Millis = 2;

export class TailProbe {
  /** A probe is out; SND.NXT when it left (TLP.end_seq); it was a retransmission (TLP.is_retrans). */
  out = false;
  again = false;
  private end = 0 as Seq;

  sent(again: boolean, nxt: Seq): void {
    this.out = true;
    this.again = again;
    this.end = nxt;
  }

  /**
   * Section 7.4: an acknowledgment came. True when the probe made good a loss, to which congestion control must react.
   * `dsack`: it reports a duplicate; `plain`: it moves nothing and has no SACK.
   */
  acknowledged(ack: Seq, dsackEnd: Seq | undefined, plain: boolean): boolean {
    if (!this.out || !seqGe(ack, this.end)) return false;
    if (!this.again || dsackEnd === this.end) {
      this.out = false;
      return false;
    }
    if (seqGt(ack, this.end)) {
      this.out = false;
      return true;
    }
    if (plain) this.out = false;
    return false;
  }

  forget(): void {
    this.out = false;
  }
}

/** When to probe if nothing is heard (section 7.2); Infinity when not. */
export function probeTime(snd: Sender, now: Millis): Millis {
  const { recovery, rtt } = snd;
  if (!recovery.sack || recovery.mode !== OPEN || snd.tlp.out || snd.persisting)
    return Number.POSITIVE_INFINITY;
  const { sent } = recovery;
  if (sent.held > 0 || sent.head === undefined) return Number.POSITIVE_INFINITY;
  let wait = rtt.samples === 0 ? 1000 : 2 * rtt.srtt + PROBE_SLACK;
  if (snd.flight <= snd.mss) wait += WORST_DELAYED_ACK;
  // Not later than the retransmission timer, in whose place it then comes.
  return Math.min(Math.ceil(now + wait), snd.timerAt);
}

/** RFC 2883 section 4: where the duplicate ends that the first SACK block reports; undefined when it is none. */
export function dsackEnd(options: OptionsIn, ack: Seq): Seq | undefined {
  const { sack, sackCount } = options;
  if (sackCount === 0) return undefined;
  const start = sack[0]! as Seq;
  const end = sack[1]! as Seq;
  if (seqGe(ack, end)) return end;
  if (sackCount > 1 && seqGe(start, sack[2]! as Seq) && seqGe(sack[3]! as Seq, end)) return end;
  return undefined;
}
