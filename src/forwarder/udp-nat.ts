/**
 * Guests' datagrams to the world: a NAT (RFC 4787), full cone unless symmetric mode is chosen.
 *
 * Theory of operation. Full cone: a guest's address and port get one host socket, whatever they talk to; what arrives on
 * that socket, from anybody, reaches the guest. Symmetric: one socket for each destination, and only that one answers. A
 * mapping lives `idleShort` after one request and one reply (DNS, NTP) and `idleStream` once traffic went both ways
 * repeatedly (RFC 4787 REQ-5 asks for 2 minutes or more). TTL is one less behind us; DSCP, ECN and DF are carried.
 *
 * Limits: `perGuest` mappings of a guest, `total` of all. At its own cap a guest's least recently used mapping goes; at the
 * total, the least recently used one of the guest that has most, so that nobody is pushed out by a flood of another.
 *
 * A guest that says "port unreachable" about something that we delivered has closed its socket: the mapping is closed, too,
 * and from then on the host's kernel says the same to whoever still sends. (RFC 4787 REQ-10 keeps mappings alive against
 * messages from outside; what comes from outside never closes one here.)
 */
import type { Neighbour } from '../arp/index.js';
import type { Errno, HostIcmp, HostIo, Ipv4, Millis } from '../core/index.js';
import {
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  UNREACHABLE_FRAGMENTATION,
  UNREACHABLE_HOST,
  UNREACHABLE_PORT,
  UNREACHABLE_PROHIBITED,
} from '../icmp/index.js';
import { DEFAULT_TTL } from '../ipv4/index.js';
import type { Decision } from '../policy/index.js';
import type { Stack, UdpIn } from '../stack/index.js';
import { GuestTable } from './guest-table.js';
import { errorForGuest } from './host-error.js';
import {
  DEFAULT_UDP_LIMITS,
  type MappingOwner,
  type UdpLimits,
  UdpMapping,
  type UdpNatMode,
  udpCounters,
} from './udp-mapping.js';

/** A power of two. */
const RECENT = 256;

/** What a datagram and a mapping cost later, in other calls (sending, the socket's errors, its end), µs. */
const DATAGRAM = 2;
const MAPPING = 20;

/** How a refusal of the policy is told (RFC 1812 section 5.2.7.1). */
const DENIED = {
  reset: UNREACHABLE_PORT,
  prohibited: UNREACHABLE_PROHIBITED,
  unreachable: UNREACHABLE_HOST,
  silent: undefined,
} as const;

export class UdpNat implements MappingOwner {
  readonly counters = udpCounters();
  readonly mode: UdpNatMode;
  /** Ports outside that are closed here, though the policy lets datagrams go there. */
  isClosed: ((ip: Ipv4, port: number) => boolean) | undefined;
  private readonly stack: Stack;
  private readonly io: HostIo;
  private readonly limits: UdpLimits;
  private readonly isLoopback: (ip: Ipv4) => boolean;
  private readonly table: GuestTable<UdpMapping>;
  /** Mappings used last, by a few bits of their port: most datagrams need no look-up. */
  private readonly recent: (UdpMapping | undefined)[] = new Array<undefined>(RECENT).fill(undefined);

  constructor(
    stack: Stack,
    io: HostIo,
    isLoopback: (ip: Ipv4) => boolean,
    limits: UdpLimits = DEFAULT_UDP_LIMITS,
    mode: UdpNatMode = 'full-cone',
  ) {
    this.stack = stack;
    this.io = io;
    this.isLoopback = isLoopback;
    this.limits = limits;
    this.mode = mode;
    this.table = new GuestTable(limits.perGuest, limits.total, (mapping) => {
      this.counters.evicted++;
      this.remove(mapping);
    });
  }

  get size(): number {
    return this.table.size;
  }

  list(): Iterable<UdpMapping> {
    return this.table;
  }

  /** Sends a guest's datagram as the policy decided. */
  send(datagram: UdpIn, decision: Decision): void {
    const { verdict } = decision;
    const { neighbour } = datagram;
    if (neighbour === undefined) return;
    if (verdict.kind !== 'dial') {
      this.counters.denied++;
      const code = verdict.kind === 'deny' ? DENIED[verdict.how] : UNREACHABLE_PORT;
      if (code !== undefined) this.refuse(datagram, neighbour, code);
      return;
    }
    const now = this.stack.now();
    const { ip, port } = verdict;
    if (verdict.via === 'direct' && this.isClosed?.(ip, port) === true) {
      this.counters.denied++;
      this.refuse(datagram, neighbour, UNREACHABLE_PORT);
      return;
    }
    const slot = slotOf(neighbour, datagram.sourcePort);
    let mapping = this.recent[slot];
    if (
      mapping?.neighbour !== neighbour ||
      mapping.guestPort !== datagram.sourcePort ||
      (this.mode === 'symmetric' && (mapping.lastIp !== ip || mapping.lastPort !== port))
    ) {
      mapping = this.mapping(neighbour, datagram.sourcePort, ip, port, now);
      this.recent[slot] = mapping;
    }
    this.stack.shares.charge(datagram.port, DATAGRAM);
    mapping.sent++;
    mapping.bytesToHost += datagram.length;
    mapping.lastIp = ip;
    mapping.lastPort = port;
    this.table.used(mapping, now);
    this.counters.toHost++;
    if (verdict.via === 'redirect') mapping.lead(ip, port, datagram.destination, datagram.destinationPort);
    // The host itself, by its alias, is no hop further.
    const ttl = verdict.via === 'alias' ? datagram.ttl : datagram.ttl - 1;
    const { bytes, offset, length, tos, dontFragment } = datagram;
    mapping.socket.send(bytes, offset, length, ip, port, ttl, tos, dontFragment);
  }

