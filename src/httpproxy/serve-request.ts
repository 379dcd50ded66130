/** Requests that are passed on, and those that ask for another protocol. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { formatHost } from './host.js';
import type { Connector, Destination } from './connector.js';
import { Exchange, type Outcome, hasBody, isChunked } from './exchange.js';
import {
  type Target,
  absoluteTarget,
  endToEnd,
  formatAuthority,
  originTarget,
  timesVia,
  tokensOf,
  valuesOf,
  via,
} from './headers.js';
import { join } from './join.js';
import { Answered, Problem, WrongCredentials, badRequest } from './problem.js';
import type { ProxyParts } from './server.js';
import type { Session } from './session.js';
import { lastResponse, switchingHead } from './tunnel.js';
import { type Upstream, basicAuthorization } from './upstream.js';

/** How often a request may have come through a proxy of this kind. */
const MAX_LOOPS = 4;

/** Serves a request on its parsed connection. Rejects with Problem as long as nothing was answered. */
export async function serveRequest(
  parts: ProxyParts,
  session: Session,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  parts.counters.requests++;
  const target = targetOf(session, request);
  const outcome = await send(parts, session, request, response, target, undefined);
  if (typeof outcome === 'object') throw badRequest('nobody asked for another protocol', 502);
}

/** Serves a request with an Upgrade field, on a connection without a parser. */
export async function serveUpgrade(
  parts: ProxyParts,
  session: Session,
  request: IncomingMessage,
): Promise<void> {
  const { stream } = session;
  const protocol = request.headers.upgrade ?? '';
  if (hasBody(request)) throw badRequest('a request with a body cannot ask for another protocol here');
  const response = lastResponse(request, stream);
  const outcome = await send(parts, session, request, response, targetOf(session, request), protocol);
  if (typeof outcome !== 'object') return;
  session.leave();
  response.detachSocket(request.socket);
  stream.write(switchingHead(outcome.answer), 'latin1');
  await join(stream, outcome.upgraded, (guest, host) =>
    parts.deps.splice(guest, host, formatHost(targetOf(session, request).host)),
  );
}

function targetOf({ original }: Session, request: IncomingMessage): Target {
  const url = request.url ?? '';
  if (timesVia(request.rawHeaders) >= MAX_LOOPS)
    throw new Problem({
      status: 508,
      error: 'proxy_loop_detected',
      message: 'the request goes round in circles',
      check: 'Check that no upstream of netproxy leads back to it.',
    });
  if (!url.startsWith('/') && url !== '*') return absoluteTarget(url);
  const [host] = valuesOf(request.rawHeaders, 'host');
  if (original !== undefined)
    return host === undefined || host === ''
      ? { scheme: 'http', host: original.host, port: original.port, path: url }
      : originTarget(url, host, original.port);
  throw badRequest('this is an HTTP proxy: it takes requests with a whole URL, and CONNECT');
}

/** Finds a connection, sends, and asks again where a kept connection had ended. */
async function send(
  parts: ProxyParts,
  session: Session,
  request: IncomingMessage,
  response: ServerResponse,
  target: Target,
  protocol: string | undefined,
): Promise<Outcome> {
  const { connector, planner, counters, deps } = parts;
  const plan = await planner.plan(session.client, target, session.original);
  // Whether it was done or not cannot be known of these, so they never go over a connection that may be gone.
  let fresh = hasBody(request) || protocol !== undefined || !isSafe(request);
  let renewed = false;
  for (;;) {
    const { stream, upstream, reused, pinned, key } = await connector.withFallback(plan.upstreams, (one) =>
      connection(parts, session, one, plan.destination, fresh),
    );
    if (session.stream.destroyed) {
      stream.destroy();
      return 'done';
    }
    const stats = connector.of(upstream);
    const began = deps.scheduler.now();
    stats.requests++;
    const sticky = pinned || isSticky(request);
    const exchange = new Exchange(
      {
        pool: parts.pool,
        scheduler: deps.scheduler,
        timeouts: parts.timeouts,
        answered: (status) => {
          stats.answers++;
          stats.answerMillis += deps.scheduler.now() - began;
          log(parts, session, request, target, upstream, status);
        },
        onBroken: (watcher) => session.onBroken(watcher),
        free: (one) => {
          if (sticky) session.pin(key, one);
          else parts.pool.put(key, one);
        },
      },
      request,
      response,
      {
        path: isHttpProxy(upstream) ? absolute(target) : target.path,
        fields: fieldsFor(request, session, target, upstream, protocol),
        stream,
        reused,
        nextHop: nextHopOf(upstream, plan.destination),
        hides407: hides407(upstream, session),
      },
    );
    const outcome = await exchange.run().catch(async (error: unknown) => {
      if (!(error instanceof WrongCredentials)) throw error;
      // A body is gone: the next request has the other ones.
      const others = await connector.otherCredentials(upstream);
      if (!others || renewed || hasBody(request)) throw error;
      renewed = true;
      return 'stale' as const;
    });
    if (outcome !== 'stale') return outcome;
    counters.retried++;
    fresh = true;
  }
}

