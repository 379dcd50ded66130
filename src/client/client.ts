/** The endpoints of the control API as methods. Each rejects with a `NetproxyError` of the code that the server says. */
import type { Readable } from 'node:stream';
import type {
  ApiAnswer,
  ApiDnsAnswer,
  ApiDnsExplanation,
  ApiEvent,
  ApiExplainQuery,
  ApiExplanation,
  ApiFlow,
  ApiGuest,
  ApiHealth,
  ApiLearned,
  ApiLease,
  ApiLogLevel,
  ApiNetwork,
  ApiDecision,
  ApiPolicy,
  ApiPolicyChange,
  ApiPort,
  ApiPublish,
  ApiProxy,
  ApiProxyChoice,
  ApiProxyExplanation,
  ApiQuestion,
  ApiRule,
  ApiRuleAdd,
  ApiStats,
  ApiVersion,
  ApiZone,
} from '../api/index.js';
import { NetproxyError } from '../core/index.js';
import { parseDoor } from '../link/index.js';
import { defaultApiAddress } from './address.js';
import { readEvents } from './sse.js';
import { type Ask, Transport } from './transport.js';

export interface ClientOptions {
  /** `unix:/PATH` or `tcp:HOST:PORT`. Default: `defaultApiAddress()`. */
  readonly address?: string | undefined;
  /** TCP needs one. */
  readonly token?: string | undefined;
}

export interface FlowFilter {
  readonly guest?: string | undefined;
  readonly protocol?: 'tcp' | 'udp' | undefined;
  readonly direction?: 'out' | 'in' | undefined;
  readonly state?: string | undefined;
  /** An address, or address:port. */
  readonly peer?: string | undefined;
  /** With what `ss -ti` shows. */
  readonly tcp?: boolean | undefined;
}

