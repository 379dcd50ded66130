/**
 * What the forwarder asks of the host: TCP streams, UDP sockets, listeners, names. Made by `native` (the crate owns
 * the descriptors) or by `host` (Node's own sockets), with one contract.
 */
import type { Ipv4 } from './address.js';
import type { SendRing } from './ring.js';
import type { SliceQueue } from './slices.js';

/** Why the host could not: the errno name. */
export type Errno = string;

/**
 * Where a TCP stream goes: an address and port, or a unix socket. `receiveBuffer` bounds what the system keeps of an IPv4 connection
 * before it is read, bytes; a host that cannot bound it leaves it to the system.
 */
export type HostTarget =
  | {
      readonly kind: 'tcp';
      readonly host: string;
      /** The host as a number, where it is an IPv4 address and known as one. */
      readonly ip?: Ipv4 | undefined;
      readonly port: number;
      readonly receiveBuffer?: number | undefined;
    }
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
  /** Where an accepted stream came in, for PROXY headers. */
  readonly local?: { readonly host: string; readonly port: number } | undefined;
}

export interface HostListener {
  /** The bound address, the chosen port included. */
  readonly host: string;
  readonly port: number;
  close(): void;
}

/** What ICMP said about a datagram that was sent. */
export interface HostIcmp {
  readonly type: number;
  readonly code: number;
  /** Who said so; 0: not known. */
  readonly from: Ipv4;
}

/** What an unconnected UDP socket of a flow tells its owner. */
export interface HostUdpHandler {
  /** A datagram; the bytes are lent for the call. `ttl`: 0 where the host does not tell; `tos`: DSCP and ECN. */
  datagram(
    bytes: Uint8Array,
    offset: number,
    length: number,
    ip: Ipv4,
    port: number,
    ttl: number,
    tos: number,
  ): void;
  /**
   * The host reported an error for this destination (ECONNREFUSED, EHOSTUNREACH, EMSGSIZE with the MTU …). `icmp`: where a
   * message from outside was the reason. With address and port 0 the socket itself is of no use.
   */
  error(errno: Errno, ip: Ipv4, port: number, mtu: number, icmp?: HostIcmp): void;
}

/** One unconnected host UDP socket of a guest's flow. */
export interface HostUdp {
  /**
   * Copies the bytes before it returns and sends them by the end of the event-loop turn, so that those of one turn can leave
   * together, or never: a datagram that finds no room is dropped. Trouble comes by `error`, after the call. As far as the
   * host can, it leaves with `ttl` (0: the host's own), with `tos` (DSCP and ECN), and with DF or in fragments as
   * `dontFragment` says.
   */
  send(
    bytes: Uint8Array,
    offset: number,
    length: number,
    ip: Ipv4,
    port: number,
    ttl: number,
    tos: number,
    dontFragment: boolean,
  ): void;
  /** Sends what waits, and closes. */
  close(): void;
}

/** What a socket of pings tells its owner. */
export interface HostPingHandler {
  /** An echo reply, from its type on; the bytes are lent for the call and may be changed. `ttl`: 0 where the host does not tell. */
  reply(bytes: Uint8Array, offset: number, length: number, ip: Ipv4, ttl: number, tos: number): void;
  /** As with `HostUdpHandler`; `sequence` of the request, where it is known. */
  error(errno: Errno, ip: Ipv4, sequence: number | undefined, mtu: number, icmp?: HostIcmp): void;
}

/** A socket for echo requests of one id; which one, the host decides. */
export interface HostPing {
  /** Sends an echo request, given from its type on, as `HostUdp.send`; id and checksum are the host's. */
  send(
    bytes: Uint8Array,
    offset: number,
    length: number,
    ip: Ipv4,
    ttl: number,
    tos: number,
    dontFragment: boolean,
  ): void;
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
  /**
   * Listens on TCP; `onStream` gets each connection and returns its handler. `onTrouble` hears why none can be taken for the moment
   * (EMFILE and the like): clients wait in the backlog meanwhile. Rejects with a NetproxyError.
   */
  listen(
    host: string,
    port: number,
    onStream: (stream: HostStream) => HostStreamHandler,
    onTrouble?: (errno: Errno) => void,
  ): Promise<HostListener>;
  /** The same at the path of a unix socket, mode 0600. Absent: this host has none. */
  listenUnix?(path: string, onStream: (stream: HostStream) => HostStreamHandler): Promise<HostListener>;
  /** An IPv4 UDP socket on a free port for one flow of a guest. */
  udp(handler: HostUdpHandler): HostUdp;
  /** A socket for pings; undefined where the host has none for us now. Absent: it never has. */
  ping?(handler: HostPingHandler): HostPing | undefined;
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
