/**
 * One TCP connection (RFC 9293) without I/O. Segments and time come in by `input` and `onTimer`; segments go out through
 * the owner. `input` decides what is owed, `output` sends it: call it once after each batch of input, and whenever
 * `needsOutput` says so.
 *
 * The parts: `rcv` (receive.ts, assembler.ts), `snd` (send.ts, recovery.ts, rtt.ts, congestion/), state.ts for what follows
 * on what, input.ts for the segment rules in the order of the RFC, timers.ts for what happens when time runs out.
 */
import { seqAdd, type Millis, type SendRing, type Seq, type SliceQueue } from '../core/index.js';
import { Cubic } from './congestion/cubic.js';
import { NewReno } from './congestion/newreno.js';
import { createTcpCounters, type TcpCounters } from './counters.js';
import { Emitter } from './emit.js';
import { reuses, takeSyn, undelivered } from './handshake.js';
import { connectionInfo, type TcpInfo } from './info.js';
import { predicted, processSegment } from './input.js';
import { NEWS_ACKED, NEWS_ESTABLISHED, NEWS_FIN, NEWS_FINISHED, NEWS_RECEIVED } from './news.js';
import { tooBig } from './path-mtu.js';
import { DELAYED_ACK, Receiver } from './receive.js';
import { Sender, type SegmentSink } from './send.js';
import { nextState, peerClosed, type TcpEvent } from './state.js';
import { DISCARD_WAIT, expire, RING_IDLE } from './timers.js';
import {
  ACK,
  SYN,
  type SegmentIn,
  type TcpConnectionLike,
  type TcpEnd,
  type TcpOwner,
  type TcpSettings,
  type TcpState,
} from './types.js';
import { OptionsIn } from './wire/options.js';

const NEVER = Number.POSITIVE_INFINITY;
const OPTIONS = new OptionsIn();
const MIB = 1024 * 1024;

export class TcpConnection implements TcpConnectionLike, SegmentSink {
  state: TcpState = 'CLOSED';
  readonly owner: TcpOwner;
  /** The owner's own; TCP does not look at it. */
  user: unknown = undefined;
  /** In-order payload for the application; tell `consumed` what was taken. */
  readonly received: SliceQueue;
  /** What the application sends; tell `wrote`. */
  readonly ring: SendRing;
  /** No data leaves while the link takes none; acknowledgments do. */
  holdOutput = false;
  /** `output` has something to do. */
  needsOutput = false;

  readonly snd: Sender;
  readonly rcv: Receiver;
  readonly counters: TcpCounters;
  readonly settings: TcpSettings;
  /** Options of the segment in hand: of all connections, for segments come one after the other. */
  readonly options = OPTIONS;
  /** Negotiated. */
  timestamps = false;
  sack = false;
  scaling = false;
  /** A SYN is waiting for `accept`, `refuse` or `drop`. */
  deferred = false;
  /** We sent the first SYN. */
  active = false;
  /** The application reads no more. */
  discarding = false;
  /** CLOSE came before the handshake was done. */
  closeWanted = false;
  /** All is said on the wire; the application has yet to take what was received. */
  lingering = false;
  /** NEWS bits. */
  news = 0;
  /** Delayed acknowledgment; TIME-WAIT or FIN-WAIT-2. */
  ackAt: Millis = NEVER;
  waitAt: Millis = NEVER;
  /** The peer was heard last; when to ask whether it is still there, how often that was done, and when last. */
  heardAt: Millis = 0;
  keepAt: Millis = NEVER;
  keepTries = 0;
  keptAt: Millis = 0;
  /** When to look whether the send ring's memory is idle. */
  idleAt: Millis = NEVER;
  private scheduled: Millis = NEVER;
  readonly emitter: Emitter;

  constructor(owner: TcpOwner, settings: TcpSettings) {
    this.owner = owner;
    this.settings = settings;
    this.counters = settings.counters ?? createTcpCounters();
    this.snd = new Sender(
      settings.memory,
      settings.sendBuffer ?? MIB,
      settings.iss,
      settings.gsoMax ?? 0,
      this.counters,
      settings.budget,
      settings.congestion === 'newreno' ? new NewReno() : new Cubic(),
    );
    const cap = settings.receiveWindow ?? MIB;
    this.rcv = new Receiver(settings.pool, cap, settings.mss, settings.receiveStart ?? cap, settings.budget);
    this.received = this.rcv.queue;
    this.ring = this.snd.ring;
    this.emitter = new Emitter(settings);
  }

  /** Most bytes to advertise, at most the settings' `receiveWindow`. What was advertised stays so. */
  get windowLimit(): number {
    return this.rcv.limit;
  }

