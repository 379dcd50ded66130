/**
 * The contract between TCP and the stack that carries it. TCP knows sequence numbers, windows and time; it does not
 * know addresses, Ethernet, sockets or clocks. The stack hands it segments and `now`, it hands back segments to send.
 */
import type { Block, BlockPool, Budget, Memory, Millis, Seq } from '../core/index.js';
import type { ChallengeLimit } from './challenge.js';
import type { TcpCounters } from './counters.js';

/** TCP header flags (RFC 9293 section 3.1). */
export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;

/** RFC 9293 section 3.3.2. LISTEN is the stack's business; a connection begins with a SYN that came or goes. */
export type TcpState =
  | 'CLOSED'
  | 'SYN-SENT'
  | 'SYN-RECEIVED'
  | 'ESTABLISHED'
  | 'FIN-WAIT-1'
  | 'FIN-WAIT-2'
  | 'CLOSE-WAIT'
  | 'CLOSING'
  | 'LAST-ACK'
  | 'TIME-WAIT';

/**
 * A received segment: offsets into its block. The stack fills one and reuses it. Header length and checksum have
 * been verified: `data` to `data + length` lies inside the frame.
 */
export interface SegmentIn {
  block: Block;
  /** Offset of the TCP header. */
  header: number;
  /** Offset and length of the payload, bytes. */
  data: number;
  length: number;
  seq: Seq;
  ack: Seq;
  flags: number;
  /** As on the wire, unscaled. */
  window: number;
  /** IP ECN field, 0 to 3 (RFC 3168); 3 is CE. */
  ecn: number;
}

/**
 * A segment to send; TCP fills one and reuses it. Payload is `payloadLength` bytes of the connection's send ring from
 * the position `payloadOffset`; the stack finds the pieces (`ring.offset`, `ring.contiguous`).
 */
export interface SegmentOut {
  seq: Seq;
  ack: Seq;
  flags: number;
  /** As it goes on the wire, already scaled, 0 to 65535. */
  window: number;
  /** Urgent pointer; 0 unless URG. */
  urgent: number;
  /** TCP options, padded to a multiple of 4. */
  readonly options: Uint8Array;
  optionsLength: number;
  payloadOffset: number;
  payloadLength: number;
  /** Payload per segment when this is a super-segment, else 0. */
  gsoSize: number;
  /** The packet's ECN field (RFC 3168 section 5): 0, or 2 for ECT(0). */
  ecn: number;
}

/** Why a connection ended. */
export type TcpEnd =
  /** Both FINs were exchanged and acknowledged (TIME-WAIT over, or LAST-ACK acknowledged). */
  | 'closed'
  /** The peer sent RST. */
  | 'reset'
  /** We sent RST: `abort`, or data for a closed application. */
  | 'aborted'
  /** Retransmissions ran out, or the handshake did. */
  | 'timeout';

/** Who carries a connection: all its ways out. Called synchronously from the connection's own methods. */
export interface TcpOwner {
  /** Puts a segment on the wire (queued until the link's flush). */
  transmit(connection: TcpConnectionLike, segment: SegmentOut): void;
  /** The handshake is done. */
  established(connection: TcpConnectionLike): void;
  /** In-order bytes were appended to `connection.received`; called at most once per `input`. */
  received(connection: TcpConnectionLike): void;
  /** The peer's FIN was reached in order: behind what is in `received` nothing follows. */
  receivedFin(connection: TcpConnectionLike): void;
  /** Bytes were acknowledged: the send ring has more room. */
  acknowledged(connection: TcpConnectionLike): void;
  /** The last call. Memory of the connection has been given back. */
  closed(connection: TcpConnectionLike, end: TcpEnd): void;
  /** `onTimer` is wanted at this time (Infinity: never). Cheap to call often. */
  schedule(connection: TcpConnectionLike, at: Millis): void;
}

/** What an owner may know of the connection it is called for. */
export interface TcpConnectionLike {
  readonly state: TcpState;
}

/** RFC 9293 section 3.8.4. A peer that is gone without a word is noticed after `idle + probes * interval` ms. */
export interface KeepAlive {
  /** Silence before the first probe, ms. The RFC asks for two hours at least by default. */
  readonly idle: Millis;
  /** Between probes, ms. */
  readonly interval: Millis;
  /** Unanswered probes before the connection is given up. */
  readonly probes: number;
}

export interface TcpSettings {
  readonly memory: Memory;
  readonly pool: BlockPool;
  /** Our MSS for the SYN: the link's MTU - 40 (RFC 9293 section 3.7.1). */
  readonly mss: number;
  /** Initial send sequence number (RFC 6528; the stack hashes). */
  readonly iss: Seq;
  /** Largest receive window to advertise, bytes; the scale follows. Default 1 MiB. */
  readonly receiveWindow?: number;
  /** The window at first, bytes: it grows when the application drains fast, up to `receiveWindow`. Default `receiveWindow`. */
  readonly receiveStart?: number;
  /** Most bytes in the send ring, a power of two. Default 1 MiB. */
  readonly sendBuffer?: number;
  /** Largest super-segment payload the link takes; 0 or absent: none. */
  readonly gsoMax?: number;
  /** TIME-WAIT length, ms. Default 60,000 (RFC 9293: 2 MSL); the stack may shorten it. */
  readonly timeWait?: Millis;
  /** Initial value and bias of the timestamp clock (RFC 7323 section 5.4). */
  readonly timestampOffset?: number;
  /** What the connection's buffers are counted in, and what holds them back when it is full. Absent: no bound but their own. */
  readonly budget?: Budget;
  /** Counted into; a connection without gets its own. */
  readonly counters?: TcpCounters;
  /** Challenge ACKs of all connections that share it are limited together (RFC 5961 section 7). */
  readonly challenges?: ChallengeLimit;
  /** Off when absent (RFC 1122 section 4.2.3.6). */
  readonly keepAlive?: KeepAlive;
  /** RFC 3168: taken when the peer asks (the default), asked for, or neither. */
  readonly ecn?: 'accept' | 'ask' | 'off';
  /** Default `cubic`. */
  readonly congestion?: 'cubic' | 'newreno';
  /** Options that are neither offered nor accepted when false. Default true. */
  readonly timestamps?: boolean;
  readonly sack?: boolean;
  readonly windowScaling?: boolean;
}
