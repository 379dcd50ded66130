/**
 * A host that a test writes: what networks dial, send to and resolve is answered in memory, and no real socket is ever
 * opened. Give `io`, `resolver` and `upstream` to `createNetwork` as its dependencies, or use `testNetwork`.
 */
import {
  type Errno,
  type HostAddress,
  type HostIcmp,
  type HostIo,
  type HostListener,
  type HostResolver,
  type HostStream,
  type HostStreamHandler,
  type HostTarget,
  type HostUdpServer,
  type HostUdpServerHandler,
  type Millis,
  NetproxyError,
  type Scheduler,
} from '../core/index.js';
import { DnsUpstreamError, type DnsUpstream } from '../dns/index.js';
import { FakeRules } from './fake-rules.js';
import { FakeStream, type HostSocket, errnoError } from './fake-stream.js';
import {
  type FakeDatagram,
  type FakePing,
  FakePingSocket,
  FakeUdp,
  FakeUdpServer,
  type HostUdpClient,
  type PingScript,
  type UdpScript,
} from './fake-udp.js';

/** First port that is given where 0 is asked for. */
const FIRST_FREE_PORT = 40_000;

export interface FakeDialOptions {
  /** ms until the dial is answered; default 0. */
  readonly delay?: Millis | undefined;
}

type DialScript =
  | { readonly kind: 'accept'; readonly handler: (socket: HostSocket) => void; readonly delay: Millis }
  | { readonly kind: 'fail'; readonly errno: Errno; readonly delay: Millis }
  | { readonly kind: 'blackhole' };

/** Who connects to a published port. */
export interface FakeClient {
  readonly host: string;
  readonly port: number;
}

interface Listener {
  readonly onStream: (stream: HostStream) => HostStreamHandler;
  readonly onTrouble?: ((errno: Errno) => void) | undefined;
}

/**
 * @example
 * const host = new FakeHost(clock);
 * host.accept('198.51.100.1:80', (socket) => socket.end('hello'));
 * host.fail('198.51.100.2', 'EHOSTUNREACH', { delay: 30 });
 * host.blackhole('203.0.113.0/24');
 * host.name('example.test', '198.51.100.1');
 * const network = createNetwork({}, { ...host.deps, scheduler: clock });
 */
