/**
 * The receiving half: RCV.NXT, the advertised window, acknowledgments owed, timestamps to echo. It sends nothing;
 * the connection asks it what to put in the next segment.
 */
import {
  seqDiff,
  seqGe,
  seqGt,
  seqLe,
  seqLt,
  type Block,
  type BlockPool,
  type Budget,
  type Millis,
  type Seq,
  SliceQueue,
} from '../core/index.js';
import { Assembler } from './assembler.js';
import { MAX_SCALE } from './wire/options.js';

/** RFC 9293 section 3.8.6.3 allows 500 ms; kernels use 40 ms. */
export const DELAYED_ACK = 40;
/** Segments acknowledged at once at the start and after a loss, so that the peer's window opens fast. */
export const QUICK_ACKS = 16;
/** A consumer that drains a whole window within FAST ms gets twice the window; one that takes SLOW ms, half of it. */
export const FAST_DRAIN: Millis = 100;
export const SLOW_DRAIN: Millis = 1000;
/** A window is not halved below this, bytes. */
export const LEAST_TUNED = 64 * 1024;
/** What a connection may hold whatever its budget says, bytes. */
export const RECEIVE_FLOOR = 4 * 1024;
/** A timestamp older than this is no longer compared (RFC 7323 section 5.5). */
const TIMESTAMP_LIFE = 24 * 24 * 3600 * 1000;

export class Receiver {
  readonly queue: SliceQueue;
  readonly assembler: Assembler;
  /**
   * The most the window may be, bytes: the cap; what the owner allows; what the consumer has shown use for. `limit` is the
   * least of them.
   */
  readonly cap: number;
  private ceiling: number;
  private tuned: number;
  limit = 0;
  /** Bytes that the consumer took since `drainedFrom`. */
  private drained = 0;
  private drainedFrom: Millis = 0;
  private readonly budget: Budget | undefined;
  /** Bytes that the budget knows of. */
  private charged = 0;
  irs = 0 as Seq;
  nxt = 0 as Seq;
  /** The right edge that was advertised; never moves back. */
  edge = 0 as Seq;
  /** What our SYN promised. */
  private synPromise = 0;
  /** Our shift count: 0 until negotiated. */
  scale = 0;
  /** The most that the window field can say; the most the window may be now. */
  private fieldMost = 0;
  private most = 0;
  /** What the right edge must gain to be moved (RFC 9293 section 3.8.6.2.2). */
  private leastGain = 0;
  /** Largest segment seen, bounded by our MSS: two of them are acknowledged at once. */
  mss = 536;
  readonly ownMss: number;
  /** An acknowledgment is due now; `unacked` bytes wait for a delayed one. */
  ackNow = false;
  unacked = 0;
  quick = QUICK_ACKS;
  /**
   * So many segments in order are acknowledged one by one, and not a batch at once: segments were lost, so acknowledgments
   * are, and a sender whose window is small cannot tell a lost one from a lost flight.
   */
  singly = 0;
  /** The peer's FIN, when its place is known. */
  finKnown = false;
  finAt = 0 as Seq;
  /** TS.Recent, its age, and Last.ACK.sent (RFC 7323 section 4.3). */
  tsRecent = 0;
  tsRecentAt: Millis = 0;
  lastAck = 0 as Seq;
  /** A packet came marked (RFC 3168): every acknowledgment says ECE until the peer says CWR. */
  echo = false;
  /** A duplicate to report (RFC 2883); none when equal. */
  dsackFrom = 0 as Seq;
  dsackTo = 0 as Seq;
  /** Payload bytes that came in order. */
  total = 0;

  /** `start`: the limit at first, before it tunes itself between LEAST_TUNED and the cap. */
  constructor(pool: BlockPool, cap: number, mss: number, start: number, budget: Budget | undefined) {
    this.queue = new SliceQueue(pool);
    this.assembler = new Assembler(pool);
    this.cap = cap;
    this.ceiling = cap;
    this.tuned = Math.min(start, cap);
    this.budget = budget;
    this.ownMss = mss;
    this.shape();
  }

