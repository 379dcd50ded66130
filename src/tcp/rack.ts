/**
 * RACK (RFC 8985 section 6): a segment is lost when one that left later has arrived, and a reordering window has
 * passed. It sees lost retransmissions, which counting duplicates cannot, and learns how much a path reorders.
 */
import { seqGe, seqGt, seqLt, type Millis, type Seq } from '../core/index.js';
import { OUT, type Arrivals, type Run, type SentQueue } from './sent.js';

/** RFC 5681 section 3.2, RFC 8985 section 6.2 step 4. */
export const DUP_THRESHOLD = 3;
/** For how many recoveries a reordering window widened by D-SACK stays so (RFC 8985 section 6.2 step 4). */
const WIDE_FOR = 16;
/** The least round trip is that of the last one to two of these spans. */
const SPAN: Millis = 30_000;
/** What clocks are counted in; shorter round trips are told as none, ms. */
const TICK = 1;
/** So much may be missing from a span of time for the rounding of its parts, ms. */
const EARLY = 0.001;
const NEVER = Number.POSITIVE_INFINITY;

export class Rack implements Arrivals {
  /** Of the segment that left last of all that arrived: which departure it was (for RACK.xmit_ts), RACK.end_seq, RACK.rtt. */
  order = 0;
  end = 0 as Seq;
  rtt: Millis = 0;
  /** Round trip of the segment in hand that left last and only once; negative when there is none. */
  sample: Millis = -1;
  /**
   * The segment in hand tells that a first transmission arrived: of the first segment, which was sent again since (by its
   * timestamp, RFC 3522), or of what had left by departure `suspect` (RFC 5682 section 3 with SACK).
   */
  original = false;
  suspect = 0;
  /** The highest sequence number that arrived, and whether a lower one ever came later (RACK.reordering_seen). */
  private highest = 0 as Seq;
  reorders = false;
  private least = NEVER;
  private leastBefore = NEVER;
  private leastSince: Millis = 0;
  /** RACK.reo_wnd_mult, RACK.reo_wnd_persist, RACK.dsack_round. */
  private wide = 1;
  private wideFor = 0;
  private inRound = false;
  private roundEnd = 0 as Seq;
  private now: Millis = 0;
  private echoed: Millis = NEVER;
  private first = false;

  start(una: Seq, now: Millis): void {
    this.highest = una;
    this.end = una;
    this.leastSince = now;
  }

  /** RACK.min_RTT; 0 before the first sample. */
  get minRtt(): Millis {
    const least = Math.min(this.least, this.leastBefore);
    return least === NEVER ? 0 : least;
  }

  /** An acknowledgment came; `echoAge`: ms since the timestamp that it echoes, or -1. */
  begin(now: Millis, echoAge: Millis): void {
    this.now = now;
    this.echoed = echoAge < 0 ? NEVER : Math.floor(now) - echoAge;
    this.sample = -1;
    this.original = false;
    this.first = true;
    if (now - this.leastSince < SPAN) return;
    this.leastBefore = this.least;
    this.least = NEVER;
    this.leastSince = now;
  }

  /** What follows arrived by SACK, which echoes the timestamp of another segment. */
  selective(): void {
    this.echoed = NEVER;
    this.first = false;
  }

  /** Steps 1 to 3 for one run of bytes. */
  arrived(run: Run, end: Seq): void {
    const { sentAt, order } = run;
    const rtt = this.now - sentAt;
    if (run.again) {
      // It may be the first transmission that arrived.
      const old = Math.floor(sentAt) > this.echoed;
      if (old && this.first && !run.often) this.original = true;
      this.first = false;
      if (old || rtt < this.minRtt) return;
    } else {
      if (order <= this.suspect) this.original = true;
      this.first = false;
      this.sample = rtt;
      if (rtt < this.least) this.least = rtt;
      if (seqLt(end, this.highest)) this.reorders = true;
    }
    if (seqGt(end, this.highest)) this.highest = end;
    if (!later(order, end, this.order, this.end)) return;
    this.order = order;
    this.end = end;
    this.rtt = rtt;
  }

  /** Step 4: a D-SACK says that something was sent again without need; once a round trip that widens the window. */
  duplicated(una: Seq, nxt: Seq): void {
    if (this.inRound && seqGe(una, this.roundEnd)) this.inRound = false;
    if (this.inRound) return;
    this.inRound = true;
    this.roundEnd = nxt;
    this.wide++;
    this.wideFor = WIDE_FOR;
  }

  /** Step 4: a recovery is over. */
  recovered(): void {
    if (this.wideFor > 0 && --this.wideFor === 0) this.wide = 1;
  }

  /** Step 4: the reordering window, ms. */
  window(sent: SentQueue, mss: number, recovering: boolean, srtt: Millis): Millis {
    const many = sent.heldRanges >= DUP_THRESHOLD || sent.held > (DUP_THRESHOLD - 1) * mss;
    if (!this.reorders && (recovering || many)) return 0;
    return Math.min((this.wide * Math.max(this.minRtt, TICK)) / 4, Math.max(srtt, TICK));
  }

  /**
   * Step 5: marks what is lost; returns after how many ms the next may be, or Infinity.
   */
  detect(sent: SentQueue, window: Millis, now: Millis): Millis {
    let wait = Number.NEGATIVE_INFINITY;
    for (let run: Run | undefined = sent.head; run !== undefined; run = run.next) {
      if (run.state !== OUT) continue;
      if (later(run.order, run.end, this.order, this.end)) {
        // What follows left later still, unless this run left again.
        if (!run.again) break;
        continue;
      }
      const left = run.sentAt + this.rtt + window - now;
      if (left <= EARLY) sent.lose(run);
      else if (left > wait) wait = left;
    }
    return wait === Number.NEGATIVE_INFINITY ? NEVER : wait;
  }

  /** Section 6.3: the retransmission timer expired; the first segment is lost, and what is as old. */
  timeout(sent: SentQueue, mss: number, window: Millis, now: Millis): void {
    for (let run: Run | undefined = sent.head; run !== undefined; run = run.next)
      if (run.state === OUT && run.sentAt + this.rtt + window <= now) sent.lose(run);
    sent.loseFirst(mss);
  }
}

/** RACK_sent_after: of what left in one departure, the higher sequence number left later. */
function later(order: number, end: Seq, otherOrder: number, otherEnd: Seq): boolean {
  return order > otherOrder || (order === otherOrder && seqGt(end, otherEnd));
}
