/** A connection in numbers, as `ss -ti` shows it. */
import type { TcpConnection } from './connection.js';
import type { TcpState } from './types.js';

export interface TcpInfo {
  readonly state: TcpState;
  /** Milliseconds. */
  readonly srtt: number;
  readonly rttvar: number;
  readonly rto: number;
  /** Bytes. */
  readonly cwnd: number;
  readonly ssthresh: number;
  readonly flight: number;
  readonly sendWindow: number;
  readonly receiveWindow: number;
  readonly mss: number;
  readonly sendScale: number;
  readonly receiveScale: number;
  readonly timestamps: boolean;
  readonly sack: boolean;
  /** Segments sent again. */
  readonly retransmits: number;
  /** Payload that arrived in order, and payload that was acknowledged. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Bytes that wait: for the application, in the send ring, before their turn. */
  readonly receiveQueue: number;
  readonly sendQueue: number;
  readonly outOfOrder: number;
  readonly congestion: string;
  readonly recovering: boolean;
}

export function connectionInfo(c: TcpConnection): TcpInfo {
  const { snd, rcv } = c;
  return {
    state: c.state,
    srtt: snd.rtt.srtt,
    rttvar: snd.rtt.rttvar,
    rto: snd.rtt.timeout(),
    cwnd: snd.congestion.cwnd,
    ssthresh: snd.congestion.ssthresh,
    flight: snd.flight,
    sendWindow: snd.wnd,
    receiveWindow: rcv.window,
    mss: snd.mss,
    sendScale: snd.scale,
    receiveScale: rcv.scale,
    timestamps: c.timestamps,
    sack: c.sack,
    retransmits: snd.retransmits,
    bytesIn: rcv.total,
    bytesOut: snd.acked,
    receiveQueue: rcv.queue.bytes,
    sendQueue: snd.ring.bytes,
    outOfOrder: rcv.assembler.bytes,
    congestion: snd.congestion.name,
    recovering: snd.recovery.mode !== 0,
  };
}