  /** The shift count that our cap asks for (RFC 7323 section 2.3). */
  wantedScale(): number {
    let scale = 0;
    while (this.cap / (1 << scale) > 65535 && scale < MAX_SCALE) scale++;
    return scale;
  }

  /** The window of a SYN, which is never scaled; it promises that much behind the SYN. */
  synWindow(): number {
    this.synPromise = Math.min(this.limit, 65535);
    return this.synPromise;
  }

  /** The peer's SYN came, to be answered with `synWindow`. */
  start(irs: Seq, now: Millis): void {
    this.irs = irs;
    this.nxt = ((irs + 1) | 0) as Seq;
    this.lastAck = this.nxt;
    this.edge = ((this.nxt + this.synPromise) | 0) as Seq;
    this.tsRecentAt = now;
  }

  /** A SYN-ACK leaves: returns its window field. */
  promise(): number {
    const window = this.synWindow();
    const edge = ((this.nxt + window) | 0) as Seq;
    if (seqGt(edge, this.edge)) this.edge = edge;
    return window;
  }

  /** RCV.WND: what may still come, bytes. */
  get window(): number {
    return seqDiff(this.edge, this.nxt);
  }

  /** What the owner allows, bytes. What was advertised stays so. */
  allow(bytes: number): void {
    if (bytes === this.ceiling) return;
    this.ceiling = bytes;
    this.shape();
  }

  /** The handshake settled our shift count. */
  scaled(scale: number): void {
    this.scale = scale;
    this.shape();
  }

  /** What follows from the limits and the shift count is reckoned here, once. */
  private shape(): void {
    const { scale } = this;
    const limit = (this.limit = Math.max(Math.min(this.cap, this.ceiling, this.tuned), 0));
    this.fieldMost = 65535 * (1 << scale);
    this.most = Math.min(limit, this.fieldMost);
    this.leastGain = Math.max(Math.min(this.most >> 1, this.ownMss), 1);
  }

  private get free(): number {
    return Math.max(Math.min(this.limit - this.queue.bytes, this.fieldMost), 0);
  }

  /** The window field of the segment that is about to leave; moves the right edge when that is worth it. */
  advertise(): number {
    const { scale } = this;
    const unit = 1 << scale;
    let left = this.window;
    const free = this.free & -unit;
    if (free - left >= this.leastGain) left = free;
    let field = left >>> scale;
    // Rounding down would move the edge back a little, rounding up forward; up, but not without bound.
    if ((left & (unit - 1)) !== 0 && this.queue.bytes + left <= this.cap + (this.cap >> 4)) field++;
    if (field > 65535) field = 65535;
    const edge = ((this.nxt + field * unit) | 0) as Seq;
    if (seqGt(edge, this.edge)) this.edge = edge;
    return field;
  }

  /** The application took bytes: is it time to tell the peer? From a nearly closed window two segments are enough. */
  updateDue(): boolean {
    const { most, window } = this;
    const gain = (this.free & -(1 << this.scale)) - window;
    if (gain < this.leastGain) return false;
    const two = 2 * this.ownMss;
    return gain >= most >> 2 || (window < two && gain >= Math.min(two, most >> 1));
  }

  /** The application took `n` bytes: the window follows what it drains in FAST_DRAIN. */
  took(n: number, now: Millis): void {
    this.settle();
    this.drained += n;
    const { tuned } = this;
    if (this.drained < tuned) return;
    const span = now - this.drainedFrom;
    this.drained = 0;
    this.drainedFrom = now;
    if (span <= FAST_DRAIN) this.tuned = Math.min(tuned * 2, this.cap);
    else if (span >= SLOW_DRAIN) this.tuned = Math.min(Math.max(tuned / 2, LEAST_TUNED), this.cap);
    if (this.tuned !== tuned) this.shape();
  }

