/** From a request to its answer: the endpoint, who asks, what they send, and what they get. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as z from 'zod';
import { silentLogger } from '../core/index.js';
import type { Network } from '../index.js';
import type { ApiHost } from './host.js';
import { bodyOf, checked, queryOf } from './input.js';
import { DEFAULT_LIMIT, pageQuery, writePage } from './page.js';
import { PROBLEM_TYPE, Problem, problemOf } from './problem.js';
import {
  type Asker,
  type Call,
  type Listing,
  type Rights,
  type Route,
  type StreamWriter,
  allows,
} from './route.js';
import { findRoute } from './routes.js';
import { Streams } from './streams.js';

/** Who came in by which door: the rights of a request. Throws a `Problem` where it has none. */
export type Authorize = (request: IncomingMessage) => Asker;

/** Answers requests about a network. Never rejects. */
export class Handler {
  private readonly network: Network;
  private readonly host: ApiHost;
  private readonly streams: Streams;

  constructor(network: Network, host: ApiHost) {
    this.network = network;
    this.host = host;
    this.streams = new Streams(network);
  }

  async answer(request: IncomingMessage, response: ServerResponse, authorize: Authorize): Promise<void> {
    try {
      await this.respond(request, response, authorize(request));
    } catch (error) {
      this.refuse(request, response, problemOf(error));
    }
  }

  /** Ends what goes on. */
  close(): void {
    this.streams.close();
  }

  private async respond(request: IncomingMessage, response: ServerResponse, asker: Asker): Promise<void> {
    const [path = '', ...rest] = (request.url ?? '').split('?');
    const { route, params, methods } = findRoute(request.method ?? '', path);
    if (route === undefined) throw nowhere(path, methods);
    const guest = typeof asker === 'object' ? asker.guest : undefined;
    this.permit(route, asker);
    const query = this.query(route, rest.join('?'));
    const call: Call = {
      network: this.network,
      host: this.host,
      rights: typeof asker === 'object' ? 'guest' : asker,
      guest,
      streams: this.streams,
      params: route.params === undefined ? undefined : queryOf(route.params, encoded(params), 'path'),
      query: query.own,
      body: route.body === undefined ? undefined : checked(route.body, await bodyOf(request), 'body'),
      after: query.page?.after ?? 0,
    };
    // A body that nobody asked for would hold the connection up.
    request.resume();
    const result = await route.respond(call);
    // Who is told that it is done may rely on it, also when this process is killed.
    if (route.method !== 'GET') await this.network.saved();
    await this.send(route, request, response, result, query.page?.limit ?? DEFAULT_LIMIT);
  }

  /** Throws 403 where a request has no right, or the policy does not grant it to the guest. */
  private permit(route: Route, asker: Asker): void {
    if (typeof asker !== 'object') {
      if (!allows(asker, route.rights)) throw forbidden(route, asker);
      return;
    }
    const { guest } = asker;
    if (route.grant === undefined)
      throw new Problem(403, `guests may not ask for ${route.method} ${route.path}`);
    const { verdict, rule, id } = this.network.policy.grants(guest, route.grant);
    if (verdict.kind !== 'deny') return;
    throw new Problem(
      403,
      `the policy does not grant "${route.grant}" to ${guest}: rule "${rule}", decision ${id}`,
    );
  }

  /** The query in two parts: the endpoint's own, and that of the page. */
  private query(route: Route, text: string) {
    const own = route.query ?? z.strictObject({});
    if (route.answer.kind !== 'page') return { own: queryOf(own, text), page: undefined };
    const all = queryOf(own.extend(pageQuery.shape), text) as z.output<typeof pageQuery>;
    const { limit, after, ...mine } = all;
    return { own: mine, page: { limit, after } };
  }

  private async send(
    route: Route,
    request: IncomingMessage,
    response: ServerResponse,
    result: unknown,
    limit: number,
  ): Promise<void> {
    if (response.destroyed) return;
    response.setHeader('cache-control', 'no-store');
    switch (route.answer.kind) {
      case 'none':
        response.writeHead(route.status).end();
        return;
      case 'json':
        sendJson(response, route.status, 'application/json', result);
        return;
      case 'page':
        response.writeHead(route.status, { 'content-type': 'application/json' });
        if (request.method === 'HEAD') response.end();
        else await writePage(response, result as Listing, limit);
        return;
      case 'stream':
        response.writeHead(route.status, { 'content-type': route.answer.type });
        response.flushHeaders();
        await (result as StreamWriter)(response, request);
    }
  }

  private refuse(request: IncomingMessage, response: ServerResponse, problem: Problem): void {
    request.resume();
    if (problem.status >= 500) {
      const { cause } = problem;
      const why = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
      (this.host.logger ?? silentLogger).warn(`control API: ${request.method ?? ''} failed: ${why}`);
    }
    if (response.headersSent) {
      response.destroy();
      return;
    }
    for (const [name, value] of Object.entries(problem.headers)) response.setHeader(name, value);
    sendJson(response, problem.status, PROBLEM_TYPE, problem.body);
  }
}

function sendJson(response: ServerResponse, status: number, type: string, value: unknown): void {
  const text = `${JSON.stringify(value)}\n`;
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** Path parameters as a query, so that one function checks both. */
function encoded(params: Readonly<Record<string, string>>): string {
  return Object.entries(params)
    .map(([name, value]) => `${name}=${value.replaceAll('+', '%2B').replaceAll('&', '%26')}`)
    .join('&');
}

function nowhere(path: string, methods: readonly string[]): Problem {
  if (methods.length === 0)
    return new Problem(404, `there is no ${path.slice(0, 80)}`, {
      remedy: 'GET /v1/openapi.json lists what there is.',
    });
  const allow = methods.join(', ');
  return new Problem(405, `only ${allow} here`, { headers: { allow } });
}

function forbidden(route: Route, rights: Rights): Problem {
  return new Problem(
    403,
    `${route.method} ${route.path} needs the right "${route.rights}"; you have "${rights}"`,
    {
      remedy: 'Ask at another door: netproxy serve --services is the one with full rights.',
    },
  );
}