export class FakeHost {
  readonly scheduler: Scheduler;
  /** For `createNetwork`. */
  readonly io: HostIo;
  readonly resolver: HostResolver;
  readonly upstream: DnsUpstream;
  /** What happened so far, and what is open now. */
  readonly counters = {
    dials: 0,
    accepted: 0,
    refused: 0,
    cancelled: 0,
    resets: 0,
    closes: 0,
    pendingDials: 0,
    openStreams: 0,
    openUdp: 0,
    openPings: 0,
    lookups: 0,
  };
  /** Answers relayed DNS queries; by default every one fails as without name servers. */
  relay: (query: Uint8Array) => Promise<Uint8Array> = () =>
    Promise.reject(new DnsUpstreamError('noServers', 'a fake host has none'));
  private readonly dialRules = new FakeRules<DialScript>();
  private readonly udpRules = new FakeRules<UdpScript>();
  private readonly pingRules = new FakeRules<PingScript>();
  /** Pings of guests so far. */
  readonly pings: FakePing[] = [];
  /** Whether the operating system lets us ping. */
  pingsAllowed = true;
  private readonly names = new Map<string, readonly HostAddress[] | Errno>();
  private readonly reverses = new Map<string, readonly string[]>();
  private readonly listeners = new Map<string, Listener>();
  private readonly udpServers = new Map<string, FakeUdpServer>();
  private nextPort = FIRST_FREE_PORT;
  private nextClient = FIRST_FREE_PORT;

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
    this.io = {
      dial: (target, handler) => this.dial(target, handler),
      listen: async (host, port, onStream, onTrouble) => this.listen(host, port, onStream, onTrouble),
      listenUnix: async (path, onStream) => this.listenUnix(path, onStream),
      udp: (handler) => {
        this.counters.openUdp++;
        const find = (ip: Parameters<FakeUdp['send']>[3], port: number): UdpScript | undefined =>
          this.udpRules.find(ip, port);
        return new FakeUdp(scheduler, handler, find, () => this.counters.openUdp--);
      },
      ping: (handler) => {
        if (!this.pingsAllowed) return undefined;
        this.counters.openPings++;
        const take = (ping: FakePing): PingScript | undefined => {
          this.pings.push(ping);
          return this.pingRules.find(ping.host, 0);
        };
        return new FakePingSocket(scheduler, handler, take, () => this.counters.openPings--);
      },
      bindUdp: async (host, port, handler) => this.bindUdp(host, port, handler),
    };
    this.resolver = {
      lookup: (name, family) => this.lookup(name, family),
      reverse: async (address) =>
        this.reverses.get(address) ?? Promise.reject(errnoError('ENOTFOUND', `reverse ${address}`)),
      close: () => undefined,
    };
    this.upstream = {
      query: (bytes, _transport, _timeout, reply) => {
        this.relay(bytes).then(
          (answer) => {
            reply.answered(answer, 'fake');
          },
          (error: unknown) => {
            reply.failed(
              error instanceof DnsUpstreamError ? error : new DnsUpstreamError('unreachable', String(error)),
            );
          },
        );
      },
      close: () => undefined,
    };
  }

  /** Everything that a network wants of a host. */
  get deps() {
    return { io: this.io, resolver: this.resolver, upstream: this.upstream, native: false } as const;
  }

  // -- scripts -------------------------------------------------------------------------------------------------

  /** Connections to this destination succeed and are handed to `handler`. `where`: `IP[:PORT]`, `CIDR[:PORT]`, `*[:PORT]`. */
  accept(where: string, handler: (socket: HostSocket) => void, options: FakeDialOptions = {}): void {
    this.dialRules.add(where, { kind: 'accept', handler, delay: options.delay ?? 0 });
  }

  /** Connections to this destination fail; without a script they fail with ECONNREFUSED. */
  fail(where: string, errno: Errno, options: FakeDialOptions = {}): void {
    this.dialRules.add(where, { kind: 'fail', errno, delay: options.delay ?? 0 });
  }

  refuse(where: string, options: FakeDialOptions = {}): void {
    this.fail(where, 'ECONNREFUSED', options);
  }

  /** Connections to this destination get no answer. */
  blackhole(where: string): void {
    this.dialRules.add(where, { kind: 'blackhole' });
  }

  /** Datagrams to this destination go to `handler`; without a script they are lost. */
  datagrams(where: string, handler: (datagram: FakeDatagram) => void): void {
    this.udpRules.add(where, handler);
  }

  /** Datagrams to this destination come back. */
  echoUdp(where: string): void {
    this.datagrams(where, (datagram) => {
      datagram.reply(datagram.bytes);
    });
  }

  /** The host reports an error for datagrams to this destination. `mtu`: with EMSGSIZE, bytes; `icmp`: who said so. */
  failUdp(where: string, errno: Errno, mtu = 0, icmp?: HostIcmp): void {
    this.udpRules.add(where, { errno, mtu, icmp });
  }

  /** Pings to this destination are answered, as from this many hops away (TTL of the answer; default 64). */
  answerPing(where: string, ttl = 64): void {
    this.pingRules.add(where, { ttl });
  }

  /** The host reports an error for pings to this destination. */
  failPing(where: string, errno: Errno, mtu = 0, icmp?: HostIcmp): void {
    this.pingRules.add(where, { errno, mtu, icmp });
  }

  /** What the host's resolver says for a name: addresses (both families), or an error such as `EAI_AGAIN`. */
  name(name: string, ...addresses: string[]): void {
    const list = addresses.map((address) => ({
      address,
      family: address.includes(':') ? (6 as const) : (4 as const),
    }));
    this.names.set(name.toLowerCase(), list);
    for (const address of addresses) this.reverses.set(address, [name]);
  }

  failName(name: string, code: Errno): void {
    this.names.set(name.toLowerCase(), code);
  }

  // -- clients of published ports ------------------------------------------------------------------------------

  /** The host can take no connection at this port for the moment. */
  failAccept(host: string, port: number, errno: Errno): void {
    this.listeners.get(`${host}:${port}`)?.onTrouble?.(errno);
  }

  /**
   * Connects to a port that the network listens on; a unix socket is its path and port 0. `from`: the client's address and port;
   * default: the same address, any port. Throws ECONNREFUSED.
   */
  connect(host: string, port: number, from?: FakeClient): HostSocket {
    const listener = this.listeners.get(`${host}:${port}`);
    if (listener === undefined) throw errnoError('ECONNREFUSED', `connect ${host}:${port}`);
    const remote = host.startsWith('/') ? undefined : (from ?? { host, port: this.nextClient++ });
    this.counters.openStreams++;
    const stream = new FakeStream(this.scheduler, { host, port }, remote, () => {
      this.streamGone(stream);
    });
    this.scheduler.defer(() => {
      if (stream.socket.destroyed) {
        this.counters.openStreams--;
        return;
      }
      stream.attach(listener.onStream(stream));
      stream.opened();
    });
    return stream.socket;
  }

  /** A client of a UDP port that the network bound; `from` as with `connect`. Throws ECONNREFUSED. */
  udpClient(host: string, port: number, from?: FakeClient): HostUdpClient {
    const server = this.udpServers.get(`${host}:${port}`);
    if (server === undefined) throw errnoError('ECONNREFUSED', `udp ${host}:${port}`);
    return server.client(from?.host ?? host, from?.port ?? this.nextClient++);
  }

  // -- HostIo --------------------------------------------------------------------------------------------------

  private dial(target: HostTarget, handler: HostStreamHandler): HostStream {
    const { counters, scheduler } = this;
    const where = target.kind === 'tcp' ? target : { host: target.path, port: 0 };
    const script = this.dialRules.find(where.host, where.port) ?? {
      kind: 'fail',
      errno: 'ECONNREFUSED',
      delay: 0,
    };
    counters.dials++;
    counters.pendingDials++;
    let pending = true;
    const settle = (): boolean => {
      if (!pending) return false;
      pending = false;
      counters.pendingDials--;
      return true;
    };
    const stream = new FakeStream(scheduler, where, undefined, () => {
      if (settle()) counters.cancelled++;
      else this.streamGone(stream);
    });
    stream.attach(handler);
    if (script.kind === 'blackhole') return stream;
    this.soon(script.delay, () => {
      if (!settle()) return;
      if (script.kind === 'fail') {
        counters.refused++;
        handler.failed(script.errno);
        return;
      }
      counters.accepted++;
      counters.openStreams++;
      handler.connected();
      stream.opened();
      script.handler(stream.socket);
    });
    return stream;
  }

  private listen(
    host: string,
    wanted: number,
    onStream: Listener['onStream'],
    onTrouble?: Listener['onTrouble'],
  ): HostListener {
    const port = this.claim('tcp', host, wanted, this.listeners);
    this.listeners.set(`${host}:${port}`, { onStream, onTrouble });
    return { host, port, close: () => void this.listeners.delete(`${host}:${port}`) };
  }

  private listenUnix(path: string, onStream: Listener['onStream']): HostListener {
    if (this.listeners.has(`${path}:0`))
      throw new NetproxyError(
        'ERR_NETPROXY_LISTEN',
        `cannot listen on unix:${path}: a live process listens there.`,
        {
          errno: 'EADDRINUSE',
        },
      );
    this.listeners.set(`${path}:0`, { onStream });
    return { host: path, port: 0, close: () => void this.listeners.delete(`${path}:0`) };
  }

  private bindUdp(host: string, wanted: number, handler: HostUdpServerHandler): HostUdpServer {
    const port = this.claim('udp', host, wanted, this.udpServers);
    const server = new FakeUdpServer(
      this.scheduler,
      host,
      port,
      handler,
      () => void this.udpServers.delete(`${host}:${port}`),
    );
    this.udpServers.set(`${host}:${port}`, server);
    return server;
  }

  private claim(protocol: string, host: string, wanted: number, taken: ReadonlyMap<string, unknown>): number {
    const port = wanted === 0 ? this.nextPort++ : wanted;
    if (!taken.has(`${host}:${port}`)) return port;
    throw new NetproxyError(
      'ERR_NETPROXY_PUBLISH',
      `cannot publish ${protocol} ${host}:${port}: address already in use`,
      { errno: 'EADDRINUSE' },
    );
  }

  private async lookup(name: string, family: 4 | 6): Promise<readonly HostAddress[]> {
    this.counters.lookups++;
    const known = this.names.get(name.toLowerCase());
    if (known === undefined) throw errnoError('ENOTFOUND', `lookup ${name}`);
    if (typeof known === 'string') throw errnoError(known, `lookup ${name}`);
    const fitting = known.filter((address) => address.family === family);
    if (fitting.length === 0) throw errnoError('ENODATA', `lookup ${name}`);
    return fitting;
  }

  private streamGone(stream: FakeStream): void {
    this.counters.openStreams--;
    if (stream.ending === 'reset') this.counters.resets++;
    else this.counters.closes++;
  }

  private soon(delay: Millis, run: () => void): void {
    if (delay > 0) this.scheduler.after(delay, run);
    else this.scheduler.defer(run);
  }
}
