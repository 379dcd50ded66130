/** UDP sockets owned by the crate: batches both ways (udp-queue.ts), and the errors that ICMP brought (IP_RECVERR). */
import {
  type HostIcmp,
  type HostUdp,
  type HostUdpHandler,
  type HostUdpServer,
  type HostUdpServerHandler,
  type Ipv4,
  NetproxyError,
  formatIpv4,
  ipv4,
  parseIpv4,
} from '../core/index.js';
import { ERR, OPTION, READ, UDP_ERROR_STRIDE, UDP_IPV6, UDP_RX_STRIDE, errnoName } from './constants.js';
import type { Hub } from './hub.js';
import { MAX_DATAGRAM, type QueuedSocket, UNQUEUED, UdpQueue } from './udp-queue.js';

/** Largest datagram with its slot's slack, bytes. */
const SLOT = 65_536;
const SLOTS = 16;
const ERRORS = 16;
/** Receives per wake-up of one socket. */
const MAX_ROUNDS = 4;
/** SO_RCVBUF and SO_SNDBUF of a socket, bytes. */
const SOCKET_BUFFER = 1024 * 1024;
/** Values of IP_MTU_DISCOVER: fragments and no DF, DF and EMSGSIZE. */
const PMTU_DONT = 0;
const PMTU_DO = 2;
/** Origins of an error: the host itself, or ICMP (SO_EE_ORIGIN_LOCAL, SO_EE_ORIGIN_ICMP). */
const ORIGIN_LOCAL = 1;
const ORIGIN_ICMP = 2;
/** Words for datagrams that were too long and whose MTU is not known yet: two for each. */
const MAX_TOO_LONG = 64;

/** Buffers that all UDP sockets of a hub share. */
export class UdpScratch {
  readonly bytes = new Uint8Array(SLOT * SLOTS);
  readonly meta = new Int32Array(SLOTS * UDP_RX_STRIDE);
  readonly errors = new Int32Array(ERRORS * UDP_ERROR_STRIDE);
  readonly bytesId: number;
  readonly metaId: number;
  readonly errorsId: number;
  readonly queue: UdpQueue;

  constructor(hub: Hub) {
    const { poller } = hub;
    this.bytesId = poller.register(this.bytes);
    this.metaId = poller.register(this.meta);
    this.errorsId = poller.register(this.errors);
    this.queue = new UdpQueue(hub);
  }
}

/** Where datagrams and errors of a socket go; addresses are four words, IPv4 in the first. */
interface Sink {
  datagram(bytes: Uint8Array, offset: number, length: number, at: number): void;
  failed(errno: string, at: number): void;
  /** A datagram was not sent; its port and address stand at `at` of the table, see UDP_TX_STRIDE. */
  refused(errno: string, table: Int32Array, at: number): void;
}

/** One socket, whatever it is for. */
export class NativeUdpSocket implements QueuedSocket {
  readonly handle: number;
  head = UNQUEUED;
  tail = UNQUEUED;
  private readonly hub: Hub;
  private readonly scratch: UdpScratch;
  private readonly sink: Sink;
  private open = true;
  private dontFragment: boolean | undefined;
  /** First words of destinations, and ports. */
  private readonly tooLong: number[] = [];

  constructor(hub: Hub, scratch: UdpScratch, handle: number, sink: Sink) {
    this.hub = hub;
    this.scratch = scratch;
    this.handle = handle;
    this.sink = sink;
    hub.poller.setOption(handle, OPTION.receiveBuffer, SOCKET_BUFFER);
    hub.poller.setOption(handle, OPTION.sendBuffer, SOCKET_BUFFER);
    hub.watch(
      handle,
      (events) => {
        this.ready(events);
      },
      'a UDP socket',
    );
  }

  /** Sends a copy of a datagram at the end of the turn. `words`: IPv4, or the four of IPv6; TTL and TOS 0: the socket's. */
  send(
    bytes: Uint8Array,
    offset: number,
    length: number,
    port: number,
    words: readonly number[] | number,
    ttl = 0,
    tos = 0,
  ): void {
    if (this.open && length <= MAX_DATAGRAM) {
      this.scratch.queue.push(this, bytes, offset, length, port, words, ttl, tos);
    }
  }

  /** Whether what is sent from now on carries DF, and is an error where it does not fit, or goes in fragments. */
  setDontFragment(wanted: boolean): void {
    if (this.dontFragment === wanted || !this.open) return;
    this.dontFragment = wanted;
    if (this.head !== UNQUEUED) this.scratch.queue.flush();
    this.hub.poller.setOption(this.handle, OPTION.mtuDiscover, wanted ? PMTU_DO : PMTU_DONT);
  }

  refused(result: number, table: Int32Array, at: number): void {
    if (!this.open) return;
    const errno = errnoName(result);
    // The error queue tells the MTU, but of an unconnected socket not the port.
    if (errno !== 'EMSGSIZE') this.sink.refused(errno, table, at);
    else if (this.tooLong.length < MAX_TOO_LONG) this.tooLong.push(table[at + 4]!, table[at + 3]!);
  }

  close(): void {
    if (!this.open) return;
    if (this.head !== UNQUEUED) this.scratch.queue.flush();
    this.open = false;
    this.hub.unwatch(this.handle);
    this.hub.poller.closeHandle(this.handle);
  }

  private isOpen(): boolean {
    return this.open;
  }

