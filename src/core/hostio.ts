/**
 * What the forwarder asks of the host: TCP streams, UDP sockets, listeners, names. Made by `native` (the crate owns
 * the descriptors) or by `host` (Node's own sockets), with one contract.
 */
import type { Ipv4 } from './address.js';
import type { SendRing } from './ring.js';
import type { SliceQueue } from './slices.js';

/** Why the host could not: the errno name. */
export type Errno = string;

/** Where a TCP stream goes: an address and port, or a unix socket. */
export type HostTarget =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** What a stream tells its owner. Never called from inside the owner's own call. */
export interface HostStreamHandler {
  /** The dial succeeded. Not called for accepted streams. */
  connected(): void;
  /** The dial failed; the stream is gone. */
  failed(errno: Errno): void;
  /** There is something to `receive`. */
  readable(): void;
  /** Bytes left the queue given to `send`, or there is room again: `send` what is left. */
  writable(): void;
  /** The peer sent FIN and every byte before it was received. */
  ended(): void;
  /** The connection broke (ECONNRESET, ETIMEDOUT, EPIPE …); the stream is gone. */
  broken(errno: Errno): void;
}

/** One host TCP (or unix) connection. */
export interface HostStream {
  /**
   * Takes bytes from the front of the queue as far as the host takes them and consumes what it is done with; returns
   * the number of bytes consumed. When some stay, `writable` comes later.
   */
  send(queue: SliceQueue): number;
  /**
   * Reads into the ring as much as there is and fits; returns bytes read. When the ring is full, reading pauses until
   * the next call.
   */
  receive(ring: SendRing): number;
  /** Sends FIN; only after the queue is empty. */
  shutdown(): void;
  /** Ends with RST. No more callbacks. */
  reset(): void;
  /** Ends gently and lets go. No more callbacks. */
  close(): void;
  /** Remote address of an accepted stream, for logs and PROXY headers. */
  readonly remote?: { readonly host: string; readonly port: number } | undefined;
}

export interface HostListener {
  /** The bound address, the chosen port included. */
  readonly host: string;
  readonly port: number;
  close(): void;
}

/** What an unconnected UDP socket of a flow tells its owner. */
export interface HostUdpHandler {
  /** A datagram; the bytes are lent for the call. */
  datagram(bytes: Uint8Array, offset: number, length: number, ip: Ipv4, port: number): void;
  /** The host reported an error for this destination (ECONNREFUSED, EHOSTUNREACH, EMSGSIZE with the MTU …). */
  error(errno: Errno, ip: Ipv4, port: number, mtu: number): void;
}

/** One unconnected host UDP socket of a guest's flow. */
export interface HostUdp {
  /**
   * Copies the bytes before it returns and sends them by the end of the event-loop turn, so that those of one turn can leave
   * together, or never: a datagram that finds no room is dropped. Trouble comes by `error`, after the call.
   */
  send(bytes: Uint8Array, offset: number, length: number, ip: Ipv4, port: number): void;
  /** Sends what waits, and closes. */
  close(): void;
}

/** What a bound UDP socket of a published port tells its owner; peers may be IPv6. */
export interface HostUdpServerHandler {
  /** A datagram; the bytes are lent for the call. */
  datagram(bytes: Uint8Array, host: string, port: number): void;
  error(errno: Errno): void;
}

/** A bound UDP socket of a published port. */
export interface HostUdpServer {
  readonly host: string;
  readonly port: number;
  /** As `HostUdp.send`. */
  send(bytes: Uint8Array, host: string, port: number): void;
  close(): void;
}

/** An answer of the operating system's resolver. */
export interface HostAddress {
  readonly address: string;
  readonly family: 4 | 6;
}

/** All a network uses of its host. Injected; tests give their own. */
export interface HostIo {
  dial(target: HostTarget, handler: HostStreamHandler): HostStream;
  /** Listens on TCP; `onStream` gets each connection and returns its handler. Rejects with a NetproxyError. */
  listen(
    host: string,
    port: number,
    onStream: (stream: HostStream) => HostStreamHandler,
  ): Promise<HostListener>;
  /** An IPv4 UDP socket on a free port for one flow of a guest. */
  udp(handler: HostUdpHandler): HostUdp;
  /** A bound UDP socket for a published port. Rejects with a NetproxyError. */
  bindUdp(host: string, port: number, handler: HostUdpServerHandler): Promise<HostUdpServer>;
  /** What it counts by itself: `udpDropped`, datagrams that found no room in a socket's buffer. */
  readonly counters?: Readonly<Record<string, number>>;
}

/** The operating system's resolver. */
export interface HostResolver {
  /** Addresses of a name. Rejects with an error whose `code` is ENOTFOUND, ENODATA, EAI_AGAIN, ETIMEDOUT … */
  lookup(name: string, family: 4 | 6): Promise<readonly HostAddress[]>;
  /** Names of an address. */
  reverse(address: string): Promise<readonly string[]>;
  close(): void;
}
