/**
 * The host's name servers, over UDP, TCP, TLS and HTTPS.
 *
 * Theory of operation. Each query is an exchange (dns-exchange.ts) with a random id; sockets (dns-datagrams.ts) and
 * connections (dns-streams.ts, dns-https.ts) belong to the server and serve many. What is known of a server's health
 * (dns-health.ts) outlives the query: one that is down is asked after the others. One timer serves all exchanges.
 *
 * Not supported: cookies (RFC 7873), DNS over QUIC.
 */
import { Timers, type HostIo, type Millis } from '../core/index.js';
import { DnsUpstreamError, type DnsReply, type DnsTransport, type DnsUpstream } from '../dns/index.js';
import { batchedDatagrams, nodeDatagrams, type OpenDatagrams } from './dns-datagrams.js';
import { Exchange, type ExchangeOwner } from './dns-exchange.js';
import { healthyFirst } from './dns-health.js';
import { ServerState, labelOf } from './dns-server-state.js';
import { draw16 } from './random-ids.js';
import type { DnsServerAddress } from './resolver-files.js';

/** Silence after which the next server is asked, of a server that has not answered before, ms. */
const RETRY: Millis = 1000;
/** Sockets that nothing was asked by for so long are closed, ms. */
const UNUSED: Millis = 10_000;
/** Queries that wait for an answer while all servers are down: enough to notice one that is back. The others fail at once. */
const HOPEFUL = 64;

export interface HostDnsUpstreamOptions {
  /** The servers in their order, asked for with every query. */
  readonly servers: () => readonly DnsServerAddress[];
  /** Queries on the way. Default 1024. */
  readonly maxInFlight?: number | undefined;
  /** Default 1000 ms. */
  readonly retry?: Millis | undefined;
  /** UDP sockets that send and receive in batches. Default: Node's. */
  readonly io?: HostIo | undefined;
  /** Certificates of authorities for TLS and HTTPS, PEM. Default: Node's. */
  readonly ca?: string | undefined;
}

export class HostDnsUpstream implements DnsUpstream, ExchangeOwner {
  readonly retry: Millis;
  private readonly options: HostDnsUpstreamOptions;
  private readonly maxInFlight: number;
  private readonly openDatagrams: OpenDatagrams;
  private readonly exchanges = new Set<Exchange>();
  private readonly timers = new Timers();
  private wake: NodeJS.Timeout | undefined;
  private wakeAt = Number.POSITIVE_INFINITY;
  /** The list that `states` was made from. */
  private known: readonly DnsServerAddress[] = [];
  private states: readonly ServerState[] = [];
  private usedAt: Millis = 0;
  private cleaner: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(options: HostDnsUpstreamOptions) {
    this.options = options;
    this.retry = options.retry ?? RETRY;
    this.maxInFlight = options.maxInFlight ?? 1024;
    this.openDatagrams = options.io ? batchedDatagrams(options.io) : nodeDatagrams;
  }

  query(bytes: Uint8Array, transport: DnsTransport, timeout: Millis, reply: DnsReply): void {
    const servers = this.current();
    const refusal = this.refusal(servers);
    if (refusal) {
      queueMicrotask(() => {
        reply.failed(refusal);
      });
      return;
    }
    const id = draw16();
    bytes[0] = id >>> 8;
    bytes[1] = id;
    const now = this.now();
    this.usedAt = now;
    const order = healthyFirst(servers);
    const exchange = new Exchange(this, bytes, id, transport, order, now + timeout, reply);
    this.exchanges.add(exchange);
    exchange.start();
    this.cleaner ??= setInterval(() => {
      this.clean();
    }, UNUSED).unref();
  }

  /** Ends all that is on the way. */
  close(): void {
    this.closed = true;
    for (const exchange of [...this.exchanges]) {
      exchange.fail(new DnsUpstreamError('closed', 'the network is stopping'));
    }
    clearTimeout(this.wake);
    clearInterval(this.cleaner);
    for (const state of this.states) state.close();
    this.states = [];
  }

  now(): Millis {
    return performance.now();
  }

  arm(exchange: Exchange, at: Millis): void {
    this.timers.set(exchange, at);
    this.wakeFor(at);
  }

  ended(exchange: Exchange): void {
    this.timers.cancel(exchange);
    this.exchanges.delete(exchange);
  }

  /** Wakes up no later than `at`. A timer that rings too early costs less than one for each query. */
  private wakeFor(at: Millis): void {
    if (at >= this.wakeAt || this.closed) return;
    clearTimeout(this.wake);
    this.wakeAt = at;
    this.wake = setTimeout(
      () => {
        this.wakeAt = Number.POSITIVE_INFINITY;
        this.timers.run(this.now());
        const next = this.timers.next();
        if (next !== Number.POSITIVE_INFINITY) this.wakeFor(next);
      },
      Math.max(1, at - this.now()),
    ).unref();
  }

  private clean(): void {
    const now = this.now();
    for (const state of this.states) state.closeUnused(now - UNUSED);
    if (now - this.usedAt < 2 * UNUSED) return;
    clearInterval(this.cleaner);
    this.cleaner = undefined;
  }

  /** What is known of the servers; of those that are still there, it stays. */
  private current(): readonly ServerState[] {
    const list = this.options.servers();
    if (list === this.known) return this.states;
    this.known = list;
    const before = new Map(this.states.map((state) => [state.label, state]));
    this.states = list.map((address) => {
      const label = labelOf(address);
      const state = before.get(label) ?? new ServerState(address, this.openDatagrams, this.options);
      before.delete(label);
      return state;
    });
    // Their queries on the way keep their sockets until they are answered.
    for (const state of before.values()) state.closeUnused(Number.POSITIVE_INFINITY);
    return this.states;
  }

  private refusal(servers: readonly ServerState[]): DnsUpstreamError | undefined {
    if (this.closed) return new DnsUpstreamError('closed', 'the network is stopping');
    if (servers.length === 0) return new DnsUpstreamError('noServers', 'the host has no name servers');
    if (this.exchanges.size >= HOPEFUL && servers.every(({ health }) => health.down))
      return new DnsUpstreamError('unreachable', 'no name server answers');
    if (this.exchanges.size < this.maxInFlight) return undefined;
    return new DnsUpstreamError('overloaded', 'too many queries on the way');
  }
}
