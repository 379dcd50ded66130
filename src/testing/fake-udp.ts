/** UDP of a fake host: sockets of guests' flows, and published ports with their clients. */
import {
  type Errno,
  type HostIcmp,
  type HostPing,
  type HostPingHandler,
  type HostUdp,
  type HostUdpHandler,
  type HostUdpServer,
  type HostUdpServerHandler,
  type Ipv4,
  type Millis,
  type Scheduler,
  formatIpv4,
  parseIpv4,
} from '../core/index.js';
import { Inbox } from './inbox.js';

/** A datagram of a guest, as it came out of the network. */
export interface FakeDatagram {
  readonly bytes: Uint8Array;
  /** Where it was sent to. */
  readonly host: string;
  readonly port: number;
  /** TTL (0: the host's own), DSCP with ECN, and DF. */
  readonly ttl: number;
  readonly tos: number;
  readonly dontFragment: boolean;
  /** Sends to the guest's mapping, as its destination unless said otherwise; a full cone takes it from anybody. */
  readonly reply: (bytes: Uint8Array | string, from?: FakeSender) => void;
}

/** Who sends a datagram to a guest; TTL 64 and TOS 0 unless said otherwise. */
export interface FakeSender {
  readonly host: string;
  readonly port: number;
  readonly ttl?: number;
  readonly tos?: number;
}

/** An error that a destination reports; `icmp`: by a message of somebody outside. */
export interface FakeUdpError {
  readonly errno: Errno;
  readonly mtu: number;
  readonly icmp?: HostIcmp | undefined;
}

/** What a destination does with datagrams: answers them, or reports an error. */
export type UdpScript = ((datagram: FakeDatagram) => void) | FakeUdpError;

export class FakeUdp implements HostUdp {
  closed = false;
  sent = 0;
  private readonly scheduler: Scheduler;
  private readonly handler: HostUdpHandler;
  private readonly script: (ip: Ipv4, port: number) => UdpScript | undefined;
  private readonly onClose: () => void;

  constructor(
    scheduler: Scheduler,
    handler: HostUdpHandler,
    script: (ip: Ipv4, port: number) => UdpScript | undefined,
    onClose: () => void,
  ) {
    this.scheduler = scheduler;
    this.handler = handler;
    this.script = script;
    this.onClose = onClose;
  }

  send(
    bytes: Uint8Array,
    offset: number,
    length: number,
    ip: Ipv4,
    port: number,
    ttl: number,
    tos: number,
    dontFragment: boolean,
  ): void {
    if (this.closed) return;
    this.sent++;
    const script = this.script(ip, port);
    if (script === undefined) return;
    const copy = bytes.slice(offset, offset + length);
    this.scheduler.defer(() => {
      if (this.closed) return;
      if (typeof script === 'object') {
        this.handler.error(script.errno, ip, port, script.mtu, script.icmp);
        return;
      }
      const here = { host: formatIpv4(ip), port };
      script({
        bytes: copy,
        ...here,
        ttl,
        tos,
        dontFragment,
        reply: (answer, from = here) => {
          this.deliver(answer, from);
        },
      });
    });
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.onClose();
  }

  private deliver(answer: Uint8Array | string, from: FakeSender): void {
    const bytes = typeof answer === 'string' ? new TextEncoder().encode(answer) : answer.slice();
    const ip = parseIpv4(from.host);
    if (ip === undefined) throw new TypeError(`"${from.host}" is no IPv4 address`);
    this.scheduler.defer(() => {
      if (!this.closed)
        this.handler.datagram(bytes, 0, bytes.length, ip, from.port, from.ttl ?? 64, from.tos ?? 0);
    });
  }
}

/** What a destination does with pings: its answer comes with this TTL (64 unless said otherwise), or an error. */
export type PingScript = { readonly ttl?: number } | FakeUdpError;

/** A ping of a guest, as it came out of the network. */
export interface FakePing {
  readonly host: string;
  readonly sequence: number;
  readonly ttl: number;
  readonly tos: number;
  readonly dontFragment: boolean;
}

/** A ping socket; echo ids are the host's own, as with a kernel. */
export class FakePingSocket implements HostPing {
  private closed = false;
  private readonly scheduler: Scheduler;
  private readonly handler: HostPingHandler;
  private readonly take: (ping: FakePing) => PingScript | undefined;
  private readonly onClose: () => void;

  constructor(
    scheduler: Scheduler,
    handler: HostPingHandler,
    take: (ping: FakePing) => PingScript | undefined,
    onClose: () => void,
  ) {
    this.scheduler = scheduler;
    this.handler = handler;
    this.take = take;
    this.onClose = onClose;
  }

  send(
    bytes: Uint8Array,
    offset: number,
    length: number,
    ip: Ipv4,
    ttl: number,
    tos: number,
    dontFragment: boolean,
  ): void {
    const message = bytes.slice(offset, offset + length);
    const sequence = (message[6]! << 8) | message[7]!;
    const script = this.take({ host: formatIpv4(ip), sequence, ttl, tos, dontFragment });
    if (script === undefined) return;
    this.scheduler.defer(() => {
      if (this.closed) return;
      if ('errno' in script) {
        this.handler.error(script.errno, ip, sequence, script.mtu, script.icmp);
        return;
      }
      message.fill(0, 0, 6);
      this.handler.reply(message, 0, message.length, ip, script.ttl ?? 64, tos);
    });
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.onClose();
  }
}

/** A published UDP port: what the network bound, and the clients that a test plays. */
export class FakeUdpServer implements HostUdpServer {
  readonly host: string;
  readonly port: number;
  private readonly scheduler: Scheduler;
  private readonly handler: HostUdpServerHandler;
  private readonly clients = new Map<string, HostUdpClient>();
  private readonly onClose: () => void;
  private closed = false;

  constructor(
    scheduler: Scheduler,
    host: string,
    port: number,
    handler: HostUdpServerHandler,
    onClose: () => void,
  ) {
    this.scheduler = scheduler;
    this.host = host;
    this.port = port;
    this.handler = handler;
    this.onClose = onClose;
  }

  send(bytes: Uint8Array, host: string, port: number): void {
    this.clients.get(`${host}/${port}`)?.push(bytes.slice());
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.onClose();
  }

  /** A client of the host's port. */
  client(host: string, port: number): HostUdpClient {
    const client = new HostUdpClient(this.scheduler, (bytes) => {
      if (!this.closed) this.handler.datagram(bytes, host, port);
    });
    this.clients.set(`${host}/${port}`, client);
    return client;
  }
}

/** Somebody on the host's side who talks to a published UDP port. */
export class HostUdpClient {
  private readonly scheduler: Scheduler;
  private readonly inbox: Inbox<Uint8Array>;
  private readonly out: (bytes: Uint8Array) => void;

  constructor(scheduler: Scheduler, out: (bytes: Uint8Array) => void) {
    this.scheduler = scheduler;
    this.inbox = new Inbox(scheduler, 4096);
    this.out = out;
  }

  /** Datagrams that wait. */
  get waiting(): number {
    return this.inbox.size;
  }

  send(data: Uint8Array | string): void {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data.slice();
    this.scheduler.defer(() => {
      this.out(bytes);
    });
  }

  /** The next answer. @throws GuestError ETIMEDOUT after `timeout` ms */
  recv(timeout: Millis = 10_000): Promise<Uint8Array> {
    return this.inbox.take('published udp port', timeout);
  }

  push(bytes: Uint8Array): void {
    this.inbox.push(bytes);
  }
}
