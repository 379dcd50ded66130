/** Every endpoint, and how one is found. */
import * as z from 'zod';
import { openApiDocument } from './openapi.js';
import { type Route, json } from './route.js';
import { dnsRoutes } from './routes/dns.js';
import { flowRoutes } from './routes/flows.js';
import { guestRoutes } from './routes/guests.js';
import { policyRoutes } from './routes/policy.js';
import { portRoutes } from './routes/ports.js';
import { proxyRoutes } from './routes/proxy.js';
import { programRoutes } from './routes/program.js';
import { statusRoutes } from './routes/status.js';
import { streamRoutes } from './routes/streams.js';

const self = json({
  method: 'GET',
  path: '/v1/openapi.json',
  summary: 'This document',
  rights: 'status',
  grant: 'status',
  json: z.record(z.string(), z.unknown()),
  respond: () => apiDocument(),
});

export const ROUTES: readonly Route[] = [
  ...statusRoutes,
  self,
  ...guestRoutes,
  ...flowRoutes,
  ...portRoutes,
  ...dnsRoutes,
  ...policyRoutes,
  ...proxyRoutes,
  ...programRoutes,
  ...streamRoutes,
];

let document: Readonly<Record<string, unknown>> | undefined;

/** The OpenAPI document of the control API, which is docs/openapi.json. Made once: guests may ask for it. */
export function apiDocument(): Readonly<Record<string, unknown>> {
  return (document ??= openApiDocument(ROUTES));
}

export interface Found {
  readonly route: Route | undefined;
  readonly params: Readonly<Record<string, string>>;
  /** Methods that the place knows; empty: there is no such place. */
  readonly methods: readonly string[];
}

const compiled = ROUTES.map((route) => ({ route, parts: route.path.split('/') }));

/** Finds the endpoint of a path without its query. HEAD is GET without the body; streams have no HEAD. */
export function findRoute(method: string, path: string): Found {
  const given = path.split('/');
  const here = compiled.flatMap(({ route, parts }) => {
    const params = paramsOf(parts, given);
    return params === undefined ? [] : [{ route, params }];
  });
  const methods = here.flatMap(({ route }) =>
    route.method === 'GET' && route.answer.kind !== 'stream' ? ['GET', 'HEAD'] : [route.method],
  );
  const wanted = method === 'HEAD' && methods.includes('HEAD') ? 'GET' : method;
  const hit = here.find(({ route }) => route.method === wanted);
  return { route: hit?.route, params: hit?.params ?? {}, methods };
}

function paramsOf(parts: readonly string[], given: readonly string[]): Record<string, string> | undefined {
  if (parts.length !== given.length) return undefined;
  const params: Record<string, string> = {};
  for (const [i, part] of parts.entries()) {
    const value = given[i] ?? '';
    if (part.startsWith('{')) params[part.slice(1, -1)] = value;
    else if (part !== value) return undefined;
  }
  return params;
}