  private ready(events: number): void {
    if ((events & ERR) !== 0) this.drainErrors();
    if ((events & READ) === 0) return;
    const { hub, scratch, sink } = this;
    for (let round = 0; round < MAX_ROUNDS && this.open; round++) {
      const n = hub.poller.udpRecvBatch(this.handle, scratch.bytesId, 0, SLOT * SLOTS, SLOT, scratch.metaId);
      for (let i = 0; i < n && this.isOpen(); i++) {
        const at = i * UDP_RX_STRIDE;
        sink.datagram(scratch.bytes, scratch.meta[at]!, scratch.meta[at + 1]!, at);
      }
      if (n < SLOTS) return;
    }
  }

  private drainErrors(): void {
    const { hub, scratch, sink } = this;
    const n = hub.poller.udpErrors(this.handle, scratch.errorsId, ERRORS);
    for (let i = 0; i < n && this.isOpen(); i++) {
      const at = i * UDP_ERROR_STRIDE;
      const errno = errnoName(scratch.errors[at]!);
      if (errno === 'EMSGSIZE' && scratch.errors[at + 1] === ORIGIN_LOCAL) this.tellTooLong(at);
      // One datagram that is tried again fails again.
      else if (i === 0 || !sameError(scratch.errors, at - UDP_ERROR_STRIDE, at)) sink.failed(errno, at);
    }
  }

  /** The kernel's error about datagrams to one address, for each port that was meant. */
  private tellTooLong(at: number): void {
    const { errors } = this.scratch;
    const { tooLong } = this;
    for (let i = tooLong.length - 2; i >= 0 && this.open; i -= 2) {
      if (tooLong[i] !== errors[at + 10]) continue;
      const [, port] = tooLong.splice(i, 2);
      errors[at + 5] = port!;
      this.sink.failed('EMSGSIZE', at);
    }
  }
}

/** A guest flow's socket. */
export function nativeUdp(hub: Hub, scratch: UdpScratch, handler: HostUdpHandler): HostUdp {
  const handle = hub.poller.udpOpen(null, 0, false);
  if (handle < 0) {
    queueMicrotask(() => {
      handler.error(errnoName(handle), ipv4(0), 0, 0);
    });
    return { send: () => undefined, close: () => undefined };
  }
  const socket = new NativeUdpSocket(hub, scratch, handle, {
    datagram: (bytes, offset, length, at) => {
      const { meta } = scratch;
      const ip = ipv4(meta[at + 4]!);
      handler.datagram(bytes, offset, length, ip, meta[at + 2]!, meta[at + 12]!, meta[at + 13]!);
    },
    failed: (errno, at) => {
      const { errors } = scratch;
      const mtu = errno === 'EMSGSIZE' ? errors[at + 4]! : 0;
      handler.error(errno, ipv4(errors[at + 10]!), errors[at + 5]!, mtu, icmpOf(errors, at));
    },
    refused: (errno, table, at) => {
      const port = table[at + 3]!;
      const ip = ipv4(table[at + 4]!);
      queueMicrotask(() => {
        handler.error(errno, ip, port, 0);
      });
    },
  });
  return {
    send: (bytes, offset, length, ip, port, ttl, tos, dontFragment) => {
      socket.setDontFragment(dontFragment);
      socket.send(bytes, offset, length, port, ip, ttl, tos);
    },
    close: () => {
      socket.close();
    },
  };
}

/** A published port's socket; a negative handle is the caller's to report. */
export function nativeUdpServer(
  hub: Hub,
  scratch: UdpScratch,
  handle: number,
  handler: HostUdpServerHandler,
): HostUdpServer {
  const bound = hub.poller.address(handle, false);
  const socket = new NativeUdpSocket(hub, scratch, handle, {
    datagram: (bytes, offset, length, at) => {
      const { meta } = scratch;
      const v6 = (meta[at + 3]! & UDP_IPV6) !== 0;
      const host = v6 ? formatWords(meta, at + 4) : formatIpv4(ipv4(meta[at + 4]!));
      handler.datagram(bytes.subarray(offset, offset + length), host, meta[at + 2]!);
    },
    failed: (errno) => {
      handler.error(errno);
    },
    refused: (errno) => {
      queueMicrotask(() => {
        handler.error(errno);
      });
    },
  });
  return {
    host: bound?.address ?? '',
    port: bound?.port ?? 0,
    send: (bytes, host, port) => {
      socket.send(bytes, 0, bytes.length, port, addressWords(host));
    },
    close: () => {
      socket.close();
    },
  };
}

/** What ICMP said, of an error at `at`; undefined when the host itself was the reason. */
export function icmpOf(errors: Int32Array, at: number): HostIcmp | undefined {
  if (errors[at + 1] !== ORIGIN_ICMP) return undefined;
  return { type: errors[at + 2]!, code: errors[at + 3]!, from: ipv4(errors[at + 6]!) };
}

function sameError(errors: Int32Array, one: number, other: number): boolean {
  for (let i = 0; i < UDP_ERROR_STRIDE; i++) if (errors[one + i] !== errors[other + i]) return false;
  return true;
}

/** Four words as an IPv6 address, uncompressed. */
function formatWords(words: Int32Array, at: number): string {
  const groups: string[] = [];
  for (let i = 0; i < 4; i++) {
    const word = words[at + i]! >>> 0;
    groups.push((word >>> 16).toString(16), (word & 0xffff).toString(16));
  }
  return groups.join(':');
}

/** Words of an address that `formatWords` or `formatIpv4` wrote. */
function addressWords(host: string): readonly number[] | Ipv4 {
  const ip = parseIpv4(host);
  if (ip !== undefined) return ip;
  const groups = host.split(':').map((group) => Number.parseInt(group, 16));
  if (groups.length !== 8 || groups.some((group) => Number.isNaN(group)))
    throw new NetproxyError('ERR_NETPROXY_STATE', `${host} is no address of a client`);
  return [0, 2, 4, 6].map((i) => (groups[i]! << 16) | groups[i + 1]!);
}
