/**
 * The sending half: SND.UNA, SND.NXT, the peer's window, and the loop that turns the ring into segments. Sequence
 * numbers and the ring's positions both count modulo 2^32: position `ring.start` is SND.UNA once our SYN is acknowledged.
 */
import { seqDiff, seqGt, SendRing, type Budget, type Memory, type Millis, type Seq } from '../core/index.js';
import type { CongestionController } from './congestion/controller.js';
import { NewReno } from './congestion/newreno.js';
import type { TcpCounters } from './counters.js';
import { FAST, OPEN, Recovery } from './recovery.js';
import { RttEstimator } from './rtt.js';
import { ACK, FIN, PSH } from './types.js';

/** When the peer names no MSS (RFC 9293 section 3.7.1). */
export const DEFAULT_MSS = 536;
/** A smaller MSS than this is taken for it: headers would outweigh the payload by an attacker's choice. */
export const MIN_MSS = 48;

/** Where segments go: the connection, which adds ACK, window and options. */
export interface SegmentSink {
  emit(flags: number, seq: Seq, offset: number, length: number, gsoSize: number, now: Millis): void;
  /** Bytes of options beyond those in every segment (SACK): the payload gets that much shorter. */
  extraOptions(): number;
}

export class Sender {
  readonly ring: SendRing;
  readonly rtt = new RttEstimator();
  readonly recovery = new Recovery();
  readonly congestion: CongestionController = new NewReno();
  private readonly counters: TcpCounters;
  private readonly gsoMax: number;
  iss: Seq;
  una: Seq;
  nxt: Seq;
  /** The peer's window, and the segment that told it (SND.WND, SND.WL1, SND.WL2), and the largest it ever was. */
  wnd = 0;
  wl1 = 0 as Seq;
  wl2 = 0 as Seq;
  maxWnd = 0;
  /** The peer's shift count. */
  scale = 0;
  /** Payload per segment, the options of every segment subtracted. */
  mss = DEFAULT_MSS;
  /** The application writes no more; our FIN has been sent (it then lies just before SND.NXT). */
  finWanted = false;
  finSent = false;
  /** One byte beyond SND.NXT is out as a window probe. */
  probed = false;
  /** Probing a closed window: the retransmission timer is the persist timer. */
  persisting = false;
  /** When the retransmission timer fires; Infinity: not running. */
  timerAt: Millis = Number.POSITIVE_INFINITY;
  /** Timeouts or probes in a row without progress, and since when. */
  tries = 0;
  triesSince: Millis = 0;
  /** The one timed segment (RFC 6298 section 3), when timestamps do not tell. */
  timing = false;
  timedSeq = 0 as Seq;
  timedAt: Millis = 0;
  private lastSentAt: Millis = 0;
  /** Segments sent again on this connection. */
  retransmits = 0;
  /** Payload bytes that were acknowledged. */
  acked = 0;

  constructor(
    memory: Memory,
    buffer: number,
    iss: Seq,
    gsoMax: number,
    counters: TcpCounters,
    budget: Budget | undefined,
  ) {
    this.ring = new SendRing(memory, buffer, budget);
    this.iss = iss;
    this.una = iss;
    this.nxt = iss;
    this.gsoMax = gsoMax;
    this.counters = counters;
  }

  /** The handshake is done; `mss`: what a segment carries. */
  start(mss: number, sack: boolean, now: Millis): void {
    this.mss = mss;
    this.lastSentAt = now;
    this.congestion.start(mss);
    this.recovery.start(this.una, mss, sack);
  }

  /** FlightSize of RFC 5681, bytes of sequence space. */
  get flight(): number {
    return seqDiff(this.nxt, this.una);
  }

  /** The highest acknowledgment that makes sense. */
  get max(): Seq {
    return this.probed ? (((this.nxt + 1) | 0) as Seq) : this.nxt;
  }

