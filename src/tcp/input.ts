/**
 * SEGMENT ARRIVES (RFC 9293 section 3.10.7) for a connection that exists, in the order of the RFC. LISTEN is the
 * stack's (`TcpConnection.listen`), CLOSED is `respondToUnknown`.
 */
import { seqAdd, seqDiff, seqGe, seqGt, seqLe, seqLt, type Millis, type Seq } from '../core/index.js';
import { takeAck } from './acknowledge.js';
import type { TcpConnection } from './connection.js';
import { becomeEstablished, repeatedSyn, takeSyn } from './handshake.js';
import { NEWS_FIN, NEWS_RECEIVED } from './news.js';
import { peerClosed } from './state.js';
import { ACK, CWR, ECE, FIN, RST, SYN, URG, type SegmentIn } from './types.js';
import { MIN_HEADER } from './wire/header.js';
import { TIMESTAMPS_LENGTH, TIMESTAMPS_WORD } from './wire/options.js';

/** The ECN field of a packet that met congestion (RFC 3168 section 5). */
const CE = 3;

/** What a segment for no connection is answered with. */
export interface ResetAnswer {
  readonly seq: Seq;
  readonly ack: Seq;
  readonly flags: number;
}

/** RFC 9293 section 3.10.7.1: the RST for a segment without a connection; undefined for a RST. */
export function respondToUnknown(segment: SegmentIn): ResetAnswer | undefined {
  if ((segment.flags & RST) !== 0) return undefined;
  if ((segment.flags & ACK) !== 0) return { seq: segment.ack, ack: 0 as Seq, flags: RST };
  return { seq: 0 as Seq, ack: seqAdd(segment.seq, sequenceLength(segment)), flags: RST | ACK };
}

/** SEG.LEN: payload, SYN and FIN. */
function sequenceLength(segment: SegmentIn): number {
  return segment.length + ((segment.flags & SYN) !== 0 ? 1 : 0) + (segment.flags & FIN);
}

/**
 * The usual case in ESTABLISHED, where no rule below has anything to say: the next text or a plain acknowledgment,
 * with the usual options. False: it was not, and nothing happened.
 */
export function predicted(c: TcpConnection, segment: SegmentIn, now: Millis): boolean {
  const { rcv, snd, options } = c;
  if ((segment.flags & (FIN | SYN | RST | ACK | URG | ECE | CWR)) !== ACK || segment.seq !== rcv.nxt)
    return false;
  const { length, header } = segment;
  if (segment.ecn === CE && snd.ecn) return false;
  const size = segment.data - header;
  let tsval = 0;
  if (c.timestamps) {
    if (size !== MIN_HEADER + TIMESTAMPS_LENGTH) return false;
    const { view } = segment.block.region;
    if (view.getUint32(header + MIN_HEADER) !== TIMESTAMPS_WORD) return false;
    tsval = view.getInt32(header + MIN_HEADER + 4);
    if (((tsval - rcv.tsRecent) | 0) < 0) return false;
    options.tsecr = view.getInt32(header + MIN_HEADER + 8);
  } else if (size !== MIN_HEADER) return false;
  const acked = seqDiff(segment.ack, snd.una);
  if (acked < 0 || acked > snd.flight) return false;
  if (length > 0 && (length > rcv.window || c.discarding || rcv.finKnown || rcv.admits(length) < length))
    return false;
  options.timestamps = c.timestamps;
  options.sackCount = 0;
  if (c.timestamps && seqLe(segment.seq, rcv.lastAck)) {
    rcv.tsRecent = tsval;
    rcv.tsRecentAt = now;
  }
  takeAck(c, segment, length, now);
  if (length > 0) appendText(c, segment, segment.data, length, now);
  return true;
}

