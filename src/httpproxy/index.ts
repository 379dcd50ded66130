/** The HTTP proxy: whom requests go to, and how. */
export { type UpstreamStats } from './connector.js';
export { type ProxyCounters } from './counters.js';
export { type Host, formatHost, parseAuthority, parseHost } from './host.js';
export { MAX_ENTRIES, NoProxy } from './no-proxy.js';
export { Problem, errnoOf } from './problem.js';
export type { InterceptedScheme } from './first-bytes.js';
export { type PacFailure, PacRoutes } from './pac-routes.js';
export { type PacResult, parsePacResult } from './pac-result.js';
export { type Detour, HttpProxy, MAX_CLIENTS } from './server.js';
export {
  DEFAULT_HTTPS_PORTS,
  DEFAULT_HTTP_PORTS,
  NO_SETTINGS,
  type ProxySettings,
  type Route,
  type RouteFinder,
  type RouteQuery,
  environmentSettings,
  findRoute,
  hasUpstream,
  vpnkitSettings,
} from './settings.js';
export {
  type Client,
  type Denial,
  DEFAULT_TIMEOUTS,
  type Judgement,
  type ProxyDeps,
  type ProxyTimeouts,
} from './types.js';
export { type Credentials, DIRECT, type ProxyUpstream, type Upstream, parseUpstream } from './upstream.js';
