/**
 * Guests' datagrams to the world: full-cone NAT (RFC 4787, endpoint-independent mapping and filtering).
 *
 * Theory of operation. A guest's address and port get one host socket, whatever they talk to; what arrives on that
 * socket, from anybody, reaches the guest. A mapping lives IDLE_SHORT after one request and one reply (DNS, NTP) and
 * IDLE_STREAM once traffic went both ways repeatedly (RFC 4787 REQ-5 asks for 2 minutes or more). A guest has at most
 * MAX_PER_GUEST mappings and the network MAX_MAPPINGS; beyond, the least recently used goes.
 */
import {
  type Errno,
  type HostIo,
  type HostUdp,
  type HostUdpHandler,
  type Ipv4,
  type Millis,
  Timer,
} from '../core/index.js';
import type { Neighbour } from '../arp/index.js';
import {
  UNREACHABLE_FRAGMENTATION,
  UNREACHABLE_HOST,
  UNREACHABLE_NET,
  UNREACHABLE_PORT,
  UNREACHABLE_PROHIBITED,
} from '../icmp/index.js';
import type { Decision } from '../policy/index.js';
import type { Stack, UdpIn } from '../stack/index.js';

export const IDLE_SHORT: Millis = 30_000;
export const IDLE_STREAM: Millis = 180_000;
export const MAX_PER_GUEST = 2048;
export const MAX_MAPPINGS = 8192;
/** A power of two. */
const RECENT = 256;

/** How a refusal of the policy is told (RFC 1812 section 5.2.7.1). */
const DENIED = {
  reset: UNREACHABLE_PORT,
  prohibited: UNREACHABLE_PROHIBITED,
  unreachable: UNREACHABLE_HOST,
  silent: undefined,
} as const;

export interface UdpLimits {
  readonly idleShort: Millis;
  readonly idleStream: Millis;
  readonly perGuest: number;
  readonly total: number;
}

export const DEFAULT_UDP_LIMITS: UdpLimits = {
  idleShort: IDLE_SHORT,
  idleStream: IDLE_STREAM,
  perGuest: MAX_PER_GUEST,
  total: MAX_MAPPINGS,
};

export function udpCounters() {
  return {
    mappings: 0,
    expired: 0,
    evicted: 0,
    toHost: 0,
    toGuest: 0,
    denied: 0,
    errors: 0,
    unreachable: 0,
    tooLong: 0,
  };
}

/** One guest address and port, and its host socket. */
export class UdpMapping implements HostUdpHandler {
  readonly nat: UdpNat;
  /** Unique in its network. */
  readonly id: number;
  readonly key: string;
  readonly neighbour: Neighbour;
  readonly guestPort: number;
  readonly timer: Timer;
  readonly startedAt: Millis;
  socket!: HostUdp;
  lastUsed: Millis;
  sent = 0;
  received = 0;
  bytesToHost = 0;
  bytesToGuest = 0;
  /** The last destination, for people. */
  lastIp: Ipv4;
  lastPort = 0;

  constructor(
    nat: UdpNat,
    id: number,
    key: string,
    neighbour: Neighbour,
    guestPort: number,
    ip: Ipv4,
    now: Millis,
  ) {
    this.nat = nat;
    this.id = id;
    this.key = key;
    this.neighbour = neighbour;
    this.guestPort = guestPort;
    this.lastIp = ip;
    this.startedAt = now;
    this.lastUsed = now;
    this.timer = new Timer(() => {
      nat.expire(this);
    });
  }

  datagram(bytes: Uint8Array, offset: number, length: number, ip: Ipv4, port: number): void {
    this.nat.toGuest(this, bytes, offset, length, ip, port);
  }

  /** Closes its host socket; the guest's next datagram gets another one. */
  kill(): void {
    this.nat.remove(this);
  }

  error(errno: Errno, ip: Ipv4, port: number, mtu: number): void {
    this.nat.failed(this, errno, ip, port, mtu);
  }
}

export class UdpNat {
  readonly counters = udpCounters();
  private readonly stack: Stack;
  private readonly io: HostIo;
  private readonly limits: UdpLimits;
  private readonly isLoopback: (ip: Ipv4) => boolean;
  /** Least recently used first, within a second or so. */
  private readonly mappings = new Map<string, UdpMapping>();
  private readonly perGuest = new Map<number, number>();
  /** Mappings used last, by a few bits of their port: most datagrams need no key made of text. */
  private readonly recent: (UdpMapping | undefined)[] = new Array<undefined>(RECENT).fill(undefined);

  constructor(
    stack: Stack,
    io: HostIo,
    isLoopback: (ip: Ipv4) => boolean,
    limits: UdpLimits = DEFAULT_UDP_LIMITS,
  ) {
    this.stack = stack;
    this.io = io;
    this.isLoopback = isLoopback;
    this.limits = limits;
  }

  get size(): number {
    return this.mappings.size;
  }

  list(): Iterable<UdpMapping> {
    return this.mappings.values();
  }

