/** What an acknowledgment does to the sender (RFC 9293 section 3.10.7.4, fifth check; RFC 5681, 6298, 6582, 6675). */
import { seqDiff, seqLt, type Millis, type Seq } from '../core/index.js';
import type { TcpConnection } from './connection.js';
import { tsNow } from './emit.js';
import { congestionEcho, detectLoss, reduce, undo } from './loss.js';
import { NEWS_ACKED, NEWS_FIN_ACKED, NEWS_FINISHED } from './news.js';
import { FAST, LOSS, OPEN } from './recovery.js';
import type { Sender } from './send.js';
import { DISCARD_WAIT, RING_IDLE } from './timers.js';
import { dsackEnd } from './tlp.js';
import { ECE, type SegmentIn } from './types.js';
import type { OptionsIn } from './wire/options.js';

/** The acknowledgment and window of a segment whose ACK lies between SND.UNA and SND.MAX; `length`: its sequence space. */
export function takeAck(c: TcpConnection, segment: SegmentIn, length: number, now: Millis): void {
  const { snd, options } = c;
  const { ack } = segment;
  const window = segment.window << snd.scale;
  const same = window === snd.wnd;
  snd.updateWindow(segment.seq, ack, window);
  // Whatever the window: a peer that answers is alive (RFC 9293 section 3.8.6.1).
  if (snd.persisting || snd.wnd === 0) {
    snd.tries = 0;
    snd.triesSince = now;
  }
  const congested = snd.ecn && (segment.flags & ECE) !== 0;
  // Text of a peer that is not being sent to.
  const silent = ack === snd.una && options.sackCount === 0 && !snd.tlp.out;
  if (silent && (length > 0 || snd.nxt === snd.una)) return;
  const echoAge =
    options.timestamps && options.tsecr !== 0 ? (tsNow(c.settings, now) - options.tsecr) | 0 : -1;
  const news = acknowledge(snd, ack, length === 0 && same, options, echoAge, congested, now);
  c.news |= news & NEWS_ACKED;
  if (c.ring.slack) c.idleAt = now + RING_IDLE;
  if ((news & NEWS_FIN_ACKED) !== 0) finAcknowledged(c, now);
}

/**
 * `plain`: no text, and nothing new about the window; `echoAge`: milliseconds since the echoed timestamp, or -1;
 * `congested`: it says ECE. Returns NEWS bits.
 */
function acknowledge(
  snd: Sender,
  ack: Seq,
  plain: boolean,
  options: OptionsIn,
  echoAge: Millis,
  congested: boolean,
  now: Millis,
): number {
  const { recovery } = snd;
  const { rack, mode: recovering } = recovery;
  rack.begin(now, echoAge);
  const blocks = recovery.sack && options.sackCount > 0;
  const bytes = seqDiff(ack, snd.una);
  let news = 0;
  if (bytes > 0) news = advance(snd, ack, bytes, echoAge, congested, now);
  rack.selective();
  const sacked = blocks ? recovery.take(options, ack, snd.nxt) : 0;
  const duplicate = bytes === 0 && (recovery.sack ? sacked > 0 : plain && snd.nxt !== ack);
  if (duplicate) {
    snd.counters.duplicateAcksIn++;
    recovery.duplicate(ack, snd.nxt);
  }
  if (sacked > 0 && bytes === 0 && rack.sample >= 0) snd.measured(rack.sample, now);
  const twice = blocks ? dsackEnd(options, ack) : undefined;
  if (rack.original && recovering !== OPEN && recovery.mayUndo) undo(snd, now);
  if (twice !== undefined) {
    rack.duplicated(ack, snd.nxt);
    if (recovery.needless(options.sack[0]! as Seq, twice)) undo(snd, now);
  }
  if (snd.tlp.acknowledged(ack, twice, bytes === 0 && !blocks)) {
    reduce(snd, now);
    snd.congestion.recovered(snd.flight, now);
  }
  if (congested) congestionEcho(snd, now);
  if (bytes > 0 || duplicate || sacked > 0) detectLoss(snd, now);
  return news;
}

function finAcknowledged(c: TcpConnection, now: Millis): void {
  const { state } = c;
  if (state === 'LAST-ACK') {
    c.news |= NEWS_FINISHED;
    return;
  }
  c.transition('ack-fin');
  if (state === 'CLOSING') c.enterTimeWait(now);
  else if (c.discarding) c.waitAt = now + DISCARD_WAIT;
}

/** SND.UNA moves. */
function advance(
  snd: Sender,
  ack: Seq,
  bytes: number,
  echoAge: Millis,
  congested: boolean,
  now: Millis,
): number {
  const { recovery, rtt, ring, congestion } = snd;
  const { flight } = snd;
  if (seqLt(snd.nxt, ack)) {
    // The probe's byte was taken.
    snd.nxt = ack;
  }
  snd.probed = false;
  const fin = snd.finSent && ack === snd.nxt ? 1 : 0;
  const data = bytes - fin;
  snd.una = ack;
  if (snd.reacting && !seqLt(ack, snd.reactedTo)) snd.reacting = false;
  ring.release(data);
  snd.acked += data;
  const before = recovery.mode;
  const ended = recovery.advanced(ack, bytes);
  snd.measured(roundTrip(recovery.rack.sample, echoAge, before === OPEN || recovery.sack), now);
  if (ended && before === FAST) congestion.recovered(snd.flight, now);
  // After a timeout an acknowledgment may cover much that has long left the network (RFC 3465 section 2.3: L = 1).
  else if (before !== FAST && !congested)
    congestion.acked(before === LOSS ? Math.min(data, snd.mss) : data, flight, now, snd.mostFlight);
  snd.tries = 0;
  snd.persisting = false;
  // RFC 6298 sections 5.2 and 5.3.
  snd.timerAt = snd.nxt === ack ? Number.POSITIVE_INFINITY : now + rtt.timeout();
  return (data > 0 ? NEWS_ACKED : 0) | (fin === 1 ? NEWS_FIN_ACKED : 0);
}

/**
 * Of two measures the one that knows less waiting: of what left once, and by timestamp, which counts whole ms. Without
 * SACK an acknowledgment in recovery has waited for what was lost: then `clear` is false.
 */
function roundTrip(sample: Millis, echoAge: Millis, clear: boolean): Millis {
  if (sample < 0 || !clear) return echoAge;
  return echoAge < 0 ? sample : Math.min(sample, echoAge + 1);
}