  /** Bytes in the ring that were never sent. */
  get unsent(): number {
    return this.finSent ? 0 : this.ring.bytes - seqDiff(this.nxt, this.una);
  }

  /**
   * RFC 9293 section 3.10.7.4, fifth check: the window of an acceptable segment. One that acknowledges something new is
   * always taken at its word: text that is sent again may bring it with an old sequence number, and SND.UNA plus the old
   * window would lie beyond what was ever offered.
   */
  updateWindow(seq: Seq, ack: Seq, window: number): void {
    const older = seqGt(this.wl1, seq) || (this.wl1 === seq && seqGt(this.wl2, ack));
    if (older && !seqGt(ack, this.una)) return;
    this.wnd = window;
    this.wl1 = seq;
    this.wl2 = ack;
    if (window > this.maxWnd) this.maxWnd = window;
  }

  /**
   * Sends what windows and budget (bytes) allow: what was lost, then new data, then FIN. Returns true when only
   * the budget stopped it.
   */
  output(sink: SegmentSink, now: Millis, budget: number): boolean {
    if (this.unsent === 0 && !this.recovery.pending && (this.finSent || !this.finWanted)) return false;
    if (this.nxt === this.una && now - this.lastSentAt > this.rtt.rto) this.congestion.idle();
    const mss = Math.max(this.mss - sink.extraOptions(), 1);
    let left = budget;
    while (left > 0 && this.recovery.pending && this.mayRetransmit()) {
      const sent = this.retransmitNext(sink, mss, now);
      if (sent === 0) break;
      left -= sent;
    }
    const chunk = this.gsoMax > mss ? this.gsoMax - (this.gsoMax % mss) : mss;
    for (;;) {
      const n = this.nextLength(mss, chunk);
      if (n === 0) break;
      if (left <= 0) return true;
      this.sendNew(sink, n, mss, now);
      left -= n;
    }
    this.outputFin(sink, now);
    this.watchWindow(now);
    return left <= 0 && this.recovery.pending && this.mayRetransmit();
  }

  /** Length of the next new segment; 0: none may leave (RFC 9293 section 3.8.6.2.1, with Nagle's algorithm off). */
  private nextLength(mss: number, chunk: number): number {
    const { unsent } = this;
    if (unsent <= 0) return 0;
    const window = this.wnd - this.flight;
    const room = this.congestion.cwnd - this.recovery.pipe(this.una, this.nxt);
    let n = Math.min(unsent, window, room, chunk);
    if (n > mss && n < unsent) n -= n % mss;
    if (n >= mss || n === unsent) return n;
    // Part of what waits: only into half of the largest window, and never in bits of a congestion window.
    return n > 0 && n === window && n >= this.maxWnd / 2 ? n : 0;
  }

  private sendNew(sink: SegmentSink, n: number, mss: number, now: Millis): void {
    const at = this.nxt;
    const offset = (this.ring.start + this.flight) | 0;
    let flags = ACK;
    if (((offset + n) | 0) === this.ring.end) {
      flags |= PSH;
      if (this.finWanted && this.flight + n < this.wnd) flags |= FIN;
    }
    this.nxt = ((at + n + (flags & FIN)) | 0) as Seq;
    if ((flags & FIN) !== 0) this.finSent = true;
    this.probed = false;
    this.counters.bytesOut += n;
    this.sent(now);
    sink.emit(flags, at, offset, n, n > mss ? mss : 0, now);
  }

  private outputFin(sink: SegmentSink, now: Millis): void {
    if (!this.finWanted || this.finSent || this.unsent > 0 || this.flight >= this.wnd) return;
    this.sendFin(sink, now);
  }

  private sendFin(sink: SegmentSink, now: Millis): void {
    const at = this.nxt;
    this.nxt = ((at + 1) | 0) as Seq;
    this.finSent = true;
    this.probed = false;
    this.sent(now);
    sink.emit(FIN | ACK, at, this.ring.end, 0, 0, now);
  }