export interface EventsOptions {
  /** Default: all. */
  readonly types?: readonly ApiEvent['event'][] | undefined;
  /** Begin with this many that happened already, 0 to 256. Default 0. */
  readonly last?: number | undefined;
  /** false: end behind those. Default true. */
  readonly follow?: boolean | undefined;
  /** Called when the server listens: what happens from then on is told. */
  readonly opened?: (() => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface DnsLogOptions {
  /** Only answers to this guest. */
  readonly guest?: string | undefined;
  /** Begin with this many of those that were given already, 0 to 256. Default 0. */
  readonly last?: number | undefined;
  /** false: end behind those. Default true. */
  readonly follow?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A client of one control API. Connections are made as they are needed. */
export class ApiClient {
  private readonly transport: Transport;

  constructor(transport: Transport) {
    this.transport = transport;
  }

  version(): Promise<ApiVersion> {
    return this.get('/v1/version');
  }

  health(): Promise<ApiHealth> {
    return this.get('/v1/health');
  }

  /** All flows that fit, page by page. */
  flows(filter: FlowFilter = {}): AsyncGenerator<ApiFlow> {
    return this.pages('/v1/flows', filter);
  }

  flow(id: number): Promise<ApiFlow> {
    return this.get(`/v1/flows/${id}`);
  }

  /** Ends a flow; rejects when there is none of that id. */
  async killFlow(id: number): Promise<void> {
    await this.transport.json({ method: 'DELETE', path: `/v1/flows/${id}` });
  }

  networks(): AsyncGenerator<ApiNetwork> {
    return this.pages('/v1/networks');
  }

  guests(): AsyncGenerator<ApiGuest> {
    return this.pages('/v1/guests');
  }

  guest(name: string): Promise<ApiGuest> {
    return this.get(`/v1/guests/${encodeURIComponent(name)}`);
  }

  /** Resets a guest's flows and closes its link; its lease stays. */
  async detach(name: string): Promise<void> {
    await this.transport.json({ method: 'DELETE', path: `/v1/guests/${encodeURIComponent(name)}` });
  }

  leases(): AsyncGenerator<ApiLease> {
    return this.pages('/v1/leases');
  }

  /** Published ports; `port` is the host's. */
  ports(filter: { readonly protocol?: 'tcp' | 'udp'; readonly port?: number } = {}): AsyncGenerator<ApiPort> {
    return this.pages('/v1/ports', filter);
  }

  /** Rejects when there is none of that id. */
  port(id: number): Promise<ApiPort> {
    return this.get(`/v1/ports/${id}`);
  }

  /** Publishes a port, written as for `--publish`. Rejects with ERR_NETPROXY_PUBLISH when it cannot be had. */
  publish(spec: string, options: Omit<ApiPublish, 'spec'> = {}): Promise<ApiPort> {
    return this.ask({ method: 'POST', path: '/v1/ports', body: { spec, ...options } });
  }

  /** The same of ranges (`8000-8009:9000-9009`), at most 10,000 ports: all of them, or none. */
  async publishRange(spec: string, options: Omit<ApiPublish, 'spec'> = {}): Promise<ApiPort[]> {
    const path = '/v1/ports/range';
    return (await this.ask<{ items: ApiPort[] }>({ method: 'POST', path, body: { spec, ...options } })).items;
  }

  async unpublish(id: number): Promise<void> {
    await this.transport.json({ method: 'DELETE', path: `/v1/ports/${id}` });
  }

  /** How a name is found, and what is found. */
  explainName(name: string, type?: string): Promise<ApiDnsExplanation> {
    return this.get('/v1/dns/explain', { name, type });
  }

  /** Answers of the gateway's DNS to guests. One that reads too slowly comes to an end. */
  async *dnsLog(options: DnsLogOptions = {}): AsyncGenerator<ApiDnsAnswer> {
    const { signal, ...query } = options;
    yield* readEvents<ApiDnsAnswer>(
      await this.transport.open({ path: '/v1/dns/log', query, signal, stream: true }),
    );
  }

  /** Zones of one's own that the gateway's DNS answers from. */
  zones(): AsyncGenerator<ApiZone> {
    return this.pages('/v1/dns/zones');
  }

  /** Adds a zone, or replaces the one of that name. Rejects with ERR_NETPROXY_CONFIG. */
  putZone(zone: ApiZone): Promise<ApiZone> {
    return this.ask({ method: 'PUT', path: `/v1/dns/zones/${encodeURIComponent(zone.name)}`, body: zone });
  }

  async removeZone(name: string): Promise<void> {
    await this.transport.json({ method: 'DELETE', path: `/v1/dns/zones/${encodeURIComponent(name)}` });
  }

  stats(): Promise<ApiStats> {
    return this.get('/v1/stats');
  }

  policy(): Promise<ApiPolicy> {
    return this.get('/v1/policy');
  }

  /** Changes all that is given at once. */
  setPolicy(change: ApiPolicyChange): Promise<ApiPolicy> {
    return this.ask({ method: 'PUT', path: '/v1/policy', body: change });
  }

  /** Adds a rule; it holds for new flows at once. */
  addRule(add: ApiRuleAdd): Promise<ApiRule> {
    return this.ask({ method: 'POST', path: '/v1/policy/rules', body: add });
  }

  /** `end`: flows that are not allowed any more are ended. */
  async removeRule(id: number, query: { readonly end?: boolean | undefined } = {}): Promise<void> {
    await this.transport.json({ method: 'DELETE', path: `/v1/policy/rules/${id}`, query });
  }

  /** The audit log, the oldest first. */
  decisions(
    filter: { readonly guest?: string | undefined; readonly verdict?: ApiDecision['verdict'] } = {},
  ): AsyncGenerator<ApiDecision> {
    return this.pages('/v1/policy/decisions', filter);
  }

  /** Flows that wait for an answer; events of the type `ask` tell of new ones. */
  asks(): AsyncGenerator<ApiQuestion> {
    return this.pages('/v1/policy/asks');
  }

  /** Answers for one; rejects when it was answered, or its time is over. */
  async answer(id: number, answer: ApiAnswer): Promise<void> {
    await this.transport.json({ method: 'POST', path: `/v1/policy/asks/${id}`, body: answer });
  }

  /** Rules that allow what was allowed while the log told all. */
  learned(): Promise<ApiLearned> {
    return this.get('/v1/policy/learned');
  }

  /** What would become of a flow. */
  explain(query: ApiExplainQuery): Promise<ApiExplanation> {
    return this.get('/v1/policy/explain', query);
  }

  /** Whom HTTP requests go to, who says so, and how the upstreams do. */
  proxy(): Promise<ApiProxy> {
    return this.get('/v1/proxy');
  }

  /** Goes before all other settings, from the next request on. Rejects with ERR_NETPROXY_CONFIG. */
  setProxy(choice: ApiProxyChoice): Promise<ApiProxy> {
    return this.ask({ method: 'PUT', path: '/v1/proxy', body: choice });
  }

  /** The same; what is left out stays what it is at this moment. */
  changeProxy(choice: ApiProxyChoice): Promise<ApiProxy> {
    return this.ask({ method: 'PATCH', path: '/v1/proxy', body: choice });
  }

  /** Takes back what was set; rejects when nothing was. */
  async clearProxy(): Promise<void> {
    await this.transport.json({ method: 'DELETE', path: '/v1/proxy' });
  }

  /** Whom a request for a URL would go to, and why. */
  explainProxy(url: string): Promise<ApiProxyExplanation> {
    return this.ask({ method: 'POST', path: '/v1/proxy/explain', body: { url } });
  }

  async logLevel(): Promise<ApiLogLevel['level']> {
    return (await this.get<ApiLogLevel>('/v1/log-level')).level;
  }

  async setLogLevel(level: ApiLogLevel['level']): Promise<void> {
    await this.transport.json({ method: 'PUT', path: '/v1/log-level', body: { level } });
  }

  /** Ends the program as SIGTERM does; it does so after it answered. */
  async shutdown(): Promise<void> {
    await this.transport.json({ method: 'POST', path: '/v1/shutdown' });
  }

  /** What happens, until the server ends or `signal` aborts. A client that reads too slowly gets `dropped` as its last event. */
  async *events(options: EventsOptions = {}): AsyncGenerator<ApiEvent> {
    const { types, last, follow, opened, signal } = options;
    const query = { types: types?.join(','), last, follow };
    const answer = await this.transport.open({ path: '/v1/events', query, signal, stream: true });
    opened?.();
    yield* readEvents(answer);
  }

  /** Frames as pcapng from now on: of one guest, or of all. Destroy the stream to end it. */
  capture(
    options: { readonly guest?: string | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Readable> {
    const { guest, signal } = options;
    return this.transport.open({ path: '/v1/capture', query: { guest }, signal, stream: true });
  }

  /** Closes idle connections. */
  close(): void {
    this.transport.close();
  }

  private get<T>(path: string, query?: object): Promise<T> {
    return this.ask<T>({ path, ...(query === undefined ? {} : { query }) });
  }

  /** The server's answers have the types that its schemas say: they were made from one table. */
  private async ask<T>(ask: Ask): Promise<T> {
    return (await this.transport.json(ask)) as T;
  }

  private async *pages<T>(path: string, filter: object = {}): AsyncGenerator<T> {
    let after: number | undefined;
    do {
      const page = await this.get<{ items: T[]; next?: number }>(path, { ...filter, after });
      yield* page.items;
      after = page.next;
    } while (after !== undefined);
  }
}

/** A client; nothing is connected yet. Throws ERR_NETPROXY_CONFIG. */
export function connectApi(options: ClientOptions = {}): ApiClient {
  const address = options.address ?? defaultApiAddress();
  if (address === undefined) {
    throw new NetproxyError('ERR_NETPROXY_CONFIG', 'it is not known where the control API is', {
      remedy: 'Name its address, for example unix:/run/user/1000/netproxy.sock; XDG_RUNTIME_DIR is not set.',
    });
  }
  return new ApiClient(new Transport(parseDoor(address), options.token));
}