  toGuest(
    mapping: UdpMapping,
    bytes: Uint8Array,
    offset: number,
    length: number,
    ip: Ipv4,
    port: number,
    ttl: number,
    tos: number,
  ): void {
    if (this.mode === 'symmetric' && (ip !== mapping.lastIp || port !== mapping.lastPort)) {
      this.counters.filtered++;
      return;
    }
    mapping.received++;
    mapping.bytesToGuest += length;
    this.counters.toGuest++;
    this.table.used(mapping, this.stack.now());
    const led = mapping.ledFrom(ip, port);
    this.stack.packets.udp(
      mapping.neighbour,
      led?.asIp ?? this.asSeenByGuest(ip),
      led?.asPort ?? port,
      mapping.guestPort,
      bytes,
      offset,
      length,
      this.ttlForGuest(ip, ttl),
      tos,
    );
  }

  failed(
    mapping: UdpMapping,
    errno: Errno,
    ip: Ipv4,
    port: number,
    mtu: number,
    icmp: HostIcmp | undefined,
  ): void {
    const { counters } = this;
    if (ip === 0 && port === 0) {
      counters.noSocket++;
      this.stack.deps.logger.warn(`the host cannot open more UDP sockets (${errno}); guests will try again`, {
        errno,
        every: 10_000,
      });
      this.remove(mapping);
      return;
    }
    counters.errors++;
    const led = mapping.ledFrom(ip, port);
    const error = errorForGuest(errno, mtu, icmp);
    if (error === undefined) {
      counters.errorsUntold++;
      return;
    }
    if (error.type === ICMP_TIME_EXCEEDED) counters.timeExceeded++;
    else if (error.code === UNREACHABLE_FRAGMENTATION) counters.fragmentationNeeded++;
    else counters.unreachable++;
    this.stack.packets.errorUdp(
      mapping.neighbour,
      mapping.guestPort,
      led?.asIp ?? this.asSeenByGuest(ip),
      led?.asPort ?? port,
      0,
      error.type,
      error.code,
      error.mtu,
      icmp === undefined ? undefined : this.asSeenByGuest(icmp.from),
    );
  }

  /** A guest said by ICMP that its port is closed. */
  closed(neighbour: Neighbour, guestPort: number, ip: Ipv4, port: number): void {
    const mapping = this.table.get(neighbour.port, this.key(neighbour, guestPort, ip, port));
    if (mapping === undefined) return;
    this.counters.closedByGuest++;
    this.remove(mapping);
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
    for (const mapping of this.table.of(port)) this.remove(mapping);
  }

  stop(): void {
    for (const mapping of this.table) this.remove(mapping);
  }

  private refuse(datagram: UdpIn, neighbour: Neighbour, code: number): void {
    this.stack.packets.errorUdp(
      neighbour,
      datagram.sourcePort,
      datagram.destination,
      datagram.destinationPort,
      datagram.length,
      ICMP_UNREACHABLE,
      code,
      0,
      undefined,
    );
  }

  private key(neighbour: Neighbour, guestPort: number, ip: Ipv4, port: number): number | string {
    const own = neighbour.ip * 65_536 + guestPort;
    return this.mode === 'symmetric' ? `${own}/${ip}/${port}` : own;
  }

  private mapping(neighbour: Neighbour, guestPort: number, ip: Ipv4, port: number, now: Millis): UdpMapping {
    const key = this.key(neighbour, guestPort, ip, port);
    const known = this.table.get(neighbour.port, key);
    if (known !== undefined) {
      // A neighbour that was forgotten and learned again is another object.
      known.neighbour = neighbour;
      return known;
    }
    this.table.makeRoom(neighbour.port);
    const guest = this.stack.portOf(neighbour);
    if (guest !== undefined) this.stack.shares.charge(guest, MAPPING);
    const mapping = new UdpMapping(this, this.stack.flowId(), key, neighbour, guestPort, ip, port, now);
    mapping.socket = this.io.udp(mapping);
    this.table.add(mapping);
    this.counters.mappings++;
    this.stack.timers.set(mapping.timer, now + this.limits.idleShort);
    this.stack.rearm();
    return mapping;
  }

  remove(mapping: UdpMapping): void {
    if (!this.table.delete(mapping)) return;
    const slot = slotOf(mapping.neighbour, mapping.guestPort);
    if (this.recent[slot] === mapping) this.recent[slot] = undefined;
    this.stack.timers.cancel(mapping.timer);
    mapping.socket.close();
  }

  /** What the guest reached as the host alias answers as the alias. */
  private asSeenByGuest(ip: Ipv4): Ipv4 {
    const { hostAlias } = this.stack.config;
    return hostAlias !== undefined && this.isLoopback(ip) ? hostAlias : ip;
  }

  /** One less behind us. What the host took is not lost here for its TTL: nobody is behind the guest's own stack. */
  private ttlForGuest(ip: Ipv4, ttl: number): number {
    if (ttl === 0) return DEFAULT_TTL;
    return this.isLoopback(ip) ? ttl : Math.max(1, ttl - 1);
  }
}

function slotOf(neighbour: Neighbour, guestPort: number): number {
  return (guestPort ^ (neighbour.port << 4)) & (RECENT - 1);
}
