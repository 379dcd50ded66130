/**
 * Ports of the host that lead into a guest.
 *
 * Theory of operation. A client of the host's port is held unread while the guest is dialled straight over the virtual
 * Ethernet, from the gateway's address; a refusal or silence of the guest resets the client. UDP clients each get a
 * port of the gateway, so that the guest's answers find their way; such a mapping ends after IDLE without traffic, and
 * there are at most MAX_UDP_CLIENTS per published port (the least recently used goes).
 */
import { type Errno, type HostIo, type HostStream, type Logger, type Random, below } from '../core/index.js';
import type { Neighbour } from '../arp/index.js';
import type { Stack, TcpApplication, TcpEndpoint, UdpIn } from '../stack/index.js';
import type { TcpEnd } from '../tcp/index.js';
import type { GuestStream } from './guest-stream.js';
import { type HostSide, openHostSide } from './host-side.js';
import type { PublishSpec } from './publish-spec.js';
import { UdpClient } from './published-client.js';
import { type FlowOwner, TcpFlow } from './tcp-flow.js';

/** Ephemeral ports that we play clients from (RFC 6335 section 6). */
const FIRST_PORT = 49_152;
const PORTS = 65_536 - FIRST_PORT;
export const MAX_UDP_CLIENTS = 1024;
/** Datagrams of new clients that wait until the guest is found. */
export const MAX_UDP_FINDING = 1024;
export const MAX_CONNECTIONS = 16_384;

/** Which guest is meant: by name, by address, or the first one. */
export type GuestSpec = Pick<PublishSpec, 'guest' | 'guestIp'>;

/** Finds a guest; undefined when there is none now. The callback may come at once. */
export type FindGuest = (spec: GuestSpec, callback: (neighbour: Neighbour | undefined) => void) => void;

export function publishedCounters() {
  return {
    connections: 0,
    opened: 0,
    /** The guest refused a connection, or said that its UDP port is closed. */
    refused: 0,
    noGuest: 0,
    limit: 0,
    /** How often the host could take no connection (EMFILE, ENOBUFS …). */
    acceptFailed: 0,
    resets: 0,
    closed: 0,
    datagramsIn: 0,
    datagramsOut: 0,
    evicted: 0,
  };
}

/** One published port, listening. */
export class PublishedPort implements FlowOwner {
  readonly id: number;
  readonly spec: PublishSpec;
  readonly counters = publishedCounters();
  private readonly forwarder: Publisher;
  private side: HostSide | undefined;
  private readonly live = new Set<TcpFlow>();
  /** Those of `live` that the guest has not answered yet. */
  private readonly opening = new Set<TcpFlow>();
  private readonly clients = new Map<string, UdpClient>();
  /** Connections, and datagrams of new clients, whose guest is being looked for. */
  private finding = 0;
  private findingDatagrams = 0;
  private closed = false;

  constructor(forwarder: Publisher, id: number, spec: PublishSpec) {
    this.forwarder = forwarder;
    this.id = id;
    this.spec = spec;
  }

  /** Where the host listens: an address, `localhost`, `*`, or `unix:/PATH` with port 0. */
  get host(): string {
    return this.side?.host ?? this.spec.hostIp;
  }

  get port(): number {
    return this.side?.port ?? this.spec.hostPort;
  }

  flows(): Iterable<TcpFlow> {
    return this.live;
  }

  udpClients(): Iterable<UdpClient> {
    return this.clients.values();
  }

  /** Connections, or UDP clients, of now. */
  get clientCount(): number {
    return this.live.size + this.clients.size;
  }

  /** Starts listening; rejects with ERR_NETPROXY_PUBLISH. */
  async open(): Promise<void> {
    const { spec, forwarder } = this;
    this.side = await openHostSide(forwarder.io, spec, {
      stream: (stream) => this.client(stream),
      trouble: (errno) => {
        this.counters.acceptFailed++;
        forwarder.logger.warn(
          `published port ${spec.hostPort} takes no connections for the moment (${errno}): clients wait`,
          { errno, every: 10_000 },
        );
      },
      udp: {
        datagram: (bytes, host, port) => {
          this.fromClient(bytes, host, port);
        },
        error: (errno) => {
          forwarder.logger.debug(`published udp port ${spec.hostPort}: ${errno}`);
        },
      },
    });
  }