  set windowLimit(bytes: number) {
    this.rcv.allow(bytes);
    this.checkWindow();
  }

  /** Active open (RFC 9293 section 3.10.1): sends a SYN. */
  connect(now: Millis): void {
    if (this.state !== 'CLOSED' || this.lingering) return;
    this.transition('open');
    this.active = true;
    this.snd.nxt = seqAdd(this.snd.iss, 1);
    this.snd.triesSince = now;
    this.snd.timing = true;
    this.snd.timedAt = now;
    this.emitter.syn(this, SYN, now);
    this.armHandshake(now);
  }

  /**
   * Takes a SYN and waits: nothing leaves before `accept`, `refuse` or `drop`. Text on the SYN is left for the peer to
   * send again.
   */
  listen(segment: SegmentIn, now: Millis): void {
    if (this.state !== 'CLOSED' || this.lingering) return;
    this.counters.segmentsIn++;
    this.transition('listen');
    this.deferred = true;
    takeSyn(this, segment, now);
  }

  /** The application wants the waiting connection: SYN-ACK leaves, and again until it is acknowledged. */
  accept(now: Millis): void {
    if (!this.deferred) return;
    this.deferred = false;
    this.snd.nxt = seqAdd(this.snd.iss, 1);
    this.snd.triesSince = now;
    this.snd.timing = true;
    this.snd.timedAt = now;
    this.emitter.syn(this, SYN | ACK, now);
    this.armHandshake(now);
  }

  /** The application does not want it: RST, as from a port where nobody listens. */
  refuse(_now: Millis): void {
    if (!this.deferred) return;
    this.emitter.reset(this, 0 as Seq, true);
    this.end('aborted');
  }

  /** Ends without a word, in any state. */
  drop(): void {
    if (this.state === 'CLOSED' && !this.lingering) return;
    this.end(this.state === 'TIME-WAIT' ? 'closed' : 'aborted');
  }

  /** A segment for this connection; lent for the call. Callbacks come at its end. */
  input(segment: SegmentIn, now: Millis): void {
    this.counters.segmentsIn++;
    this.heardAt = now;
    if (this.state !== 'ESTABLISHED' || !predicted(this, segment, now)) processSegment(this, segment, now);
    if (this.news !== 0) this.tell();
    this.needsOutput = this.state !== 'CLOSED';
    this.reschedule();
  }

  /**
   * Sends data, FIN and acknowledgments as windows allow, at most about `budget` bytes of data. Returns true when
   * the budget alone stopped it.
   */
  output(now: Millis, budget = NEVER): boolean {
    this.needsOutput = false;
    const { state } = this;
    if (state === 'CLOSED' || state === 'SYN-SENT' || state === 'SYN-RECEIVED') return false;
    const more = !this.holdOutput && this.snd.output(this, now, budget);
    if (this.rcv.ackNow) this.emitAck(now);
    else if (this.rcv.unacked > 0 && this.ackAt === NEVER) this.ackAt = now + DELAYED_ACK;
    this.reschedule();
    this.needsOutput = more;
    return more;
  }

  /** The ring got more; `output` is next. */
  wrote(_now?: Millis): void {
    this.needsOutput = true;
  }

  /** The application took `n` bytes from `received`. */
  consumed(n: number, now: Millis): void {
    if (n <= 0) return;
    this.rcv.took(n, now);
    if (this.lingering) {
      if (this.received.bytes === 0) this.end('closed');
      return;
    }
    if (this.received.bytes === 0) this.idleAt = now + RING_IDLE;
    this.checkWindow();
  }

  /** The application writes no more (RFC 9293 section 3.10.4): FIN behind what the ring holds. */
  close(now: Millis): void {
    const { state } = this;
    if (state === 'CLOSED') return;
    if (state === 'SYN-SENT' || state === 'SYN-RECEIVED') {
      this.closeWanted = true;
      return;
    }
    if (this.snd.finWanted) return;
    this.snd.finWanted = true;
    this.transition('close');
    this.needsOutput = true;
    if (this.snd.unsent === 0) this.output(now);
  }

  /** RFC 9293 section 3.10.5: RST, and all is forgotten. */
  abort(now: Millis): void {
    const { state } = this;
    if (state === 'CLOSED') {
      if (this.lingering) this.end('aborted');
      return;
    }
    if (this.deferred) {
      this.refuse(now);
      return;
    }
    if (state !== 'SYN-SENT' && state !== 'TIME-WAIT') this.emitter.reset(this, this.snd.nxt, true);
    this.end('aborted');
  }

