/**
 * The HTTP proxy of a network. node:http parses what guests send and what comes back; everything else is here: a guest's requests run
 * one after the other, destinations are judged before anything is dialled, CONNECT and Upgrade leave the parser and become tunnels.
 *
 * Limits: MAX_CLIENTS connections of one guest; MAX_PIPELINED requests wait (session.ts); MAX_HEAD bytes and MAX_FIELDS fields of a head
 * (headers.ts); the times of ProxyTimeouts.
 */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { Duplex } from 'node:stream';
import { answerProblem, answerRaw } from './answer.js';
import { Connector, type Standing, type UpstreamStats } from './connector.js';
import { type ProxyCounters, proxyCounters } from './counters.js';
import type { InterceptedScheme } from './first-bytes.js';
import { MAX_HEAD, ambiguity } from './headers.js';
import { Intercepted } from './intercept.js';
import { Planner } from './planner.js';
import { Pool } from './pool.js';
import { type Problem, badRequest, problemOf } from './problem.js';
import { serveRequest, serveUpgrade } from './serve-request.js';
import { serveConnect } from './serve-connect.js';
import { type Original, Session } from './session.js';
import { type Client, DEFAULT_TIMEOUTS, type ProxyDeps, type ProxyTimeouts } from './types.js';

/** Connections of one guest to the proxy: more are reset. */
export const MAX_CLIENTS = 4096;
/** How long a guest may take to close its side behind our last word, ms. */
const LINGER = 2000;

/** What the parts of the proxy share. */
export interface ProxyParts {
  readonly deps: ProxyDeps;
  readonly timeouts: ProxyTimeouts;
  readonly pool: Pool;
  readonly connector: Connector;
  readonly planner: Planner;
  readonly counters: ProxyCounters;
}

/** What becomes of an intercepted connection. */
export interface Detour {
  /** Reaches the next hop; the guest is to be answered then. Rejects with Problem. */
  reach(): Promise<void>;
  /** The guest gave up. */
  drop(): void;
  /** The guest's connection stands. */
  serve(stream: Duplex): void;
}

export class HttpProxy {
  readonly counters = proxyCounters();
  private readonly parts: ProxyParts;
  private readonly server: Server;
  private readonly sessions = new Map<Duplex, Session>();
  /** Of guests, also those that have said nothing yet. */
  private readonly streams = new Set<Duplex>();
  private readonly perGuest = new Map<string, number>();

