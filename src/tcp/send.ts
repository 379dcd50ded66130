/**
 * The sending half: SND.UNA, SND.NXT, the peer's window, and the loop that turns the ring into segments. Sequence
 * numbers and the ring's positions both count modulo 2^32: position `ring.start` is SND.UNA once our SYN is acknowledged.
 */
import { seqDiff, seqGt, SendRing, type Budget, type Memory, type Millis, type Seq } from '../core/index.js';
import type { CongestionController } from './congestion/controller.js';
import type { TcpCounters } from './counters.js';
import { armProbe } from './loss.js';
import { FAST, Recovery } from './recovery.js';
import { RttEstimator } from './rtt.js';
import type { Run } from './sent.js';
import { TailProbe } from './tlp.js';
import { ACK, CWR, FIN, PSH } from './types.js';

/** When the peer names no MSS (RFC 9293 section 3.7.1). */
export const DEFAULT_MSS = 536;
/** A smaller MSS than this is taken for it: headers would outweigh the payload by an attacker's choice. */
export const MIN_MSS = 48;
/** The ECN field of new data on a connection with ECN (RFC 3168 section 5). */
const ECT_0 = 2;

/** Where segments go: the connection, which adds ACK, window and options. */
export interface SegmentSink {
  /** `ecn`: the ECN field of the packet, 0 or ECT(0). */
  emit(
    flags: number,
    seq: Seq,
    offset: number,
    length: number,
    gsoSize: number,
    ecn: number,
    now: Millis,
  ): void;
  /** Bytes of options beyond those in every segment (SACK): the payload gets that much shorter. */
  extraOptions(): number;
}

