/**
 * The clients of a published UDP port: each is somebody of its own to the guest, so that the guest's answers find their way.
 *
 * A client ends after UDP_CLIENT_IDLE without traffic, and there are at most as many as the port may have (the least recently used
 * goes). Its guest is looked for again once a second while it sends: one that came back, or that got another address, is followed,
 * and the client stays who it was.
 */
import type { Neighbour } from '../arp/index.js';
import type { Millis } from '../core/index.js';
import type { HostSide } from './host-side.js';
import type { PublishSpec } from './publish-spec.js';
import { type ClientOwner, UdpClient } from './published-client.js';
import type { PublishedCounters } from './published.js';
import type { Publisher } from './publisher.js';
import { shownSource } from './shown-source.js';

export const MAX_UDP_CLIENTS = 1024;
/** Datagrams that wait until the guest is found. */
export const MAX_UDP_FINDING = 1024;
/** How often the guest of a client is looked for. */
const FIND_AGAIN: Millis = 1000;

export class PublishedUdp implements ClientOwner {
  side: HostSide | undefined;
  private readonly forwarder: Publisher;
  private readonly spec: PublishSpec;
  private readonly counters: PublishedCounters;
  private readonly clients = new Map<string, UdpClient>();
  private finding = 0;
  private closed = false;

  constructor(forwarder: Publisher, spec: PublishSpec, counters: PublishedCounters) {
    this.forwarder = forwarder;
    this.spec = spec;
    this.counters = counters;
  }

  get guestPort(): number {
    return this.spec.guestPort;
  }

  get size(): number {
    return this.clients.size;
  }

  all(): Iterable<UdpClient> {
    return this.clients.values();
  }

  close(): void {
    this.closed = true;
    for (const client of [...this.clients.values()]) this.drop(client);
  }

  /** A datagram of the host's side; the bytes are lent for the call. */
  fromClient(bytes: Uint8Array, host: string, port: number): void {
    const { forwarder, counters } = this;
    counters.datagramsIn++;
    const known = this.clients.get(`${host}/${port}`);
    if (known !== undefined && forwarder.stack.now() - known.foundAt < FIND_AGAIN) {
      if (forwarder.stack.portOf(known.neighbour) !== undefined) {
        this.toGuest(known, bytes);
        return;
      }
    }
    if (this.finding >= MAX_UDP_FINDING) {
      counters.limit++;
      return;
    }
    this.finding++;
    const copy = bytes.slice();
    forwarder.findGuest(this.spec, (neighbour) => {
      this.finding--;
      const client = neighbour && !this.closed ? this.clientOf(neighbour, host, port) : undefined;
      if (client === undefined) counters.noGuest++;
      else this.toGuest(client, copy);
    });
  }

  /** The client as it is known, at the guest that was found. */
  private clientOf(neighbour: Neighbour, host: string, port: number): UdpClient | undefined {
    const known = this.clients.get(`${host}/${port}`);
    if (known === undefined) return this.add(neighbour, host, port);
    known.foundAt = this.forwarder.stack.now();
    if (known.neighbour === neighbour || this.forwarder.replies.move(known, neighbour)) return known;
    this.drop(known);
    return this.add(neighbour, host, port);
  }

  private add(neighbour: Neighbour, host: string, port: number): UdpClient | undefined {
    const { stack, replies } = this.forwarder;
    if (this.clients.size >= Math.min(this.spec.maxConnections ?? MAX_UDP_CLIENTS, MAX_UDP_CLIENTS)) {
      const oldest = this.clients.values().next().value;
      if (oldest !== undefined) this.drop(oldest);
      this.counters.evicted++;
    }
    const client = new UdpClient(stack, neighbour, this, host, port);
    const { config } = stack;
    if (
      !replies.bind(client, this.spec.preserveSource === true ? shownSource(host, config) : config.gatewayIp)
    ) {
      stack.timers.cancel(client.timer);
      return undefined;
    }
    this.clients.set(client.key, client);
    return client;
  }

  private toGuest(client: UdpClient, bytes: Uint8Array): void {
    this.used(client);
    client.bytesToGuest += bytes.length;
    const { neighbour, ip, shownPort, guestPort } = client;
    this.forwarder.stack.packets.udp(neighbour, ip, shownPort, guestPort, bytes, 0, bytes.length);
  }

  fromGuest(client: UdpClient, bytes: Uint8Array): void {
    this.used(client);
    this.counters.datagramsOut++;
    client.bytesToHost += bytes.length;
    this.side?.udpFor(client.host)?.send(bytes, client.host, client.port);
  }

  refused(client: UdpClient): void {
    this.counters.refused++;
    this.drop(client);
  }

  drop(client: UdpClient): void {
    if (this.clients.get(client.key) !== client) return;
    this.clients.delete(client.key);
    this.forwarder.stack.timers.cancel(client.timer);
    this.forwarder.replies.unbind(client);
  }

  /** Keeps the clients in the order of their last use, within a second. */
  private used(client: UdpClient): void {
    const now = this.forwarder.stack.now();
    if (now - client.lastUsed < 1000) return;
    client.lastUsed = now;
    this.clients.delete(client.key);
    this.clients.set(client.key, client);
  }
}