  /** Stops listening and resets what runs. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.side?.close();
    for (const flow of [...this.live]) flow.kill();
    for (const client of [...this.clients.values()]) this.dropClient(client);
    this.forwarder.removed(this);
  }

  // -- TCP -----------------------------------------------------------------------------------------------------

  private client(stream: HostStream): TcpFlow {
    const { forwarder, counters, spec } = this;
    const { stack } = forwarder;
    counters.connections++;
    const peer = stream.remote === undefined ? 'local' : `${stream.remote.host}:${stream.remote.port}`;
    const flow = new TcpFlow(this, stack.flowId(), 'in', peer, stack.now());
    flow.attach(stream);
    if (this.live.size + this.finding >= MAX_CONNECTIONS) {
      counters.limit++;
      flow.dismiss();
      return flow;
    }
    this.finding++;
    forwarder.findGuest(spec, (neighbour) => {
      this.finding--;
      // The client may have gone away while the guest was looked for.
      if (flow.phase === 'closed') return;
      const endpoint =
        neighbour === undefined || this.closed
          ? undefined
          : forwarder.connect(neighbour, spec.guestPort, flow);
      if (endpoint === undefined) {
        counters.noGuest++;
        flow.dismiss();
        return;
      }
      flow.join(endpoint);
      this.live.add(flow);
      this.opening.add(flow);
    });
    return flow;
  }

  flowOpened(flow: TcpFlow): void {
    this.opening.delete(flow);
    this.counters.opened++;
  }

  flowFailed(_flow: TcpFlow, _errno: Errno): void {
    // An accepted stream does not dial.
  }

  flowClosed(flow: TcpFlow, end: TcpEnd): void {
    this.live.delete(flow);
    const unanswered = this.opening.delete(flow);
    if (end === 'closed') this.counters.closed++;
    else if (unanswered && end === 'reset') this.counters.refused++;
    else this.counters.resets++;
  }

  // -- UDP -----------------------------------------------------------------------------------------------------

  private fromClient(bytes: Uint8Array, host: string, port: number): void {
    this.counters.datagramsIn++;
    const known = this.clients.get(`${host}/${port}`);
    if (known !== undefined && this.forwarder.stack.portOf(known.neighbour) !== undefined) {
      this.toGuest(known, bytes);
      return;
    }
    if (known !== undefined) this.dropClient(known);
    if (this.findingDatagrams >= MAX_UDP_FINDING) {
      this.counters.limit++;
      return;
    }
    this.findingDatagrams++;
    const copy = bytes.slice();
    this.forwarder.findGuest(this.spec, (neighbour) => {
      this.findingDatagrams--;
      const client =
        neighbour === undefined || this.closed
          ? undefined
          : (this.clients.get(`${host}/${port}`) ?? this.addClient(neighbour, host, port));
      if (client === undefined) this.counters.noGuest++;
      else this.toGuest(client, copy);
    });
  }

  private addClient(neighbour: Neighbour, host: string, port: number): UdpClient | undefined {
    const { stack } = this.forwarder;
    if (this.clients.size >= MAX_UDP_CLIENTS) {
      const oldest = this.clients.values().next().value;
      if (oldest !== undefined) this.dropClient(oldest);
      this.counters.evicted++;
    }
    const client = new UdpClient(stack, neighbour, this.spec.guestPort, host, port, (one) => {
      this.dropClient(one);
    });
    const gatewayPort = this.forwarder.bindReply({
      datagram: (datagram) => {
        this.fromGuest(client, datagram);
      },
      refused: (from, guestPort) => {
        if (!client.isWith(from.port, from.ip) || guestPort !== this.spec.guestPort) return;
        this.counters.refused++;
        this.dropClient(client);
      },
    });
    if (gatewayPort === undefined) {
      stack.timers.cancel(client.timer);
      return undefined;
    }
    client.gatewayPort = gatewayPort;
    this.clients.set(client.key, client);
    return client;
  }

  private toGuest(client: UdpClient, bytes: Uint8Array): void {
    const { stack } = this.forwarder;
    this.used(client);
    client.bytesToGuest += bytes.length;
    stack.packets.udp(
      client.neighbour,
      stack.config.gatewayIp,
      client.gatewayPort,
      this.spec.guestPort,
      bytes,
      0,
      bytes.length,
    );
  }

  private fromGuest(client: UdpClient, datagram: UdpIn): void {
    const { port, source, sourcePort } = datagram;
    if (!client.isWith(port.id, source) || sourcePort !== this.spec.guestPort) return;
    this.used(client);
    this.counters.datagramsOut++;
    const { bytes, offset, length } = datagram;
    client.bytesToHost += length;
    const sent = bytes.subarray(offset, offset + length);
    this.side?.udpFor(client.host)?.send(sent, client.host, client.port);
  }

  /** Keeps the clients in the order of their last use, within a second. */
  private used(client: UdpClient): void {
    const now = this.forwarder.stack.now();
    if (now - client.lastUsed < 1000) return;
    client.lastUsed = now;
    this.clients.delete(client.key);
    this.clients.set(client.key, client);
  }

