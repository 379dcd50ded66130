/** What happens when time runs out: handshake, retransmission, window probe, delayed ACK, TIME-WAIT, FIN-WAIT-2. */
import { seqAdd, type Millis } from '../core/index.js';
import type { TcpConnection } from './connection.js';
import { lossExpired, timeout } from './loss.js';
import { PROBE_SLACK } from './tlp.js';
import { ACK, SYN, type KeepAlive } from './types.js';

/** Retransmissions of a SYN, and of a SYN-ACK. */
export const SYN_TRIES = 6;
export const SYN_ACK_TRIES = 5;
/** R2 of RFC 9293 section 3.8.3: data is given up after this many timeouts, or this long but not before a few. */
export const DATA_TRIES = 15;
export const DATA_PATIENCE: Millis = 100_000;
const FEWEST_TRIES = 3;
/** How long FIN-WAIT-2 lasts when the application reads no more. */
export const DISCARD_WAIT: Millis = 60_000;

/** How long a send ring or a receive queue that is empty keeps its memory. */
export const RING_IDLE: Millis = 1000;

/** Runs what is due. */
export function expire(c: TcpConnection, now: Millis): void {
  if (now >= c.idleAt) {
    c.idleAt = Number.POSITIVE_INFINITY;
    if (c.ring.slack) c.ring.free();
    c.received.forget();
  }
  if (now >= c.waitAt) {
    // TIME-WAIT is over; or the peer of an application that is gone never said FIN.
    c.waitAt = Number.POSITIVE_INFINITY;
    if (c.state === 'TIME-WAIT') c.finish();
    else c.end('timeout');
    return;
  }
  if (now >= c.snd.lossAt) {
    if (c.holdOutput) c.snd.lossAt = Math.ceil(now + c.snd.rtt.srtt + PROBE_SLACK);
    else {
      lossExpired(c.snd, c, now);
      c.output(now);
    }
  }
  if (now >= c.snd.timerAt) {
    if (c.state === 'SYN-SENT' || c.state === 'SYN-RECEIVED') retryHandshake(c, now);
    else if (c.holdOutput) c.snd.timerAt = now + c.snd.rtt.timeout();
    else retryData(c, now);
  }
  if (now >= c.ackAt) c.emitAck(now);
  if (now >= c.keepAt) keepAlive(c, c.settings.keepAlive!, now);
}

/**
 * Nothing was heard of the peer for long: an old byte's place makes it say where it stands (RFC 9293 section 3.8.4). What
 * is out, or waits, has its own timer.
 */
function keepAlive(c: TcpConnection, settings: KeepAlive, now: Millis): void {
  const { snd } = c;
  if (c.heardAt >= c.keptAt) c.keepTries = 0;
  const due = c.keepTries === 0 ? c.heardAt + settings.idle : c.keptAt + settings.interval;
  if (now < due || snd.nxt !== snd.una || snd.unsent > 0) {
    c.keepAt = now < due ? due : now + settings.idle;
    return;
  }
  if (c.keepTries >= settings.probes) {
    c.emitter.reset(c, snd.nxt, true);
    c.end('timeout');
    return;
  }
  c.keepTries++;
  c.keptAt = now;
  c.keepAt = now + settings.interval;
  c.counters.keepAlives++;
  c.emit(ACK, seqAdd(snd.nxt, -1), 0, 0, 0, 0, now);
}

function retryHandshake(c: TcpConnection, now: Millis): void {
  const { snd } = c;
  const answer = c.state === 'SYN-RECEIVED';
  snd.tries++;
  if (snd.tries > (answer ? SYN_ACK_TRIES : SYN_TRIES)) {
    c.end('timeout');
    return;
  }
  snd.rtt.expired();
  snd.timing = false;
  snd.retransmits++;
  c.counters.retransmits++;
  c.emitter.syn(c, answer ? SYN | ACK : SYN, now);
  snd.timerAt = now + snd.rtt.timeout();
}

function retryData(c: TcpConnection, now: Millis): void {
  const { snd } = c;
  if (snd.tries === 0) snd.triesSince = now;
  snd.tries++;
  const patience = snd.tries > FEWEST_TRIES && now - snd.triesSince >= DATA_PATIENCE;
  if (snd.tries > DATA_TRIES || patience) {
    c.end('timeout');
    return;
  }
  if (snd.persisting) {
    snd.probe(c, now);
    return;
  }
  timeout(snd, now);
  c.output(now);
}
