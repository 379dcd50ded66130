/** The guest's UDP (RFC 768): sockets on ports, ICMP errors as the errors of the next `recv`. */
import { type Ipv4, type Millis, RX_CHECKSUM_OK, formatIpv4, parseIpv4 } from '../core/index.js';
import { PROTOCOL_UDP } from '../ipv4/index.js';
import { UDP_HEADER, UDP_MAX_PAYLOAD, emitUdp, udpFault } from '../udp/index.js';
import { GuestError } from './guest-error.js';
import type { GuestIp, PacketIn, SendOptions } from './guest-ip.js';
import type { GuestWire } from './guest-wire.js';
import { Inbox } from './inbox.js';

/** Datagrams that wait for a reader; beyond, the oldest go. */
export const MAX_UDP_WAITING = 4096;
/** `recv` gives up after this, ms. */
const RECV_TIMEOUT: Millis = 10_000;
const FIRST_PORT = 32_768;
const PORTS = 60_999 - FIRST_PORT;

/** A received datagram. */
export interface GuestDatagram {
  readonly bytes: Uint8Array;
  /** Who sent it. */
  readonly ip: string;
  readonly port: number;
  /** The address that it was sent to: the guest's, or a broadcast. */
  readonly to: string;
}

/** A UDP socket of a guest; made by `guest.udp`. */
export class GuestUdpSocket {
  readonly port: number;
  private readonly udp: GuestUdp;
  private readonly inbox: Inbox<GuestDatagram | GuestError>;

  constructor(udp: GuestUdp, port: number) {
    this.udp = udp;
    this.port = port;
    this.inbox = new Inbox(udp.wire.scheduler, MAX_UDP_WAITING);
  }

  /** Datagrams that wait. */
  get waiting(): number {
    return this.inbox.size;
  }

  /**
   * @throws GuestError ENETUNREACH, EMSGSIZE
   */
  send(data: Uint8Array | string, ip: string, port: number, options: SendOptions = {}): void {
    const destination = parseIpv4(ip);
    if (destination === undefined) throw new GuestError('EINVAL', `"${ip}" is no IPv4 address`);
    const payload = typeof data === 'string' ? new TextEncoder().encode(data) : data;
    if (payload.length > UDP_MAX_PAYLOAD)
      throw new GuestError('EMSGSIZE', `${payload.length} bytes are too long for a datagram`);
    this.udp.send(this.port, payload, destination, port, options);
  }

  /**
   * The next datagram.
   *
   * @throws GuestError ETIMEDOUT after `timeout` ms; ECONNREFUSED, EHOSTUNREACH … when ICMP said so about one that was sent
   */
  async recv(options: { readonly timeout?: Millis } = {}): Promise<GuestDatagram> {
    const item = await this.inbox.take(`udp port ${this.port}`, options.timeout ?? RECV_TIMEOUT);
    if (item instanceof GuestError) throw item;
    return item;
  }

  /** Datagrams until the socket is closed; errors are passed over. */
  async *[Symbol.asyncIterator](): AsyncGenerator<GuestDatagram, void, undefined> {
    for (;;) {
      const item = await this.inbox.take('udp', Number.POSITIVE_INFINITY).catch(() => undefined);
      if (item === undefined) return;
      if (!(item instanceof GuestError)) yield item;
    }
  }

  /** What arrives, or goes wrong. */
  push(item: GuestDatagram | GuestError): void {
    this.inbox.push(item);
  }

  close(): void {
    this.udp.sockets.delete(this.port);
    this.inbox.close(new GuestError('EBADF', `udp port ${this.port} was closed`));
  }
}

export class GuestUdp {
  readonly counters = { datagramsIn: 0, datagramsOut: 0, malformed: 0, badChecksum: 0, noSocket: 0 };
  readonly sockets = new Map<number, GuestUdpSocket>();
  readonly wire: GuestWire;
  private readonly ip: GuestIp;
  private nextPort = 0;

  constructor(wire: GuestWire, ip: GuestIp) {
    this.wire = wire;
    this.ip = ip;
  }

  /** A socket on this port, or on a free one. */
  open(port?: number): GuestUdpSocket {
    const chosen = port ?? this.freePort();
    if (chosen === undefined || this.sockets.has(chosen))
      throw new GuestError('EADDRINUSE', `udp port ${chosen ?? 'any'}`);
    const socket = new GuestUdpSocket(this, chosen);
    this.sockets.set(chosen, socket);
    return socket;
  }

  send(
    sourcePort: number,
    payload: Uint8Array,
    destination: Ipv4,
    destinationPort: number,
    options: SendOptions,
  ): void {
    const datagram = emitUdp(
      { sourcePort, destinationPort, payload },
      this.ip.ip ?? (0 as Ipv4),
      destination,
    );
    this.counters.datagramsOut++;
    this.ip.send(destination, PROTOCOL_UDP, datagram, options);
  }

  /** True when somebody took it. */
  input(packet: PacketIn): boolean {
    const { block, at, length, source, destination } = packet;
    const { bytes, view } = block.region;
    const fault = udpFault(
      view,
      bytes,
      at,
      length,
      source,
      destination,
      (packet.flags & RX_CHECKSUM_OK) === 0,
    );
    if (fault !== undefined) {
      if (fault === 'checksum') this.counters.badChecksum++;
      else this.counters.malformed++;
      return true;
    }
    this.counters.datagramsIn++;
    const socket = this.sockets.get(view.getUint16(at + 2));
    if (socket === undefined) {
      this.counters.noSocket++;
      return false;
    }
    const end = at + view.getUint16(at + 4);
    const ip = formatIpv4(source);
    socket.push({
      bytes: bytes.slice(at + UDP_HEADER, end),
      ip,
      port: view.getUint16(at),
      to: formatIpv4(destination),
    });
    return true;
  }

  down(): void {
    for (const socket of [...this.sockets.values()]) socket.close();
  }

  private freePort(): number | undefined {
    for (let i = 0; i < PORTS; i++) {
      this.nextPort = (this.nextPort + 1) % PORTS;
      if (!this.sockets.has(FIRST_PORT + this.nextPort)) return FIRST_PORT + this.nextPort;
    }
    return undefined;
  }
}
