/**
 * The path to the peer is narrower than its interface (RFC 1191): a machine behind a guest, a tunnel of the guest. What is
 * out and too long is lost; it leaves again at once in shorter segments, and that says nothing about congestion.
 */
import { seqGe, seqLt, type Seq } from '../core/index.js';
import type { TcpConnection } from './connection.js';
import { TIMESTAMPS_LENGTH } from './wire/options.js';

/** Headers of IPv4 and TCP without options, bytes. */
const HEADERS = 40;
/** No path is believed to be narrower than this, bytes: Linux's net.ipv4.route.min_pmtu, so that nobody makes us send crumbs. */
export const MIN_PATH_MTU = 552;
/** What is taken where a router does not say its MTU (RFC 1191 section 5 allows it), bytes. */
const UNKNOWN_MTU = 576;

/**
 * ICMP "fragmentation needed" quotes a segment that begins at `at`; `mtu`: of the next hop, 0 when it was not told. What is not
 * out now is no news, and a stranger does not know what is (RFC 5927 section 7.2).
 */
export function tooBig(c: TcpConnection, at: Seq, mtu: number): void {
  const { snd } = c;
  const told = Math.max(mtu === 0 ? UNKNOWN_MTU : mtu, MIN_PATH_MTU);
  const mss = told - HEADERS - (c.timestamps ? TIMESTAMPS_LENGTH : 0);
  const opening = c.state === 'SYN-SENT' || c.state === 'SYN-RECEIVED';
  if (opening || !seqGe(at, snd.una) || !seqLt(at, snd.nxt) || mss >= snd.mss) {
    c.counters.icmpSoftErrors++;
    return;
  }
  c.counters.pathMtu++;
  snd.mss = mss;
  snd.tlp.forget();
  snd.recovery.shorten(mss, snd.nxt);
}
