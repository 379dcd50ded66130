/**
 * Guests' pings to the world, through the host's unprivileged ICMP sockets.
 *
 * Theory of operation. The kernel gives each such socket an echo id of its own, so each address and id of a guest gets a
 * socket; the guest's id is put back into replies and into the echo requests that errors quote. TTL is one less behind us,
 * DSCP, ECN and DF are carried, and errors (time exceeded, unreachable, fragmentation needed) come from whoever said them:
 * traceroute and path MTU discovery by ping work.
 *
 * Limits: MAX_PINGS_PER_GUEST sockets of a guest and MAX_PINGS of all, as GuestTable has it, each closed after PING_IDLE;
 * PING_RATE requests a second and guest, PING_BURST at once.
 */
import type { Neighbour } from '../arp/index.js';
import {
  type Errno,
  type HostIcmp,
  type HostIo,
  type HostPing,
  type Ipv4,
  type Logger,
  type Millis,
  Bucket,
  Timer,
} from '../core/index.js';
import { DEFAULT_TTL } from '../ipv4/index.js';
import type { EchoIn, Stack } from '../stack/index.js';
import { GuestTable } from './guest-table.js';
import { errorForGuest } from './host-error.js';

export const MAX_PINGS = 256;
export const MAX_PINGS_PER_GUEST = 64;
export const PING_IDLE: Millis = 30_000;
export const PING_RATE = 1000;
export const PING_BURST = 200;
/** What a request costs later, in other calls: its reply. µs. */
const REQUEST = 10;

export function pingCounters() {
  return {
    requests: 0,
    replies: 0,
    errors: 0,
    /** Errors of the host that no ICMP message stands for. */
    errorsUntold: 0,
    expired: 0,
    /** Least recently used sockets that went at a cap. */
    evicted: 0,
    rateLimited: 0,
    /** The host had no socket for it: not allowed, or none left. */
    unavailable: 0,
  };
}

interface Ping {
  readonly key: number;
  readonly owner: number;
  readonly id: number;
  readonly socket: HostPing;
  readonly timer: Timer;
  readonly neighbour: Neighbour;
  lastUsed: Millis;
  /** Of the request that was sent last. */
  sequence: number;
}

export class PingNat {
  readonly counters = pingCounters();
  private readonly stack: Stack;
  private readonly io: HostIo;
  private readonly logger: Logger;
  private readonly table = new GuestTable<Ping>(MAX_PINGS_PER_GUEST, MAX_PINGS, (ping) => {
    this.counters.evicted++;
    this.remove(ping);
  });
  /** By the guest's port of the switch. */
  private readonly rates = new Map<number, Bucket>();
  private told = false;

  constructor(stack: Stack, io: HostIo, logger: Logger) {
    this.stack = stack;
    this.io = io;
    this.logger = logger;
  }

  get size(): number {
    return this.table.size;
  }

  /** Sends a guest's echo request on, to `ip`. */
  send(echo: EchoIn, ip: Ipv4): void {
    const { neighbour, bytes, offset, length, ttl, tos, dontFragment } = echo;
    const now = this.stack.now();
    if (!this.rate(neighbour.port).take(now)) {
      this.counters.rateLimited++;
      return;
    }
    const id = (bytes[offset + 4]! << 8) | bytes[offset + 5]!;
    const ping = this.table.get(neighbour.port, neighbour.ip * 65_536 + id) ?? this.open(neighbour, id, now);
    if (ping === undefined) {
      this.counters.unavailable++;
      this.tellOnce();
      return;
    }
    const port = this.stack.portOf(neighbour);
    if (port !== undefined) this.stack.shares.charge(port, REQUEST);
    this.table.used(ping, now);
    this.counters.requests++;
    ping.sequence = (bytes[offset + 6]! << 8) | bytes[offset + 7]!;
    ping.socket.send(bytes, offset, length, ip, ttl - 1, tos, dontFragment);
  }

  /** Closes the sockets of a guest that went away. */
  forgetPort(port: number): void {
    for (const ping of this.table.of(port)) this.remove(ping);
    this.rates.delete(port);
  }

  stop(): void {
    for (const ping of this.table) this.remove(ping);
  }

  private rate(port: number): Bucket {
    let rate = this.rates.get(port);
    if (rate === undefined) this.rates.set(port, (rate = new Bucket(PING_RATE, PING_BURST)));
    return rate;
  }

  private open(neighbour: Neighbour, id: number, now: Millis): Ping | undefined {
    this.table.makeRoom(neighbour.port);
    const socket = this.io.ping?.({
      reply: (bytes, offset, length, ip, ttl, tos) => {
        this.counters.replies++;
        bytes[offset + 4] = id >>> 8;
        bytes[offset + 5] = id & 255;
        const left = ttl === 0 ? DEFAULT_TTL : Math.max(1, ttl - 1);
        this.stack.packets.echoReply(neighbour, ip, bytes, offset + 4, length - 4, left, tos);
      },
      error: (errno, ip, sequence, mtu, icmp) => {
        this.failed(ping, errno, ip, sequence ?? ping.sequence, mtu, icmp);
      },
    });
    if (socket === undefined) return undefined;
    const ping: Ping = {
      key: neighbour.ip * 65_536 + id,
      owner: neighbour.port,
      id,
      socket,
      neighbour,
      lastUsed: now,
      sequence: 0,
      timer: new Timer((at) => {
        this.expire(ping, at);
      }),
    };
    this.table.add(ping);
    this.stack.timers.set(ping.timer, now + PING_IDLE);
    this.stack.rearm();
    return ping;
  }

  private failed(
    ping: Ping,
    errno: Errno,
    ip: Ipv4,
    sequence: number,
    mtu: number,
    icmp: HostIcmp | undefined,
  ): void {
    const error = errorForGuest(errno, mtu, icmp);
    if (error === undefined) {
      this.counters.errorsUntold++;
      return;
    }
    this.counters.errors++;
    const { packets } = this.stack;
    packets.icmpError(
      ping.neighbour,
      packets.speaker(error.type, error.code, ip, icmp?.from),
      error.type,
      error.code,
      error.mtu,
      packets.quoteEcho(ping.neighbour, ip, ping.id, sequence),
    );
  }

  private expire(ping: Ping, now: Millis): void {
    const due = ping.lastUsed + PING_IDLE;
    if (due > now) {
      this.stack.timers.set(ping.timer, due);
      return;
    }
    this.counters.expired++;
    this.remove(ping);
  }

  private remove(ping: Ping): void {
    if (!this.table.delete(ping)) return;
    this.stack.timers.cancel(ping.timer);
    ping.socket.close();
  }

  private tellOnce(): void {
    if (this.told) return;
    this.told = true;
    this.logger.warn('guests can ping the gateway and the host alias only; "netproxy doctor" tells why');
  }
}