  constructor(deps: ProxyDeps, timeouts: ProxyTimeouts = DEFAULT_TIMEOUTS) {
    const connector = new Connector(deps, timeouts.connect);
    this.parts = {
      deps,
      timeouts,
      connector,
      pool: new Pool(deps.scheduler),
      planner: new Planner(deps),
      counters: this.counters,
    };
    // Time is kept by sessions and exchanges, on the network's clock.
    this.server = createServer({
      maxHeaderSize: MAX_HEAD,
      requireHostHeader: false,
      keepAliveTimeout: 0,
      headersTimeout: 0,
      requestTimeout: 0,
    });
    // node leaves out what is beyond this without a word; `ambiguity` counts instead.
    this.server.maxHeadersCount = 0;
    const serve = (request: IncomingMessage, response: ServerResponse): void => {
      this.request(request, response);
    };
    this.server.on('request', serve);
    this.server.on('checkContinue', serve);
    this.server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
      this.upgrade(request, stream, head);
    });
    this.server.on('connect', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
      this.connect(request, stream, head);
    });
    this.server.on('clientError', (error: Error, stream: Duplex) => {
      this.malformed(error, stream);
    });
  }

  /** What is known of each upstream, by name. */
  upstreams(): ReadonlyMap<string, UpstreamStats> {
    return this.parts.connector.stats();
  }

  /** Connections of guests, and those outside that wait for a request. */
  get size(): { readonly clients: number; readonly kept: number } {
    return { clients: this.streams.size, kept: this.parts.pool.size };
  }

  /** Takes a guest's connection to the proxy. */
  accept(stream: Duplex, client: Client): void {
    if (!this.enter(stream, client)) return;
    this.counters.connections++;
    this.begin(stream, client, undefined, undefined);
  }

  /** A guest's connection to somewhere else; undefined: it has too many. */
  intercept(client: Client, original: Original, scheme: InterceptedScheme): Detour | undefined {
    if ((this.perGuest.get(client.name) ?? 0) >= MAX_CLIENTS) {
      this.counters.refusedConnections++;
      return undefined;
    }
    const intercepted = new Intercepted(this.parts, client, original, scheme);
    return {
      reach: () => intercepted.reach(),
      drop: () => intercepted.drop(),
      serve: (stream) => {
        this.counters.intercepted++;
        if (!this.enter(stream, client)) {
          intercepted.drop();
          return;
        }
        void intercepted.serve(stream, (one, standing) => {
          if (one.destroyed) standing?.stream.destroy();
          else this.begin(one, client, original, standing);
        });
      },
    };
  }

  /** Counts a guest's connection; false: too many, it is reset. */
  private enter(stream: Duplex, client: Client): boolean {
    const count = this.perGuest.get(client.name) ?? 0;
    if (count >= MAX_CLIENTS) {
      this.counters.refusedConnections++;
      stream.destroy();
      return false;
    }
    this.perGuest.set(client.name, count + 1);
    this.streams.add(stream);
    stream.once('close', () => {
      this.streams.delete(stream);
      const left = (this.perGuest.get(client.name) ?? 1) - 1;
      if (left === 0) this.perGuest.delete(client.name);
      else this.perGuest.set(client.name, left);
    });
    return true;
  }

  /** Serves requests. `standing`: where the first one may go. */
  private begin(
    stream: Duplex,
    client: Client,
    original: Original | undefined,
    standing: Standing | undefined,
  ): void {
    const session = new Session(stream, client, original, {
      scheduler: this.parts.deps.scheduler,
      keepAlive: this.parts.timeouts.keepAlive,
      onIdle: () => {
        this.counters.idle++;
      },
    });
    session.standing = standing;
    this.sessions.set(stream, session);
    stream.once('close', () => this.sessions.delete(stream));
    stream.once('finish', () => {
      this.lingers(stream);
    });
    this.server.emit('connection', stream);
  }

  /** Ends all connections. */
  stop(): void {
    for (const stream of this.streams) stream.destroy();
    this.parts.pool.close();
    this.server.close();
  }

  private request(request: IncomingMessage, response: ServerResponse): void {
    const session = this.sessions.get(request.socket);
    if (session === undefined) return;
    session.enqueue(async () => {
      if (session.stream.destroyed || session.over) return;
      try {
        this.check(request, session);
        await serveRequest(this.parts, session, request, response);
      } catch (error) {
        const problem = this.failed(error, session, request);
        // Where the next request begins is not sure.
        if (isMalformed(problem) || !request.complete) {
          session.over = true;
          response.shouldKeepAlive = false;
        }
        if (!answerProblem(problem, request, response)) response.destroy();
        else await new Promise((resolve) => response.once('close', resolve));
      }
    });
  }

  private upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    this.detached(request, stream, head, async (session) => {
      this.counters.upgrades++;
      await serveUpgrade(this.parts, session, request);
    });
  }

  private connect(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    this.detached(request, stream, head, async (session) => {
      this.counters.tunnels++;
      const again = await serveConnect(this.parts, session, request);
      if (!again || stream.destroyed) return;
      this.server.emit('connection', stream);
      stream.resume();
    });
  }

  /** A request whose connection node:http has let go of. */
  private detached(
    request: IncomingMessage,
    stream: Duplex,
    head: Buffer,
    serve: (session: Session) => Promise<void>,
  ): void {
    const session = this.sessions.get(stream);
    if (session === undefined) return;
    stream.pause();
    if (head.length > 0) stream.unshift(head);
    session.enqueue(async () => {
      if (stream.destroyed || session.over) return;
      try {
        this.check(request, session);
        await serve(session);
      } catch (error) {
        answerRaw(this.failed(error, session, request), request.headers.accept, stream);
      }
    });
  }

  /** Throws Problem for what could be read in two ways. */
  private check(request: IncomingMessage, session: Session): void {
    const problem =
      (request.complete ? undefined : session.broken) ?? ambiguity(request.rawHeaders, request.httpVersion);
    if (problem !== undefined) throw problem;
  }

  private failed(error: unknown, { client }: Session, request: IncomingMessage): Problem {
    const problem = problemOf(error, 'netproxy');
    const { counters } = this;
    if (problem.status === 403) counters.denied++;
    else if (problem.status < 500) counters.badRequests++;
    else counters.failed++;
    const { logger } = this.parts.deps;
    const fields = { guest: client.name, status: problem.status };
    if (problem.status >= 502) logger.warn(`HTTP proxy: ${problem.message}`, { ...fields, every: 10_000 });
    else logger.debug(`HTTP proxy: ${request.method ?? ''}: ${problem.message}`, fields);
    return problem;
  }

  /** What the parser refused. */
  private malformed(error: Error, stream: Duplex): void {
    const session = this.sessions.get(stream);
    const { code } = error as { code?: string };
    if (session === undefined || code === 'ECONNRESET' || code === undefined || !code.startsWith('HPE_')) {
      stream.destroy();
      return;
    }
    this.counters.badRequests++;
    const tooLong = code === 'HPE_HEADER_OVERFLOW';
    const said = (error as { reason?: string }).reason ?? error.message;
    const problem = tooLong
      ? badRequest(`a head of more than ${MAX_HEAD} bytes`, 431)
      : badRequest(`not HTTP/1.1: ${said}`);
    session.breaks(problem);
    // Behind answers that are still owed.
    session.enqueue(() => {
      if (!session.over) answerRaw(problem, undefined, stream);
      session.over = true;
      return Promise.resolve();
    });
  }

  /** Our side is closed: the guest closes its own, or is reset. */
  private lingers(stream: Duplex): void {
    const cancel = this.parts.deps.scheduler.after(LINGER, () => stream.destroy());
    stream.once('close', cancel);
  }
}

function isMalformed({ status }: Problem): boolean {
  return status === 400 || status === 431 || status === 505;
}