  /** Sends a guest's datagram as the policy decided. */
  send(datagram: UdpIn, decision: Decision): void {
    const { verdict } = decision;
    const { neighbour } = datagram;
    if (neighbour === undefined) return;
    if (verdict.kind !== 'dial') {
      this.counters.denied++;
      const code = verdict.kind === 'deny' ? DENIED[verdict.how] : UNREACHABLE_PORT;
      if (code === undefined) return;
      this.stack.packets.unreachableUdp(
        neighbour,
        datagram.sourcePort,
        datagram.destination,
        datagram.destinationPort,
        datagram.length,
        code,
        0,
      );
      return;
    }
    const now = this.stack.now();
    const slot = (datagram.sourcePort ^ (neighbour.port << 4)) & (RECENT - 1);
    let mapping = this.recent[slot];
    if (mapping?.neighbour !== neighbour || mapping.guestPort !== datagram.sourcePort) {
      mapping = this.mapping(datagram, neighbour, verdict.ip, now);
      this.recent[slot] = mapping;
    }
    mapping.sent++;
    mapping.bytesToHost += datagram.length;
    mapping.lastIp = verdict.ip;
    mapping.lastPort = verdict.port;
    this.used(mapping, now);
    this.counters.toHost++;
    mapping.socket.send(datagram.bytes, datagram.offset, datagram.length, verdict.ip, verdict.port);
  }

  toGuest(
    mapping: UdpMapping,
    bytes: Uint8Array,
    offset: number,
    length: number,
    ip: Ipv4,
    port: number,
  ): void {
    mapping.received++;
    mapping.bytesToGuest += length;
    this.counters.toGuest++;
    this.used(mapping, this.stack.now());
    this.stack.packets.udp(
      mapping.neighbour,
      this.asSeenByGuest(ip),
      port,
      mapping.guestPort,
      bytes,
      offset,
      length,
    );
  }

  failed(mapping: UdpMapping, errno: Errno, ip: Ipv4, port: number, mtu: number): void {
    this.counters.errors++;
    const code = unreachableCode(errno);
    if (code === undefined) return;
    this.counters.unreachable++;
    this.stack.packets.unreachableUdp(
      mapping.neighbour,
      mapping.guestPort,
      this.asSeenByGuest(ip),
      port,
      0,
      code,
      mtu,
    );
  }

  expire(mapping: UdpMapping): void {
    const idle = mapping.sent > 1 && mapping.received > 1 ? this.limits.idleStream : this.limits.idleShort;
    const due = mapping.lastUsed + idle;
    if (due > this.stack.now()) {
      this.stack.timers.set(mapping.timer, due);
      return;
    }
    this.counters.expired++;
    this.remove(mapping);
  }

  /** Closes the sockets of a guest that went away. */
  forgetPort(port: number): void {
    for (const mapping of this.mappings.values()) if (mapping.neighbour.port === port) this.remove(mapping);
  }

  stop(): void {
    for (const mapping of this.mappings.values()) this.remove(mapping);
  }

  private mapping(datagram: UdpIn, neighbour: Neighbour, ip: Ipv4, now: Millis): UdpMapping {
    const key = `${datagram.port.id}/${neighbour.ip}/${datagram.sourcePort}`;
    const known = this.mappings.get(key);
    if (known !== undefined) return known;
    if ((this.perGuest.get(neighbour.port) ?? 0) >= this.limits.perGuest) this.evict(neighbour.port);
    if (this.mappings.size >= this.limits.total) this.evict(undefined);
    const mapping = new UdpMapping(this, this.stack.flowId(), key, neighbour, datagram.sourcePort, ip, now);
    mapping.socket = this.io.udp(mapping);
    this.mappings.set(key, mapping);
    this.perGuest.set(neighbour.port, (this.perGuest.get(neighbour.port) ?? 0) + 1);
    this.counters.mappings++;
    this.stack.timers.set(mapping.timer, now + this.limits.idleShort);
    this.stack.rearm();
    return mapping;
  }

  private used(mapping: UdpMapping, now: Millis): void {
    if (now - mapping.lastUsed < 1000) return;
    mapping.lastUsed = now;
    this.mappings.delete(mapping.key);
    this.mappings.set(mapping.key, mapping);
  }

  private evict(port: number | undefined): void {
    for (const mapping of this.mappings.values()) {
      if (port !== undefined && mapping.neighbour.port !== port) continue;
      this.counters.evicted++;
      this.remove(mapping);
      return;
    }
  }

  remove(mapping: UdpMapping): void {
    if (!this.mappings.delete(mapping.key)) return;
    const slot = this.recent.indexOf(mapping);
    if (slot >= 0) this.recent[slot] = undefined;
    this.stack.timers.cancel(mapping.timer);
    const { port } = mapping.neighbour;
    const left = (this.perGuest.get(port) ?? 1) - 1;
    if (left === 0) this.perGuest.delete(port);
    else this.perGuest.set(port, left);
    mapping.socket.close();
  }

  /** What the guest reached as the host alias answers as the alias. */
  private asSeenByGuest(ip: Ipv4): Ipv4 {
    const { hostAlias } = this.stack.config;
    return hostAlias !== undefined && this.isLoopback(ip) ? hostAlias : ip;
  }
}

function unreachableCode(errno: Errno): number | undefined {
  switch (errno) {
    case 'ECONNREFUSED':
      return UNREACHABLE_PORT;
    case 'EHOSTUNREACH':
    case 'EHOSTDOWN':
      return UNREACHABLE_HOST;
    case 'ENETUNREACH':
    case 'ENETDOWN':
      return UNREACHABLE_NET;
    case 'EACCES':
    case 'EPERM':
      return UNREACHABLE_PROHIBITED;
    case 'EMSGSIZE':
      return UNREACHABLE_FRAGMENTATION;
    default:
      return undefined;
  }
}
