/** What the two SYNs settle: sequence numbers and options; and when a new SYN may take an old connection's place. */
import { seqAdd, seqGt, type Millis, type Seq } from '../core/index.js';
import type { TcpConnection } from './connection.js';
import { NEWS_ESTABLISHED } from './news.js';
import { DEFAULT_MSS, MIN_MSS } from './send.js';
import { ACK, CWR, ECE, RST, SYN, type SegmentIn } from './types.js';
import { MIN_HEADER } from './wire/header.js';
import { TIMESTAMPS_LENGTH } from './wire/options.js';

/** The peer's SYN: sequence numbers and options. */
export function takeSyn(c: TcpConnection, segment: SegmentIn, now: Millis): void {
  const { rcv, snd, options, settings } = c;
  options.parse(segment.block.region.view, segment.header + MIN_HEADER, segment.data);
  rcv.start(segment.seq, now);
  // RFC 7323 section 1.3, RFC 2018 section 2: an option holds when both SYNs carry it.
  c.timestamps = options.timestamps && settings.timestamps !== false;
  c.sack = options.sackPermitted && settings.sack !== false;
  c.scaling = options.scale >= 0 && settings.windowScaling !== false;
  snd.ecn = ecnAgreed(c, segment);
  if (c.timestamps) rcv.tsRecent = options.tsval;
  if (c.scaling) {
    snd.scale = options.scale;
    rcv.scaled(rcv.wantedScale());
  }
  const peer = Math.max(options.mss === 0 ? DEFAULT_MSS : options.mss, MIN_MSS);
  snd.mss = Math.min(peer, settings.mss) - (c.timestamps ? TIMESTAMPS_LENGTH : 0);
  // The window of a SYN is not scaled (RFC 7323 section 2.2).
  snd.wnd = segment.window;
  snd.maxWnd = segment.window;
  snd.wl1 = segment.seq;
  snd.wl2 = segment.ack;
}

/**
 * RFC 3168 section 6.1.1: a SYN that opens asks by ECE and CWR, the answer agrees by ECE alone. Both SYNs of a
 * simultaneous open are answers to nobody.
 */
function ecnAgreed(c: TcpConnection, segment: SegmentIn): boolean {
  const setup = segment.flags & (ACK | ECE | CWR);
  if (c.settings.ecn === 'off') return false;
  return c.active
    ? c.settings.ecn === 'ask' && c.snd.tries === 0 && setup === (ACK | ECE)
    : setup === (ECE | CWR);
}

/** The SYN came again, without asking for ECN: the first may have been lost for it (RFC 3168 section 6.1.1.1). */
export function repeatedSyn(c: TcpConnection, segment: SegmentIn): void {
  if ((segment.flags & (ECE | CWR)) !== (ECE | CWR)) c.snd.ecn = false;
}

/** Our SYN is acknowledged and the peer's is known. */
export function becomeEstablished(c: TcpConnection, event: 'ack' | 'syn-ack', now: Millis): void {
  const { snd } = c;
  if (snd.timing) snd.rtt.sample(now - snd.timedAt);
  else snd.rtt.restart();
  snd.timing = false;
  snd.una = seqAdd(snd.iss, 1);
  snd.timerAt = Number.POSITIVE_INFINITY;
  snd.tries = 0;
  snd.start(snd.mss, c.sack, now);
  c.transition(event);
  c.news |= NEWS_ESTABLISHED;
  if (c.settings.keepAlive !== undefined) c.keepAt = now + c.settings.keepAlive.idle;
  if (!c.closeWanted) return;
  snd.finWanted = true;
  c.transition('close');
}

/** May this SYN take the connection's place (RFC 6191, RFC 9293 section 3.6.1)? */
export function reuses(c: TcpConnection, segment: SegmentIn): boolean {
  if ((segment.flags & (SYN | ACK | RST)) !== SYN) return false;
  if (c.state === 'CLOSED') return !c.lingering;
  if (c.state !== 'TIME-WAIT' || c.received.bytes > 0) return false;
  c.options.parse(segment.block.region.view, segment.header + MIN_HEADER, segment.data);
  if (c.timestamps && c.options.timestamps) {
    const newer = (c.options.tsval - c.rcv.tsRecent) | 0;
    if (newer !== 0) return newer > 0;
  }
  return seqGt(segment.seq, c.rcv.nxt);
}

/**
 * RFC 5461 section 4.1, RFC 5927: what is open is not ended by ICMP, which anybody may forge; an attempt to open is, by a hard
 * error about our SYN itself, whose sequence number a stranger does not know. A soft one changes nothing: the timer tries
 * again (RFC 1122 section 4.2.3.9).
 */
export function undelivered(c: TcpConnection, at: Seq, hard: boolean): void {
  if (c.state === 'SYN-SENT' && hard && at === c.snd.iss) {
    c.counters.icmpRefusals++;
    c.end('reset');
  } else c.counters.icmpSoftErrors++;
}