export function processSegment(c: TcpConnection, segment: SegmentIn, now: Millis): void {
  if (c.state === 'CLOSED') {
    c.counters.droppedClosed++;
    return;
  }
  if (c.deferred) {
    inputDeferred(c, segment);
    return;
  }
  if (c.state === 'SYN-SENT') {
    inputSynSent(c, segment, now);
    return;
  }
  c.options.parse(segment.block.region.view, segment.header + MIN_HEADER, segment.data);
  if (checkSequence(c, segment, now) && checkReset(c, segment, now) && checkSyn(c, segment, now)) {
    if (!checkAck(c, segment, now)) return;
    // Sixth, URG: the text is delivered in line (RFC 6093), so there is nothing to do.
    takeText(c, segment, now);
    takeFin(c, now);
  }
}

/** A SYN waits for the application: to the peer we are still LISTEN (section 3.10.7.2). */
function inputDeferred(c: TcpConnection, segment: SegmentIn): void {
  const { rcv } = c;
  if ((segment.flags & RST) !== 0) {
    // From a peer that gave up; its SND.NXT is behind the SYN.
    if (segment.seq === rcv.nxt || segment.seq === rcv.irs) endByReset(c);
    else c.counters.droppedBlind++;
    return;
  }
  if ((segment.flags & ACK) !== 0) {
    c.counters.droppedBadAck++;
    c.emitter.reset(c, segment.ack, false);
    return;
  }
  if ((segment.flags & SYN) !== 0 && segment.seq !== rcv.irs) {
    endByReset(c);
    return;
  }
  if ((segment.flags & SYN) !== 0) repeatedSyn(c, segment);
  c.counters.droppedWaiting++;
}

function endByReset(c: TcpConnection): void {
  c.counters.rstIn++;
  c.end('reset');
}

/** Section 3.10.7.3. */
function inputSynSent(c: TcpConnection, segment: SegmentIn, now: Millis): void {
  const { flags } = segment;
  const { snd } = c;
  const acknowledges = (flags & ACK) !== 0;
  // First, ACK.
  if (acknowledges && (seqLe(segment.ack, snd.iss) || seqGt(segment.ack, snd.nxt))) {
    c.counters.droppedBadAck++;
    if ((flags & RST) === 0) c.emitter.reset(c, segment.ack, false);
    return;
  }
  // Second, RST: only one that acknowledges our SYN is of now.
  if ((flags & RST) !== 0) {
    if (acknowledges) endByReset(c);
    else c.counters.droppedBlind++;
    return;
  }
  // Fourth, SYN.
  if ((flags & SYN) === 0) {
    c.counters.droppedWaiting++;
    return;
  }
  takeSyn(c, segment, now);
  if (!acknowledges) {
    // Simultaneous open (section 3.5, figure 8).
    c.transition('syn');
    c.emitter.syn(c, SYN | ACK, now);
    return;
  }
  becomeEstablished(c, 'syn-ack', now);
  c.rcv.ackNow = true;
}

/** First: PAWS (RFC 7323 section 5.3) and the acceptability test. False: dropped. */
function checkSequence(c: TcpConnection, segment: SegmentIn, now: Millis): boolean {
  const { rcv, options } = c;
  const reset = (segment.flags & RST) !== 0;
  const again = (segment.flags & SYN) !== 0 && segment.seq === rcv.irs && !reset;
  if (c.state === 'SYN-RECEIVED' && again && (c.active || (segment.flags & ACK) === 0)) {
    if ((segment.flags & ACK) === 0) {
      // The peer has not got our SYN-ACK.
      repeatedSyn(c, segment);
      c.emitter.syn(c, SYN | ACK, now);
      return false;
    }
    // Simultaneous open: the peer's SYN again, with the acknowledgment of ours.
    // Its window is not scaled, as all of a SYN's.
    segment.seq = rcv.nxt;
    segment.flags &= ~SYN;
    segment.window >>= c.snd.scale;
  }
  const timestamped = c.timestamps && options.timestamps && !reset;
  if (timestamped && rcv.tooOld(options.tsval, now)) {
    c.counters.droppedOldTimestamp++;
    // An acknowledgment that was overtaken by a later one says nothing and needs no answer.
    const overtaken =
      segment.seq === rcv.nxt && sequenceLength(segment) === 0 && seqLe(segment.ack, c.snd.una);
    if (!overtaken) answerUnacceptable(c, segment, now);
    return false;
  }
  if (!rcv.acceptable(segment.seq, sequenceLength(segment)) && !closedWindowAck(c, segment)) {
    if (reset) c.counters.droppedBlind++;
    else {
      c.counters.droppedOutsideWindow++;
      answerUnacceptable(c, segment, now);
    }
    return false;
  }
  if (timestamped) rcv.noteTimestamp(options.tsval, segment.seq, now);
  return true;
}

