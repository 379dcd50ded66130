/** What an acknowledgment does to the sender (RFC 9293 section 3.10.7.4, fifth check; RFC 5681, 6298, 6582, 6675). */
import { seqDiff, seqLt, type Millis, type Seq } from '../core/index.js';
import type { TcpCounters } from './counters.js';
import { NEWS_ACKED, NEWS_FIN_ACKED } from './news.js';
import { FAST, LOSS, OPEN } from './recovery.js';
import type { Sender } from './send.js';
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
  const sacked = recovery.sack && options.sackCount > 0 ? recovery.take(options, snd.una, snd.nxt) : 0;
  const bytes = seqDiff(ack, snd.una);
  let news = 0;
  if (bytes > 0) news = advance(snd, ack, bytes, echoAge, now);
  else if (length === 0 && snd.nxt !== snd.una && (recovery.sack ? sacked > 0 : sameWindow)) {
    counters.duplicateAcksIn++;
    recovery.duplicate(snd.una, snd.nxt);
  }
  if (sacked > 0) recovery.markLost(snd.una, snd.nxt);
  if (
    recovery.mode === OPEN &&
    (recovery.duplicates > 0 || sacked > 0) &&
    recovery.mustEnter(snd.una, snd.nxt)
  ) {
    snd.congestion.loss(snd.flight, now);
    recovery.enter(snd.una, snd.nxt);
  }
  // Whatever the window: a peer that answers is alive (RFC 9293 section 3.8.6.1).
  if (snd.persisting || snd.wnd === 0) {
    snd.tries = 0;
    snd.triesSince = now;
  }
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
  if (snd.timing && !seqLt(ack, snd.timedSeq)) {
    snd.timing = false;
    rtt.sample(now - snd.timedAt);
  } else if (!snd.timing && echoAge >= 0) {
    rtt.sample(echoAge);
  } else {
    rtt.progressed();
  }
  const before = recovery.mode;
  const ended = recovery.advanced(ack, snd.nxt, bytes);
  if (ended && before === FAST) congestion.recovered(snd.flight, now);
  // After a timeout an acknowledgment may cover much that has long left the network (RFC 3465 section 2.3: L = 1).
  else if (before !== FAST) congestion.acked(before === LOSS ? Math.min(data, snd.mss) : data, flight, now);
  snd.tries = 0;
  snd.persisting = false;
  // RFC 6298 sections 5.2 and 5.3.
  snd.timerAt = snd.nxt === ack ? Number.POSITIVE_INFINITY : now + rtt.timeout();
  return (data > 0 ? NEWS_ACKED : 0) | (fin === 1 ? NEWS_FIN_ACKED : 0);
}
