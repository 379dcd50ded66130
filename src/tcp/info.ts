/** A connection in numbers, as `ss -ti` shows it. */
import type { TcpConnection } from './connection.js';
import { FAST, LOSS } from './recovery.js';
import type { TcpState } from './types.js';

/** Where loss is being made good: not at all; by fast recovery; after a retransmission timeout. */
export type TcpRecovery = 'none' | 'fast' | 'timeout';

/** Plain numbers, safe for JSON. Sizes are bytes, times milliseconds. */
export interface TcpInfo {
  readonly state: TcpState;
  /** Smoothed round trip and its variation (RFC 6298); 0 before the first sample. */
  readonly srtt: number;
  readonly rttvar: number;
  /** The least round trip of text in the last minute; absent before the first. */
  readonly minRtt?: number;
  /** The retransmission timeout, its backoff included. */
  readonly rto: number;
  /** How often it was doubled. */
  readonly backoff: number;
  /** The congestion window; the slow start threshold, absent until the first sign of congestion. */
  readonly cwnd: number;
  readonly ssthresh?: number;
  /** Sequence space that was sent and not acknowledged. */
  readonly flight: number;
  /** Of it: held by the peer (SACK), taken for lost, and thought to be in the network. */
  readonly sacked: number;
  readonly lost: number;
  readonly pipe: number;
  readonly sendWindow: number;
  readonly receiveWindow: number;
  readonly mss: number;
  /** Shift counts: of the peer's windows, of ours. */
  readonly sendScale: number;
  readonly receiveScale: number;
  readonly timestamps: boolean;
  readonly sack: boolean;
  readonly scaling: boolean;
  readonly ecn: boolean;
  /** Segments sent again. */
  readonly retransmits: number;
  /** Payload that arrived in order, and payload that was acknowledged. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Bytes that wait: for the application, in the send ring, before their turn. */
  readonly receiveQueue: number;
  readonly sendQueue: number;
  readonly outOfOrder: number;
  /** The congestion algorithm: `cubic` or `newreno`. */
  readonly congestion: string;
  readonly recovery: TcpRecovery;
  /** The peer's window is shut, and probed. */
  readonly probing: boolean;
}

export function connectionInfo(c: TcpConnection): TcpInfo {
  const { snd, rcv } = c;
  const { recovery, rtt, congestion } = snd;
  const { ssthresh } = congestion;
  const { minRtt } = recovery.rack;
  return {
    state: c.state,
    srtt: rtt.srtt,
    rttvar: rtt.rttvar,
    ...(minRtt > 0 && { minRtt }),
    rto: rtt.timeout(),
    backoff: rtt.backoff,
    cwnd: congestion.cwnd,
    ...(Number.isFinite(ssthresh) && { ssthresh }),
    flight: snd.flight,
    sacked: recovery.sent.held,
    lost: recovery.sent.lost,
    pipe: recovery.pipe(snd.una, snd.nxt),
    sendWindow: snd.wnd,
    receiveWindow: rcv.window,
    mss: snd.mss,
    sendScale: snd.scale,
    receiveScale: rcv.scale,
    timestamps: c.timestamps,
    sack: c.sack,
    scaling: c.scaling,
    ecn: snd.ecn,
    retransmits: snd.retransmits,
    bytesIn: rcv.total,
    bytesOut: snd.acked,
    receiveQueue: rcv.queue.bytes,
    sendQueue: snd.ring.bytes,
    outOfOrder: rcv.assembler.bytes,
    congestion: congestion.name,
    recovery: recovery.mode === FAST ? 'fast' : recovery.mode === LOSS ? 'timeout' : 'none',
    probing: snd.persisting,
  };
}

/**
 * One connection as a line in the manner of `ss -ti`: `name:value` pairs, times in ms, sizes in bytes (where `ss` counts
 * segments). What is zero or was not negotiated is left out, as there.
 *
 * @example
 * formatTcpInfo(connection.info());
 * // ESTABLISHED cubic ts sack wscale:7,5 rto:201 rtt:0.5/0.25 minrtt:0.5 mss:1448 cwnd:14480 snd_wnd:65536 rcv_wnd:1048576
 */
export function formatTcpInfo(info: TcpInfo): string {
  const words: string[] = [info.state, info.congestion];
  if (info.timestamps) words.push('ts');
  if (info.sack) words.push('sack');
  if (info.ecn) words.push('ecn');
  if (info.scaling) words.push(`wscale:${info.sendScale},${info.receiveScale}`);
  const pair = (name: string, value: number | undefined): void => {
    if (value !== undefined && value !== 0) words.push(`${name}:${value}`);
  };
  words.push(`rto:${info.rto}`);
  pair('backoff', info.backoff);
  words.push(`rtt:${millis(info.srtt)}/${millis(info.rttvar)}`);
  if (info.minRtt !== undefined) words.push(`minrtt:${millis(info.minRtt)}`);
  words.push(`mss:${info.mss}`, `cwnd:${info.cwnd}`);
  pair('ssthresh', info.ssthresh);
  pair('unacked', info.flight);
  pair('inflight', info.pipe);
  pair('sacked', info.sacked);
  pair('lost', info.lost);
  pair('retrans', info.retransmits);
  words.push(`snd_wnd:${info.sendWindow}`, `rcv_wnd:${info.receiveWindow}`);
  pair('bytes_acked', info.bytesOut);
  pair('bytes_received', info.bytesIn);
  pair('sendq', info.sendQueue);
  pair('recvq', info.receiveQueue);
  pair('ooo', info.outOfOrder);
  if (info.recovery !== 'none') words.push(`recovery:${info.recovery}`);
  if (info.probing) words.push('probing');
  return words.join(' ');
}

/** At most three decimals, and none that are zero. */
function millis(value: number): string {
  return String(Math.round(value * 1000) / 1000);
}
