/**
 * Pings to the world through unprivileged ICMP sockets. The kernel gives each socket its own echo id, so a guest's id has
 * a socket of its own; the guest's id is put back into the reply.
 *
 * Limits: MAX_PINGS sockets (the least recently used goes), each closed after IDLE.
 */
import { type Ipv4, type Millis, ipv4 } from '../core/index.js';
import type { Hub } from './hub.js';
import { NativeUdpSocket, UdpScratch } from './udp.js';

export const MAX_PINGS = 256;
export const IDLE: Millis = 30_000;
const ICMP_ECHO_REQUEST = 8;
const ICMP_ECHO_REPLY = 0;

/** Who gets a reply: the id is the guest's, `bytes` hold id, sequence and data. */
export type PingReply = (from: Ipv4, bytes: Uint8Array) => void;

interface Ping {
  readonly socket: NativeUdpSocket;
  reply: PingReply;
  lastUsed: Millis;
}

export class NativePinger {
  private readonly hub: Hub;
  private readonly scratch: UdpScratch;
  private readonly pings = new Map<string, Ping>();

  constructor(hub: Hub) {
    this.hub = hub;
    this.scratch = new UdpScratch(hub);
  }

  /**
   * Sends an echo request. `key` names the guest and its id; `rest` holds id, sequence and data. False when the host
   * has no socket for it now.
   */
  send(key: string, destination: Ipv4, rest: Uint8Array, now: Millis, reply: PingReply): boolean {
    const ping = this.pings.get(key) ?? this.open(key, rest, reply, now);
    if (ping === undefined) return false;
    ping.lastUsed = now;
    ping.reply = reply;
    this.pings.delete(key);
    this.pings.set(key, ping);
    const message = new Uint8Array(4 + rest.length);
    message[0] = ICMP_ECHO_REQUEST;
    message.set(rest, 4);
    ping.socket.send(message, 0, message.length, 0, destination);
    return true;
  }

  private open(key: string, rest: Uint8Array, reply: PingReply, now: Millis): Ping | undefined {
    this.expire(now);
    const handle = this.hub.poller.pingOpen(false);
    if (handle < 0) return undefined;
    const id = rest.slice(0, 2);
    const { scratch } = this;
    const socket = new NativeUdpSocket(this.hub, scratch, handle, {
      datagram: (bytes, offset, length, at) => {
        if (length < 8 || bytes[offset] !== ICMP_ECHO_REPLY) return;
        const answer = bytes.slice(offset + 4, offset + length);
        answer.set(id);
        this.pings.get(key)?.reply(ipv4(scratch.meta[at + 4]!), answer);
      },
      failed: () => undefined,
      refused: () => undefined,
    });
    const ping: Ping = { socket, reply, lastUsed: now };
    this.pings.set(key, ping);
    return ping;
  }

  /** Closes what is idle, and the oldest when there are too many. */
  private expire(now: Millis): void {
    for (const [key, ping] of this.pings) {
      if (now - ping.lastUsed < IDLE && this.pings.size < MAX_PINGS) break;
      ping.socket.close();
      this.pings.delete(key);
    }
  }
}

/** Undefined where the host does not allow ping sockets (net.ipv4.ping_group_range). */
export function nativePinger(hub: Hub): NativePinger | undefined {
  const probe = hub.poller.pingOpen(false);
  if (probe < 0) return undefined;
  hub.poller.closeHandle(probe);
  return new NativePinger(hub);
}