export class Sender {
  readonly ring: SendRing;
  readonly rtt = new RttEstimator();
  readonly recovery = new Recovery();
  readonly tlp = new TailProbe();
  readonly congestion: CongestionController;
  readonly counters: TcpCounters;
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
  /** When RACK looks again, or the tail is probed (RFC 8985 section 8); Infinity: not running. */
  lossAt: Millis = Number.POSITIVE_INFINITY;
  /** Timeouts or probes in a row without progress, and since when. */
  tries = 0;
  triesSince: Millis = 0;
  /** Our SYN left once, and when: its acknowledgment is the first sample. */
  timing = false;
  timedAt: Millis = 0;
  /** When the round trip was sampled last. */
  private sampledAt: Millis = 0;
  private lastSentAt: Millis = 0;
  /** RFC 3168: negotiated; the next new segment says CWR; and until when the window is not reduced once more. */
  ecn = false;
  cwr = false;
  reacting = false;
  reactedTo = 0 as Seq;
  private turnFlight = 0;
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
    congestion: CongestionController,
  ) {
    this.congestion = congestion;
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
    this.recovery.start(this.una, mss, sack, now);
  }

  /** FlightSize of RFC 5681, bytes of sequence space. */
  get flight(): number {
    return seqDiff(this.nxt, this.una);
  }

  /**
   * FlightSize when it was our turn to send last. Acknowledgments come in batches, and nothing leaves between them: in the
   * middle of a batch the flight is small because of that alone, and says nothing about the window.
   */
  get mostFlight(): number {
    return Math.max(this.flight, this.turnFlight);
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
    const more = this.send(sink, now, budget);
    this.turnFlight = this.flight;
    return more;
  }

  private send(sink: SegmentSink, now: Millis, budget: number): boolean {
    if (this.unsent === 0 && !this.recovery.pending && (this.finSent || !this.finWanted)) return false;
    if (this.nxt === this.una && now - this.lastSentAt > this.rtt.rto) this.congestion.idle(now);
    const mss = Math.max(this.mss - sink.extraOptions(), 1);
    let left = budget;
    while (left > 0 && this.recovery.pending && this.mayRetransmit()) {
      left -= this.retransmitNext(sink, mss, now);
    }
    const whole = this.gsoMax > mss ? this.gsoMax - (this.gsoMax % mss) : mss;
    const { nxt } = this;
    let more = false;
    for (;;) {
      // CWR belongs on one segment, and a super-segment becomes many.
      const n = this.nextLength(mss, this.cwr ? mss : whole);
      if (n === 0) break;
      more = left <= 0;
      if (more) break;
      this.sendNew(sink, n, mss, now);
      left -= n;
    }
    if (!more) {
      this.outputFin(sink, now, false);
      this.watchWindow(now);
    }
    this.remember(nxt, now);
    return more || (left <= 0 && this.recovery.pending && this.mayRetransmit());
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

  sendNew(sink: SegmentSink, n: number, mss: number, now: Millis): void {
    const at = this.nxt;
    const offset = (this.ring.start + this.flight) | 0;
    let flags = ACK;
    if (((offset + n) | 0) === this.ring.end) {
      flags |= PSH;
      if (this.finWanted && this.flight + n < this.wnd) flags |= FIN;
    }
    this.nxt = ((at + n + (flags & FIN)) | 0) as Seq;
    if ((flags & FIN) !== 0) this.finSent = true;
    if (this.cwr) {
      this.cwr = false;
      flags |= CWR;
    }
    this.probed = false;
    this.counters.bytesOut += n;
    this.sent(now);
    sink.emit(flags, at, offset, n, n > mss ? mss : 0, this.ecn ? ECT_0 : 0, now);
  }

  /** FIN, behind everything, when the window has room for it or none is asked for. */
  private outputFin(sink: SegmentSink, now: Millis, beyond: boolean): void {
    if (!this.finWanted || this.finSent || this.unsent > 0 || (!beyond && this.flight >= this.wnd)) return;
    const at = this.nxt;
    this.nxt = ((at + 1) | 0) as Seq;
    this.finSent = true;
    this.probed = false;
    this.sent(now);
    sink.emit(FIN | ACK, at, this.ring.end, 0, 0, 0, now);
  }

  private mayRetransmit(): boolean {
    const { recovery } = this;
    const run = recovery.sent.firstLost!;
    const ahead = seqDiff(run.start, this.una);
    if (ahead > 0 && ahead >= this.wnd) return false;
    if (recovery.urgent) return true;
    const room = this.congestion.cwnd - recovery.pipe(this.una, this.nxt);
    return room >= Math.min(this.mss, run.length);
  }

  /** Sends the first of what is lost again; returns the sequence space covered. */
  private retransmitNext(sink: SegmentSink, mss: number, now: Millis): number {
    const { recovery } = this;
    const run = recovery.sent.firstLost!;
    const at = run.start;
    recovery.urgent = false;
    if (recovery.mode === FAST) {
      this.counters.fastRetransmits++;
      if (at === this.una) this.timerAt = now + this.rtt.timeout();
    }
    return this.resend(sink, run, at, mss, now);
  }

  /** Sends again up to a segment from `at`, which lies in `run`; returns the sequence space covered. */
  resend(sink: SegmentSink, run: Run, at: Seq, mss: number, now: Millis): number {
    const { ring } = this;
    const offset = (ring.start + seqDiff(at, this.una)) | 0;
    const n = Math.min(mss, seqDiff(run.end, at), (ring.end - offset) | 0);
    let flags = ACK;
    if (((offset + n) | 0) === ring.end) {
      if (n > 0) flags |= PSH;
      if (this.finSent) flags |= FIN;
    }
    const covered = n + (flags & FIN);
    this.recovery.sent.resend(run, at, covered, now);
    this.recovery.resent(((at + covered) | 0) as Seq, covered);
    this.retransmits++;
    this.counters.retransmits++;
    this.persisting = false;
    if (this.timerAt === Number.POSITIVE_INFINITY) this.timerAt = now + this.rtt.timeout();
    // RFC 3168 section 6.1.5: what is sent again is not marked, and nor is a window probe.
    sink.emit(flags, at, offset, n, 0, 0, now);
    return covered;
  }

  /** What left for the first time, from `from` to SND.NXT, if anything did. */
  remember(from: Seq, now: Millis): void {
    if (from === this.nxt) return;
    this.recovery.sent.append(from, this.nxt, now);
    armProbe(this, now);
  }

  /** New data or FIN left: RFC 6298 section 5.1. */
  private sent(now: Millis): void {
    if (this.persisting || this.timerAt === Number.POSITIVE_INFINITY) {
      this.persisting = false;
      this.tries = 0;
      this.timerAt = now + this.rtt.timeout();
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
    const { unsent, nxt } = this;
    const n = Math.min(unsent, this.wnd, this.mss);
    if (n > 0) this.sendNew(sink, n, this.mss, now);
    else if (unsent === 0) this.outputFin(sink, now, true);
    else {
      this.probed = true;
      sink.emit(ACK, nxt, (this.ring.start + this.flight) | 0, 1, 0, 0, now);
    }
    this.remember(nxt, now);
  }

  /** A round trip was measured, or the acknowledged data tells none (negative). At most one sample a round trip counts. */
  measured(rtt: Millis, now: Millis): void {
    if (rtt >= 0) this.congestion.sample(rtt, now);
    if (rtt < 0) this.rtt.progressed();
    else if (this.rtt.backoff > 0 || now - this.sampledAt >= rtt) {
      this.sampledAt = now;
      this.rtt.sample(rtt);
    }
  }
}