interface Lease {
  readonly stream: Duplex;
  readonly upstream: Upstream;
  readonly reused: boolean;
  /** It belongs to the guest's connection, and stays so. */
  readonly pinned: boolean;
  readonly key: string;
}

/** The guest's own connection, one that waits, or a new one. */
async function connection(
  parts: ProxyParts,
  session: Session,
  upstream: Upstream,
  destination: Destination,
  fresh: boolean,
): Promise<Lease> {
  const key = isHttpProxy(upstream) ? upstream.name : `${upstream.name} ${finalOf(destination)}`;
  const pinned = session.takePinned(key);
  if (pinned !== undefined) return { stream: pinned, upstream, reused: true, pinned: true, key };
  const standing = session.takeStanding(upstream, destination);
  const stood = standing && (await onStanding(parts.connector, upstream, destination, standing));
  // It is reused in that it may have ended while it waited for the guest's request.
  if (stood !== undefined) return { stream: stood, upstream, reused: true, pinned: false, key };
  const kept = fresh ? undefined : parts.pool.take(key);
  if (kept !== undefined) return { stream: kept, upstream, reused: true, pinned: false, key };
  const stream = await parts.connector.forRequest(upstream, destination);
  return { stream, upstream, reused: false, pinned: false, key };
}

/** Undefined: it had ended. */
async function onStanding(
  connector: Connector,
  upstream: Upstream,
  destination: Destination,
  standing: Duplex,
): Promise<Duplex | undefined> {
  try {
    return await connector.forRequest(upstream, destination, standing);
  } catch (error) {
    if (error instanceof Answered) throw error;
    return undefined;
  }
}

function finalOf({ host, port, final }: Destination): string {
  const to = final ?? { host, port };
  // By name, too: a socks5h proxy decides by it.
  return `${formatHost(host)} ${formatHost(to.host)}:${to.port}`;
}

function isHttpProxy({ kind }: Upstream): boolean {
  return kind === 'http' || kind === 'https';
}

function hides407(upstream: Upstream, { original }: Session): boolean {
  return upstream.kind !== 'direct' && (upstream.credentials !== undefined || original !== undefined);
}

function isSafe({ method }: IncomingMessage): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS' || method === 'TRACE';
}

/** Authentication that belongs to a connection, not to a request. */
function isSticky({ rawHeaders }: IncomingMessage): boolean {
  return [...valuesOf(rawHeaders, 'authorization'), ...valuesOf(rawHeaders, 'proxy-authorization')].some(
    (value) => /^(ntlm|negotiate)\b/i.test(value),
  );
}

function absolute({ host, port, path }: Target): string {
  return `http://${formatAuthority(host, port, 80)}${path === '*' ? '' : path}`;
}

function nextHopOf(upstream: Upstream, { host, port }: Destination): string {
  return upstream.kind === 'direct' ? `${formatHost(host)}:${port}` : upstream.name;
}

/** The head for the next hop. Proxy-Authorization goes to a proxy only: ours where the settings have a user, else the guest's. */
function fieldsFor(
  request: IncomingMessage,
  session: Session,
  target: Target,
  upstream: Upstream,
  protocol: string | undefined,
): string[] {
  const { rawHeaders, httpVersion } = request;
  const fields = [
    'Host',
    formatAuthority(target.host, target.port, 80),
    ...endToEnd(rawHeaders, ['host', 'via']),
  ];
  fields.push('Via', via(rawHeaders, httpVersion));
  if (isChunked(request)) fields.push('Transfer-Encoding', 'chunked');
  else if (!hasBody(request) && /^(POST|PUT|PATCH)$/.test(request.method ?? ''))
    if (valuesOf(rawHeaders, 'content-length').length === 0) fields.push('Content-Length', '0');
  if (upstream.kind === 'http' || upstream.kind === 'https') {
    if (upstream.credentials !== undefined)
      fields.push('Proxy-Authorization', basicAuthorization(upstream.credentials));
    else if (session.original === undefined)
      for (const value of valuesOf(rawHeaders, 'proxy-authorization'))
        fields.push('Proxy-Authorization', value);
  }
  const trailers = tokensOf(rawHeaders, 'te').includes('trailers');
  if (protocol !== undefined) fields.push('Connection', 'Upgrade', 'Upgrade', protocol);
  else fields.push('Connection', trailers ? 'keep-alive, TE' : 'keep-alive');
  if (trailers && protocol === undefined) fields.push('TE', 'trailers');
  return fields;
}

/** The access log. Without the query, where secrets are. */
function log(
  { deps }: ProxyParts,
  { client }: Session,
  { method }: IncomingMessage,
  { host, port, path }: Target,
  upstream: Upstream,
  status: number,
): void {
  const where = `http://${formatAuthority(host, port, 80)}${path.split('?', 1)[0]!}`;
  deps.logger.debug(`HTTP proxy: ${method ?? ''} ${where}: ${status}`, {
    guest: client.name,
    upstream: upstream.name,
    status,
  });
}