  /** How many of `length` new bytes may be kept: all, unless the budget is used up. */
  admits(length: number): number {
    const { budget } = this;
    if (budget?.full !== true) return length;
    const room = Math.max(RECEIVE_FLOOR - this.queue.bytes - this.assembler.bytes, 0);
    if (room >= length) return length;
    budget.refused++;
    return room;
  }

  /** Tells the budget what is held. */
  private settle(): void {
    if (this.budget === undefined) return;
    const held = this.queue.bytes + this.assembler.bytes;
    if (held === this.charged) return;
    this.budget.add(held - this.charged);
    this.charged = held;
  }

  /** RFC 9293 section 3.10.7.4, first check: the acceptability test. `length`: in sequence space, SYN and FIN included. */
  acceptable(at: Seq, length: number): boolean {
    const { nxt, window } = this;
    if (length === 0) return window === 0 ? at === nxt : seqGe(at, nxt) && seqLt(at, this.edge);
    if (window === 0) return false;
    const last = ((at + length - 1) | 0) as Seq;
    return (seqGe(at, nxt) && seqLt(at, this.edge)) || (seqGe(last, nxt) && seqLt(last, this.edge));
  }

  /** Text that begins at RCV.NXT and fits the window. */
  append(block: Block, offset: number, length: number): void {
    this.queue.push(block, offset, length);
    this.advance(length);
    this.unacked += length;
    if (length > this.mss) this.mss = Math.min(length, this.ownMss);
    if (this.quick > 0) {
      this.quick--;
      this.ackNow = true;
    } else if (this.unacked >= 2 * this.mss) {
      this.ackNow = true;
    }
    if (this.assembler.ranges > 0) {
      // RFC 5681 section 4.2: at once when it fills a gap.
      this.ackNow = true;
      this.advance(this.assembler.drain(this.nxt, this.queue));
    }
    this.settle();
  }

  /** Text beyond RCV.NXT, trimmed to the window; returns how many bytes of it were kept. */
  store(at: Seq, block: Block, offset: number, length: number): number {
    const { assembler } = this;
    this.hurry();
    const kept = assembler.add(at, block, offset, length);
    this.settle();
    if (assembler.twiceFrom !== assembler.twiceTo) this.duplicate(assembler.twiceFrom, assembler.twiceTo);
    return kept;
  }

  /** Remembers a duplicate for the next acknowledgment (RFC 2883 section 4). */
  duplicate(from: Seq, to: Seq): void {
    this.dsackFrom = from;
    this.dsackTo = to;
    this.hurry();
  }

  /** PAWS (RFC 7323 section 5.3 R1): the timestamp is older than the last good one. */
  tooOld(tsval: number, now: Millis): boolean {
    return ((tsval - this.tsRecent) | 0) < 0 && now - this.tsRecentAt < TIMESTAMP_LIFE;
  }

  /** RFC 7323 section 4.3 (2). */
  noteTimestamp(tsval: number, at: Seq, now: Millis): void {
    if (seqGt(at, this.lastAck) || this.tooOld(tsval, now)) return;
    this.tsRecent = tsval;
    this.tsRecentAt = now;
  }

  /** A segment with our acknowledgment is leaving. */
  acknowledged(): void {
    this.lastAck = this.nxt;
    this.ackNow = false;
    this.unacked = 0;
    this.dsackTo = this.dsackFrom;
  }

  /** Where text ends because the peer's FIN stands there; `end` when that is not known. */
  beforeFin(end: Seq): Seq {
    return this.finKnown && seqLt(this.finAt, end) ? this.finAt : end;
  }

  /** The FIN's place is reached. */
  get finDue(): boolean {
    return this.finKnown && seqLe(this.finAt, this.nxt);
  }

  release(): void {
    this.queue.clear();
    this.assembler.clear();
    this.settle();
  }

  private hurry(): void {
    this.quick = QUICK_ACKS;
    this.singly = QUICK_ACKS;
  }

  private advance(n: number): void {
    this.nxt = ((this.nxt + n) | 0) as Seq;
    this.total += n;
  }
}