/**
 * "If the RCV.WND is zero, no segments will be acceptable, but special allowance should be made to accept valid ACKs,
 * URGs, and RSTs": the text of such a segment is left out and asked for again.
 */
function closedWindowAck(c: TcpConnection, segment: SegmentIn): boolean {
  const { rcv } = c;
  if (rcv.window !== 0 || segment.seq !== rcv.nxt || (segment.flags & SYN) !== 0) return false;
  segment.length = 0;
  segment.flags &= ~FIN;
  rcv.ackNow = true;
  return true;
}

/** An ACK for what is not acceptable: at the end of the batch; to a bare ACK rarely, for fear of an endless exchange. */
function answerUnacceptable(c: TcpConnection, segment: SegmentIn, now: Millis): void {
  const { rcv } = c;
  // Before the handshake is done `output` sends nothing.
  if (sequenceLength(segment) === 0 || c.state === 'SYN-RECEIVED') {
    c.emitter.challenge(c, now);
    return;
  }
  if (c.state === 'TIME-WAIT' && (segment.flags & FIN) !== 0) c.enterTimeWait(now);
  const end = seqAdd(segment.seq, segment.length);
  if (segment.length > 0 && seqLe(end, rcv.nxt)) {
    c.counters.duplicates++;
    rcv.duplicate(segment.seq, end);
  }
  rcv.ackNow = true;
}

/** Second: RST, with the exact match of RFC 5961 section 3.2. False: dropped or ended. */
function checkReset(c: TcpConnection, segment: SegmentIn, now: Millis): boolean {
  if ((segment.flags & RST) === 0) return true;
  if (segment.seq !== c.rcv.nxt) {
    c.counters.droppedBlind++;
    c.emitter.challenge(c, now);
    return false;
  }
  if (c.state === 'TIME-WAIT') {
    c.counters.rstIn++;
    c.end('closed');
  } else endByReset(c);
  return false;
}

/** Fourth: SYN in the window (RFC 5961 section 4.2). */
function checkSyn(c: TcpConnection, segment: SegmentIn, now: Millis): boolean {
  if ((segment.flags & SYN) === 0) return true;
  c.counters.droppedBlind++;
  c.emitter.challenge(c, now);
  return false;
}

/** Fifth: ACK. False: the segment is dropped. */
function checkAck(c: TcpConnection, segment: SegmentIn, now: Millis): boolean {
  const { snd } = c;
  const { ack } = segment;
  if ((segment.flags & ACK) === 0) {
    c.counters.droppedNoAck++;
    return false;
  }
  if (c.state === 'SYN-RECEIVED') {
    if (ack !== snd.nxt) {
      c.counters.droppedBadAck++;
      c.emitter.reset(c, ack, false);
      return false;
    }
    // "… enter ESTABLISHED state, with the variables below set" (window, WL1, WL2), "and continue processing".
    becomeEstablished(c, 'ack', now);
    snd.wl1 = segment.seq;
    snd.wl2 = ack;
  }
  // RFC 5961 section 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT.
  if (seqGt(ack, snd.max) || seqDiff(snd.una, ack) > snd.maxWnd) {
    c.counters.droppedBadAck++;
    c.emitter.challenge(c, now);
    return false;
  }
  if (seqGe(ack, snd.una)) takeAck(c, segment, sequenceLength(segment), now);
  return true;
}