  private dropClient(client: UdpClient): void {
    if (!this.clients.delete(client.key)) return;
    this.forwarder.stack.timers.cancel(client.timer);
    this.forwarder.unbindReply(client.gatewayPort);
  }
}

/** What a guest sends to a port of the gateway that stands for a client. */
interface ReplyHandler {
  datagram(datagram: UdpIn): void;
  /** The guest said that its port is closed. */
  refused(from: Neighbour, guestPort: number): void;
}

/** All published ports of a network, and the gateway ports that stand for their clients. */
export class Publisher {
  readonly stack: Stack;
  readonly io: HostIo;
  readonly logger: Logger;
  readonly findGuest: FindGuest;
  private readonly random: Random;
  private readonly published = new Map<number, PublishedPort>();
  private nextId = 1;
  private readonly replies = new Map<number, ReplyHandler>();

  constructor(stack: Stack, io: HostIo, logger: Logger, random: Random, findGuest: FindGuest) {
    this.stack = stack;
    this.io = io;
    this.logger = logger;
    this.random = random;
    this.findGuest = findGuest;
  }

  ports(): Iterable<PublishedPort> {
    return this.published.values();
  }

  /** The published port of an id. */
  find(id: number): PublishedPort | undefined {
    return this.published.get(id);
  }

  async publish(spec: PublishSpec): Promise<PublishedPort> {
    const port = new PublishedPort(this, this.nextId++, spec);
    await port.open();
    this.published.set(port.id, port);
    return port;
  }

  removed(port: PublishedPort): void {
    this.published.delete(port.id);
  }

  /** Opens a connection to a guest for a Duplex; false when the guest is not there. */
  connectStream(neighbour: Neighbour | undefined, guestPort: number, stream: GuestStream): boolean {
    const endpoint = neighbour === undefined ? undefined : this.connect(neighbour, guestPort, stream);
    if (endpoint === undefined) return false;
    stream.endpoint = endpoint;
    return true;
  }

  /** A connection from the gateway's address and a free port (RFC 6056: random start, then the next ones). */
  connect(neighbour: Neighbour, guestPort: number, flow: TcpApplication): TcpEndpoint | undefined {
    const start = below(this.random, PORTS);
    for (let i = 0; i < PORTS; i++) {
      const localPort = FIRST_PORT + ((start + i) % PORTS);
      const endpoint = this.stack.connect(neighbour, this.stack.config.gatewayIp, localPort, guestPort, flow);
      if (endpoint !== undefined) return endpoint;
      if (this.stack.portOf(neighbour) === undefined) return undefined;
    }
    return undefined;
  }

  /** A datagram of a guest to the gateway; true when it answers a client of a published port. */
  reply(datagram: UdpIn): boolean {
    const handler = this.replies.get(datagram.destinationPort);
    if (handler === undefined || datagram.destination !== this.stack.config.gatewayIp) return false;
    handler.datagram(datagram);
    return true;
  }

  /** A guest has no socket for what a client of this gateway port sent. */
  portClosed(from: Neighbour, guestPort: number, gatewayPort: number): void {
    this.replies.get(gatewayPort)?.refused(from, guestPort);
  }

  bindReply(handler: ReplyHandler): number | undefined {
    const start = below(this.random, PORTS);
    for (let i = 0; i < PORTS; i++) {
      const port = FIRST_PORT + ((start + i) % PORTS);
      if (this.replies.has(port)) continue;
      this.replies.set(port, handler);
      return port;
    }
    return undefined;
  }

  unbindReply(port: number): void {
    this.replies.delete(port);
  }

  stop(): void {
    for (const port of [...this.published.values()]) port.close();
  }
}
