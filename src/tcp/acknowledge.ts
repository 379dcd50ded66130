/** What an acknowledgment does to the sender (RFC 9293 section 3.10.7.4, fifth check; RFC 5681, 6298, 6582, 6675). */
import { seqDiff, seqLt, type Millis, type Seq } from '../core/index.js';
import type { TcpCounters } from './counters.js';
import { NEWS_ACKED, NEWS_FIN_ACKED } from './news.js';
import { FAST, LOSS, OPEN } from './recovery.js';
import type { Sender } from './send.js';
import { dsackEnd } from './tlp.js';
import type { OptionsIn } from './wire/options.js';

/**
 * Takes an acknowledgment between SND.UNA and SND.MAX. `sameWindow`: the segment told nothing new about the window;
 * `length`: its own sequence space; `echoAge`: milliseconds since the echoed timestamp, or -1. Returns NEWS bits.
 */
export function acknowledge(
  snd: Sender,
  ack: Seq,
  length: number,
  sameWindow: boolean,
  options: OptionsIn,
  echoAge: Millis,
  counters: TcpCounters,
  now: Millis,
): number {
  const { recovery } = snd;
  const { rack } = recovery;
  rack.begin(now, echoAge);
  const blocks = recovery.sack && options.sackCount > 0;
  const bytes = seqDiff(ack, snd.una);
  let news = 0;
  if (bytes > 0) news = advance(snd, ack, bytes, echoAge, now);
  const sacked = blocks ? recovery.take(options, ack, snd.nxt) : 0;
  const duplicate =
    bytes === 0 && length === 0 && snd.nxt !== ack && (recovery.sack ? sacked > 0 : sameWindow);
  if (duplicate) {
    counters.duplicateAcksIn++;
    recovery.duplicate(ack, snd.nxt);
  }
  if (sacked > 0 && bytes === 0 && rack.sample >= 0) snd.measured(rack.sample, now);
  const twice = blocks ? dsackEnd(options, ack) : undefined;
  if (twice !== undefined) rack.duplicated(ack, snd.nxt);
  if (snd.tlp.acknowledged(ack, twice, bytes === 0 && !blocks)) {
    snd.congestion.loss(snd.flight, now);
    snd.congestion.recovered(snd.flight, now);
  }
  if (bytes > 0 || duplicate || sacked > 0) snd.detectLoss(now);
  return news;
}

/** SND.UNA moves. */
function advance(snd: Sender, ack: Seq, bytes: number, echoAge: Millis, now: Millis): number {
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
  ring.release(data);
  snd.acked += data;
  const before = recovery.mode;
  const ended = recovery.advanced(ack, bytes);
  snd.measured(roundTrip(recovery.rack.sample, echoAge, before === OPEN || recovery.sack), now);
  if (ended && before === FAST) congestion.recovered(snd.flight, now);
  // After a timeout an acknowledgment may cover much that has long left the network (RFC 3465 section 2.3: L = 1).
  else if (before !== FAST) congestion.acked(before === LOSS ? Math.min(data, snd.mss) : data, flight, now);
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