  private mayRetransmit(): boolean {
    const { recovery } = this;
    if (!recovery.skipHeld(this.una)) return false;
    const ahead = seqDiff(recovery.rxt, this.una);
    if (ahead > 0 && ahead >= this.wnd) return false;
    if (recovery.urgent) return true;
    const room = this.congestion.cwnd - recovery.pipe(this.una, this.nxt);
    return room >= Math.min(this.mss, seqDiff(recovery.lost, recovery.rxt));
  }

  /** Sends again from `rxt`; returns the sequence space covered. */
  private retransmitNext(sink: SegmentSink, mss: number, now: Millis): number {
    const { recovery, ring } = this;
    const at = recovery.rxt;
    const stop = recovery.board.nextStart(at, recovery.lost);
    const offset = (ring.start + seqDiff(at, this.una)) | 0;
    const n = Math.max(Math.min(mss, seqDiff(stop, at), (ring.end - offset) | 0), 0);
    let flags = ACK;
    if (((offset + n) | 0) === ring.end) {
      if (n > 0) flags |= PSH;
      if (this.finSent) flags |= FIN;
    }
    const covered = n + (flags & FIN);
    if (covered === 0) return 0;
    recovery.rxt = ((at + covered) | 0) as Seq;
    recovery.urgent = false;
    // Karn's algorithm: what is sent twice is not timed.
    this.timing = false;
    this.retransmits++;
    this.counters.retransmits++;
    if (recovery.mode === FAST) {
      this.counters.fastRetransmits++;
      if (at === this.una) this.timerAt = now + this.rtt.timeout();
    }
    this.persisting = false;
    if (this.timerAt === Number.POSITIVE_INFINITY) this.timerAt = now + this.rtt.timeout();
    sink.emit(flags, at, offset, n, 0, now);
    return covered;
  }

  /** New data or FIN left: RFC 6298 section 5.1. */
  private sent(now: Millis): void {
    if (this.persisting || this.timerAt === Number.POSITIVE_INFINITY) {
      this.persisting = false;
      this.tries = 0;
      this.timerAt = now + this.rtt.timeout();
    }
    // During recovery an acknowledgment waits for what was lost, which is no round trip.
    if (!this.timing && this.recovery.mode === OPEN) {
      this.timing = true;
      this.timedSeq = this.nxt;
      this.timedAt = now;
    }
    this.lastSentAt = now;
  }

  /** RFC 9293 section 3.8.6.1: something waits, nothing is out to bring an acknowledgment, and the window is shut. */
  private watchWindow(now: Millis): void {
    if (this.flight > 0 || this.persisting) return;
    if (this.unsent === 0 && (!this.finWanted || this.finSent)) return;
    this.persisting = true;
    this.tries = 0;
    this.triesSince = now;
    this.timerAt = now + this.rtt.timeout();
  }

  /** The persist timer expired: what fits the window, or one byte beyond it, or FIN. */
  probe(sink: SegmentSink, now: Millis): void {
    this.rtt.expired();
    this.timerAt = now + this.rtt.timeout();
    this.counters.windowProbes++;
    const { unsent } = this;
    if (unsent === 0) {
      if (this.finWanted && !this.finSent) this.sendFin(sink, now);
      return;
    }
    const n = Math.min(unsent, this.wnd, this.mss);
    if (n > 0) {
      this.sendNew(sink, n, this.mss, now);
      return;
    }
    this.probed = true;
    sink.emit(ACK, this.nxt, (this.ring.start + this.flight) | 0, 1, 0, now);
  }

  /** The retransmission timer expired (RFC 6298 sections 5.4 to 5.6): the caller outputs next. */
  timeout(now: Millis): void {
    const again = this.recovery.mode !== OPEN && this.tries > 1;
    this.congestion.timeout(this.flight, again, now);
    this.recovery.timeout(this.una, this.nxt);
    this.rtt.expired();
    this.timing = false;
    this.timerAt = now + this.rtt.timeout();
    this.counters.timeouts++;
  }
}
