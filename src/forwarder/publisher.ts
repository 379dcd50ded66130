/** All published ports of a network, and whom guests see of their clients. */
import { type HostIo, type Ipv4, type Logger, NetproxyError, type Random, below } from '../core/index.js';
import type { Neighbour } from '../arp/index.js';
import type { Stack, TcpApplication, TcpEndpoint, UdpIn } from '../stack/index.js';
import { FIRST_PORT, PORTS } from './client-ports.js';
import type { GuestStream } from './guest-stream.js';
import { optionsFault } from './publish-options.js';
import { type PublishSpec, formatPublish } from './publish-spec.js';
import { PublishedPort } from './published.js';
import { ReplyPorts } from './reply-ports.js';

/** Which guest is meant: by name, by MAC address, by address, or the first one. */
export type GuestSpec = Pick<PublishSpec, 'guest' | 'guestMac' | 'guestIp'>;

/** Finds a guest; undefined when there is none now. The callback may come at once. */
export type FindGuest = (spec: GuestSpec, callback: (neighbour: Neighbour | undefined) => void) => void;

/** Whom a guest is to see of a client; without a port: any free one. */
export interface ShownClient {
  readonly ip: Ipv4;
  readonly port: number | undefined;
}

export class Publisher {
  readonly stack: Stack;
  readonly io: HostIo;
  readonly logger: Logger;
  readonly findGuest: FindGuest;
  /** Of UDP clients. */
  readonly replies: ReplyPorts;
  private readonly random: Random;
  private readonly published = new Map<number, PublishedPort>();
  private nextId = 1;

  constructor(stack: Stack, io: HostIo, logger: Logger, random: Random, findGuest: FindGuest) {
    this.stack = stack;
    this.io = io;
    this.logger = logger;
    this.random = random;
    this.findGuest = findGuest;
    this.replies = new ReplyPorts(stack.config.gatewayIp, random);
  }

  ports(): Iterable<PublishedPort> {
    return this.published.values();
  }

  /** The published port of an id. */
  find(id: number): PublishedPort | undefined {
    return this.published.get(id);
  }

  /** Rejects with ERR_NETPROXY_CONFIG, ERR_NETPROXY_PUBLISH, ERR_NETPROXY_LISTEN. */
  async publish(spec: PublishSpec): Promise<PublishedPort> {
    const fault = optionsFault(spec, spec.protocol);
    if (fault !== undefined)
      throw new NetproxyError('ERR_NETPROXY_CONFIG', `cannot publish ${formatPublish(spec)}: ${fault}`);
    const port = new PublishedPort(this, this.nextId++, spec);
    try {
      await port.open();
    } catch (error) {
      throw this.ownConflict(spec, error) ?? error;
    }
    this.published.set(port.id, port);
    return port;
  }

  /** A port that is there already, though it does not listen before somebody opens it. */
  adopt(spec: PublishSpec): PublishedPort {
    const port = new PublishedPort(this, this.nextId++, spec);
    this.published.set(port.id, port);
    return port;
  }

  removed(port: PublishedPort): void {
    this.published.delete(port.id);
  }

  /** A port that is taken by ourselves: the remedy says which one it is. */
  private ownConflict(spec: PublishSpec, error: unknown): NetproxyError | undefined {
    if (!(error instanceof NetproxyError) || error.errno !== 'EADDRINUSE') return undefined;
    for (const { id, spec: own, port, host } of this.published.values()) {
      const same = spec.hostPath === undefined ? port === spec.hostPort : `unix:${spec.hostPath}` === host;
      if (!same || own.protocol !== spec.protocol) continue;
      const where = formatPublish({ ...own, hostPort: port });
      const remedy = `The port is already allocated: published as ${where} (id ${id}). Withdraw that first, or publish another one.`;
      return new NetproxyError(error.code, error.message, { remedy, errno: error.errno, cause: error });
    }
    return undefined;
  }

  /** Opens a connection to a guest for a Duplex; false when the guest is not there. */
  connectStream(neighbour: Neighbour | undefined, guestPort: number, stream: GuestStream): boolean {
    const endpoint = neighbour === undefined ? undefined : this.connect(neighbour, guestPort, stream);
    if (endpoint === undefined) return false;
    stream.endpoint = endpoint;
    return true;
  }

  /**
   * A connection from the gateway's address, or as the one that is to be shown, and a free port where that one's is taken (RFC 6056:
   * random start, then the next ones).
   */
  connect(
    neighbour: Neighbour,
    guestPort: number,
    flow: TcpApplication,
    shown: ShownClient = { ip: this.stack.config.gatewayIp, port: undefined },
  ): TcpEndpoint | undefined {
    const { stack } = this;
    const own =
      shown.port === undefined ? undefined : stack.connect(neighbour, shown.ip, shown.port, guestPort, flow);
    if (own !== undefined) return own;
    const start = below(this.random, PORTS);
    for (let i = 0; i < PORTS; i++) {
      const localPort = FIRST_PORT + ((start + i) % PORTS);
      const endpoint = stack.connect(neighbour, shown.ip, localPort, guestPort, flow);
      if (endpoint !== undefined) return endpoint;
      if (stack.portOf(neighbour) === undefined) return undefined;
    }
    return undefined;
  }

  /** A datagram of a guest; true when it answers a client of a published port, or may answer one only. */
  reply(datagram: UdpIn): boolean {
    const client = this.replies.answered(datagram);
    if (client === undefined) return false;
    const { port, source, sourcePort, bytes, offset, length } = datagram;
    if (client.isWith(port.id, source, sourcePort))
      client.owner.fromGuest(client, bytes.subarray(offset, offset + length));
    return true;
  }

  /** A guest has no socket for what the client behind this address sent. True when there is such a client. */
  portClosed(from: Neighbour, guestPort: number, peer: Ipv4, peerPort: number): boolean {
    const client = this.replies.find(from.port, from.ip, guestPort, peer, peerPort);
    if (client?.isWith(from.port, from.ip, guestPort) === true) client.owner.refused(client);
    return client !== undefined;
  }

  stop(): void {
    for (const port of [...this.published.values()]) port.close();
  }
}