  /**
   * The application reads no more. What comes is answered with RST, and what it has not read already is a loss to be
   * told by RST too (RFC 1122 section 4.2.2.13).
   */
  discard(now: Millis): void {
    if (this.discarding) return;
    this.discarding = true;
    if (this.lingering) this.end('closed');
    else if (this.received.bytes > 0 || this.rcv.assembler.bytes > 0) this.abort(now);
    else if (this.state === 'FIN-WAIT-2') this.waitAt = now + DISCARD_WAIT;
    this.reschedule();
  }

  /** Called when the time given to `schedule` has come. */
  onTimer(now: Millis): void {
    this.scheduled = NEVER;
    if (this.state === 'CLOSED') return;
    expire(this, now);
    this.reschedule();
  }

  /** ICMP says that the segment with this sequence number did not arrive; `hard`: nor will another. */
  unreachable(at: Seq, hard: boolean): void {
    undelivered(this, at, hard);
  }

  /** ICMP says that the segment with this sequence number was too long for a path of `mtu` bytes; 0: not told. */
  tooBig(at: Seq, mtu: number): void {
    tooBig(this, at, mtu);
  }

  /** May a SYN take this connection's place (RFC 6191, RFC 9293 section 3.6.1)? Then `drop` it and open anew. */
  mayReuse(segment: SegmentIn, _now: Millis): boolean {
    return reuses(this, segment);
  }

  /** Everything for `flows --tcp`. */
  info(): TcpInfo {
    return connectionInfo(this);
  }

  // What follows is for the other files of this folder.

  transition(event: TcpEvent): void {
    this.state = nextState(this.state, event);
  }

  enterTimeWait(now: Millis): void {
    this.snd.timerAt = NEVER;
    this.snd.lossAt = NEVER;
    this.keepAt = NEVER;
    this.ring.free();
    this.waitAt = now + (this.settings.timeWait ?? 60_000);
  }

  emit(
    flags: number,
    seq: Seq,
    offset: number,
    length: number,
    gsoSize: number,
    ecn: number,
    now: Millis,
  ): void {
    this.ackAt = NEVER;
    this.emitter.segment(this, flags, seq, offset, length, gsoSize, ecn, now);
  }

  extraOptions(): number {
    return this.emitter.extraOptions(this);
  }

  emitAck(now: Millis): void {
    this.emit(ACK, this.snd.nxt, 0, 0, 0, 0, now);
  }

  armHandshake(now: Millis): void {
    this.snd.timerAt = now + this.snd.rtt.timeout();
    this.reschedule();
  }

  /** The last word: gives all memory back and tells the owner. */
  end(end: TcpEnd): void {
    this.state = 'CLOSED';
    this.lingering = false;
    this.deferred = false;
    this.news = 0;
    this.forgetTimers();
    this.rcv.release();
    this.ring.free();
    this.owner.closed(this, end);
  }

  /** All was exchanged: the end comes when the application has taken its bytes. */
  finish(): void {
    if (this.received.bytes === 0 || this.discarding) {
      this.end('closed');
      return;
    }
    this.state = 'CLOSED';
    this.lingering = true;
    this.ring.free();
    this.forgetTimers();
  }

  private forgetTimers(): void {
    this.ackAt = NEVER;
    this.waitAt = NEVER;
    this.idleAt = NEVER;
    this.keepAt = NEVER;
    this.snd.timerAt = NEVER;
    this.snd.lossAt = NEVER;
    this.reschedule();
  }

  /** Callbacks, when the connection is consistent again; any of them may end it. */
  private tell(): void {
    const { news, owner } = this;
    this.news = 0;
    if ((news & NEWS_ESTABLISHED) !== 0) owner.established(this);
    if ((news & NEWS_ACKED) !== 0 && this.alive()) owner.acknowledged(this);
    if ((news & NEWS_RECEIVED) !== 0 && this.alive()) owner.received(this);
    if ((news & NEWS_FIN) !== 0 && this.alive()) owner.receivedFin(this);
    if ((news & NEWS_FINISHED) !== 0 && this.alive()) this.finish();
  }

  private alive(): boolean {
    return this.state !== 'CLOSED';
  }

  private checkWindow(): void {
    if (this.state === 'CLOSED' || this.state === 'SYN-SENT' || this.state === 'SYN-RECEIVED') return;
    if (peerClosed(this.state) || !this.rcv.updateDue()) return;
    this.rcv.ackNow = true;
    this.needsOutput = true;
  }

  private reschedule(): void {
    const at = Math.min(this.snd.timerAt, this.snd.lossAt, this.ackAt, this.waitAt, this.idleAt, this.keepAt);
    if (at === this.scheduled) return;
    this.scheduled = at;
    this.owner.schedule(this, at);
  }
}
