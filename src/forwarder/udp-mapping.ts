/** One guest address and port with its host socket, and the limits and counters of all of them. */
import type { Neighbour } from '../arp/index.js';
import {
  type Errno,
  type HostIcmp,
  type HostUdp,
  type HostUdpHandler,
  type Ipv4,
  type Millis,
  Timer,
} from '../core/index.js';

export const IDLE_SHORT: Millis = 30_000;
export const IDLE_STREAM: Millis = 180_000;
export const MAX_PER_GUEST = 2048;
export const MAX_MAPPINGS = 8192;

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

/**
 * What a mapping is for: `full-cone`, one for all that a guest's port talks to, and anybody may answer (RFC 4787 REQ-1,
 * REQ-8); `symmetric`, one for each destination, and only that may answer.
 */
export type UdpNatMode = 'full-cone' | 'symmetric';

export function udpCounters() {
  return {
    mappings: 0,
    expired: 0,
    /** Least recently used mappings that went at a cap. */
    evicted: 0,
    /** The guest said that its port is closed. */
    closedByGuest: 0,
    /** The host had no socket for a mapping (EMFILE, ENOBUFS …). */
    noSocket: 0,
    toHost: 0,
    toGuest: 0,
    denied: 0,
    /** Symmetric: from others than whom the guest talks to. */
    filtered: 0,
    errors: 0,
    unreachable: 0,
    timeExceeded: 0,
    fragmentationNeeded: 0,
    /** Errors of the host that no ICMP message stands for. */
    errorsUntold: 0,
  };
}

/** Who is told what happens on a mapping's socket. */
export interface MappingOwner {
  toGuest(
    mapping: UdpMapping,
    bytes: Uint8Array,
    offset: number,
    length: number,
    ip: Ipv4,
    port: number,
    ttl: number,
    tos: number,
  ): void;
  failed(mapping: UdpMapping, errno: Errno, ip: Ipv4, port: number, mtu: number, icmp?: HostIcmp): void;
  expire(mapping: UdpMapping): void;
  remove(mapping: UdpMapping): void;
}

/** Destinations of one mapping that are led elsewhere; beyond, the oldest is forgotten. */
const MAX_LED = 16;

/** The guest's destination, and where the policy led it. */
interface Led {
  readonly ip: Ipv4;
  readonly port: number;
  readonly asIp: Ipv4;
  readonly asPort: number;
}

export class UdpMapping implements HostUdpHandler {
  /** Unique in its network. */
  readonly id: number;
  readonly key: number | string;
  neighbour: Neighbour;
  readonly guestPort: number;
  readonly timer: Timer;
  readonly startedAt: Millis;
  socket!: HostUdp;
  lastUsed: Millis;
  sent = 0;
  received = 0;
  bytesToHost = 0;
  bytesToGuest = 0;
  /** The last destination: for people, and for symmetric mode, where it is the only one. */
  lastIp: Ipv4;
  lastPort: number;
  private led: readonly Led[] | undefined;
  private readonly nat: MappingOwner;

  constructor(
    nat: MappingOwner,
    id: number,
    key: number | string,
    neighbour: Neighbour,
    guestPort: number,
    ip: Ipv4,
    port: number,
    now: Millis,
  ) {
    this.nat = nat;
    this.id = id;
    this.key = key;
    this.neighbour = neighbour;
    this.guestPort = guestPort;
    this.lastIp = ip;
    this.lastPort = port;
    this.startedAt = now;
    this.lastUsed = now;
    this.timer = new Timer(() => {
      nat.expire(this);
    });
  }

  /** The guest, by its port of the switch. */
  get owner(): number {
    return this.neighbour.port;
  }

  datagram(
    bytes: Uint8Array,
    offset: number,
    length: number,
    ip: Ipv4,
    port: number,
    ttl: number,
    tos: number,
  ): void {
    this.nat.toGuest(this, bytes, offset, length, ip, port, ttl, tos);
  }

  /** What comes from `ip` and `port` is to reach the guest as from where it sent to. */
  lead(ip: Ipv4, port: number, asIp: Ipv4, asPort: number): void {
    const led = this.ledFrom(ip, port);
    if (led?.asIp === asIp && led.asPort === asPort) return;
    const others = (this.led ?? []).filter((one) => one !== led);
    this.led = [{ ip, port, asIp, asPort }, ...others.slice(0, MAX_LED - 1)];
  }

  /** Undefined: nothing of the guest was led there. */
  ledFrom(ip: Ipv4, port: number): Led | undefined {
    return this.led?.find((one) => one.ip === ip && one.port === port);
  }

  /** Closes its host socket; the guest's next datagram gets another one. */
  kill(): void {
    this.nat.remove(this);
  }

  error(errno: Errno, ip: Ipv4, port: number, mtu: number, icmp?: HostIcmp): void {
    this.nat.failed(this, errno, ip, port, mtu, icmp);
  }
}