/** Seventh: text. What lies outside the window is cut off on both sides. */
function takeText(c: TcpConnection, segment: SegmentIn, now: Millis): void {
  const { rcv } = c;
  if (c.snd.ecn && segment.length > 0) takeMark(c, segment);
  let start = segment.seq;
  let end = seqAdd(start, segment.length);
  if (peerClosed(c.state)) {
    if (seqGt(end, rcv.nxt)) c.counters.droppedAfterFin++;
    else if (segment.length > 0 || (segment.flags & FIN) !== 0) rcv.ackNow = true;
    return;
  }
  if ((segment.flags & FIN) !== 0 && !rcv.finKnown && seqLt(end, rcv.edge) && seqGe(end, rcv.nxt)) {
    rcv.finKnown = true;
    rcv.finAt = end;
  }
  if (seqGt(end, rcv.edge)) end = rcv.edge;
  end = rcv.beforeFin(end);
  if (seqLt(start, rcv.nxt) && segment.length > 0) {
    c.counters.duplicates++;
    rcv.duplicate(start, seqLt(end, rcv.nxt) ? end : rcv.nxt);
    rcv.ackNow = true;
    start = rcv.nxt;
  }
  let length = seqDiff(end, start);
  if (length <= 0) {
    // A FIN before its turn is answered as text is, below.
    if ((segment.flags & FIN) !== 0 && seqGt(start, rcv.nxt)) c.emitAck(now);
    return;
  }
  if (c.discarding) {
    // RFC 1122 section 4.2.2.13: nobody will read it, and the peer shall know.
    c.abort(now);
    return;
  }
  const room = rcv.admits(length);
  if (room < length) {
    // What is not acknowledged is not lost: the peer sends it again.
    c.counters.droppedMemory++;
    rcv.ackNow = true;
    if (room === 0) return;
    length = room;
  }
  const offset = segment.data + seqDiff(start, segment.seq);
  if (start === rcv.nxt) {
    appendText(c, segment, offset, length, now);
    return;
  }
  const kept = rcv.store(start, segment.block, offset, length);
  if (kept > 0) c.counters.outOfOrder++;
  else if (rcv.dsackFrom !== rcv.dsackTo) c.counters.duplicates++;
  else c.counters.droppedOutOfOrderLimit++;
  // RFC 5681 section 4.2: a duplicate acknowledgment at once, one for each, for the peer counts them.
  c.emitAck(now);
}

/** RFC 3168 section 6.1.3: what is told of congestion, until the peer says that it has reacted. */
function takeMark(c: TcpConnection, segment: SegmentIn): void {
  const { rcv } = c;
  if ((segment.flags & CWR) !== 0) rcv.echo = false;
  if (segment.ecn !== CE) return;
  c.counters.congestionMarksIn++;
  rcv.echo = true;
  rcv.ackNow = true;
}

function appendText(c: TcpConnection, segment: SegmentIn, offset: number, length: number, now: Millis): void {
  const { rcv } = c;
  const before = rcv.total;
  rcv.append(segment.block, offset, length);
  c.counters.bytesIn += rcv.total - before;
  c.news |= NEWS_RECEIVED;
  // A FIN that is reached by it is acknowledged with it.
  if (rcv.singly === 0 || rcv.finDue) return;
  rcv.singly--;
  c.emitAck(now);
}

/** Eighth: FIN, once its turn has come. */
function takeFin(c: TcpConnection, now: Millis): void {
  const { rcv, state } = c;
  if (!rcv.finDue || peerClosed(state) || state === 'CLOSED' || state === 'SYN-RECEIVED') return;
  rcv.nxt = seqAdd(rcv.nxt, 1);
  // Nobody waits for the acknowledgment of a first FIN: our own often follows, and one segment is enough.
  if (state === 'ESTABLISHED') rcv.unacked += 1;
  else rcv.ackNow = true;
  rcv.assembler.clear();
  c.transition('fin');
  c.news |= NEWS_FIN;
  if (state === 'FIN-WAIT-2') c.enterTimeWait(now);
}
