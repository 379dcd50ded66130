/**
 * A port of the host that leads into a guest.
 *
 * Theory of operation. A client of the host's port is held unread while the guest is dialled straight over the virtual
 * Ethernet, from the gateway's address or, where the client's source is preserved, from the client's own; a refusal or silence of
 * the guest resets the client. With the PROXY protocol its header is the first that the guest reads. UDP: published-udp.ts.
 */
import { Bag, type Errno, type HostStream, NetproxyError } from '../core/index.js';
import type { TcpEnd } from '../tcp/index.js';
import { type HostSide, openHostSide } from './host-side.js';
import { proxyHeader } from './proxy-protocol.js';
import { MAX_CONNECTIONS } from './publish-options.js';
import type { PublishSpec } from './publish-spec.js';
import type { UdpClient } from './published-client.js';
import { PublishedUdp } from './published-udp.js';
import type { Publisher, ShownClient } from './publisher.js';
import { shownSource } from './shown-source.js';
import { type FlowOwner, TcpFlow } from './tcp-flow.js';

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

export type PublishedCounters = ReturnType<typeof publishedCounters>;

/** One published port, listening. */
export class PublishedPort implements FlowOwner {
  readonly id: number;
  readonly spec: PublishSpec;
  readonly counters = publishedCounters();
  private readonly forwarder: Publisher;
  private side: HostSide | undefined;
  private readonly live = new Bag<TcpFlow>();
  private readonly udp: PublishedUdp;
  /** Connections whose guest is being looked for. */
  private finding = 0;
  private ended = false;
  /** Why it does not listen yet. */
  private trouble: string | undefined;

  constructor(forwarder: Publisher, id: number, spec: PublishSpec) {
    this.forwarder = forwarder;
    this.id = id;
    this.spec = spec;
    this.udp = new PublishedUdp(forwarder, spec, this.counters);
  }

  /** Where the host listens: an address, `localhost`, `*`, or `unix:/PATH` with port 0. */
  get host(): string {
    return this.side?.host ?? this.spec.hostIp;
  }

  get port(): number {
    return this.side?.port ?? this.spec.hostPort;
  }

  /** Withdrawn. */
  get closed(): boolean {
    return this.ended;
  }

  /** Why it does not listen, in words; undefined when it does. */
  get waiting(): string | undefined {
    return this.side === undefined ? (this.trouble ?? 'it is being opened') : undefined;
  }

  flows(): Iterable<TcpFlow> {
    return this.live;
  }

  udpClients(): Iterable<UdpClient> {
    return this.udp.all();
  }

  /** Connections, or UDP clients, of now. */
  get clientCount(): number {
    return this.live.size + this.udp.size;
  }

  /** Starts listening; rejects with ERR_NETPROXY_PUBLISH, and may be tried again. */
  async open(): Promise<void> {
    try {
      await this.listen();
    } catch (error) {
      this.trouble = error instanceof Error ? error.message : String(error);
      throw error;
    }
  }

  private async listen(): Promise<void> {
    const { spec, forwarder } = this;
    const side = await openHostSide(forwarder.io, spec, {
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
          this.udp.fromClient(bytes, host, port);
        },
        error: (errno) => {
          forwarder.logger.debug(`published udp port ${spec.hostPort}: ${errno}`);
        },
      },
    });
    if (this.ended) {
      side.close();
      throw new NetproxyError('ERR_NETPROXY_STATE', 'the port was withdrawn');
    }
    this.side = this.udp.side = side;
  }

  /** Stops listening and resets what runs. */
  close(): void {
    if (this.ended) return;
    this.ended = true;
    this.side?.close();
    for (const flow of [...this.live]) flow.kill();
    this.udp.close();
    this.forwarder.removed(this);
  }

  private client(stream: HostStream): TcpFlow {
    const { forwarder, counters, spec } = this;
    const { stack } = forwarder;
    counters.connections++;
    const peer = stream.remote === undefined ? 'local' : `${stream.remote.host}:${stream.remote.port}`;
    const flow = new TcpFlow(this, stack.flowId(), 'in', peer, stack.now());
    flow.attach(stream);
    if (this.live.size + this.finding >= (spec.maxConnections ?? MAX_CONNECTIONS)) {
      counters.limit++;
      flow.dismiss();
      return flow;
    }
    if (spec.proxyProtocol !== undefined)
      flow.preface = proxyHeader(spec.proxyProtocol, stream.remote, stream.local);
    this.finding++;
    forwarder.findGuest(spec, (neighbour) => {
      this.finding--;
      // The client may have gone away while the guest was looked for.
      if (flow.phase === 'closed') return;
      const endpoint =
        neighbour === undefined || this.ended
          ? undefined
          : forwarder.connect(neighbour, spec.guestPort, flow, this.shown(stream));
      if (endpoint === undefined) {
        counters.noGuest++;
        flow.dismiss();
        return;
      }
      flow.join(endpoint);
      this.live.add(flow);
    });
    return flow;
  }

  private shown({ remote }: HostStream): ShownClient | undefined {
    if (this.spec.preserveSource !== true) return undefined;
    const { config } = this.forwarder.stack;
    const ip = shownSource(remote?.host, config);
    return { ip, port: ip === config.gatewayIp ? undefined : remote?.port };
  }

  flowOpened(): void {
    this.counters.opened++;
  }

  flowFailed(_flow: TcpFlow, _errno: Errno): void {
    // An accepted stream does not dial.
  }

  flowClosed(flow: TcpFlow, end: TcpEnd): void {
    const unanswered = this.live.delete(flow) && !flow.opened;
    if (end === 'closed') this.counters.closed++;
    else if (unanswered && end === 'reset') this.counters.refused++;
    else this.counters.resets++;
  }
}
