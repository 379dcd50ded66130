/**
 * The control API: HTTP and JSON under /v1, at doors of its own or mounted in a server of the program that embeds netproxy.
 *
 * @example
 * import { createServer } from 'node:http';
 * import { createApi } from 'netproxy/api';
 * const api = createApi(network);
 * createServer(api.handler('read')).listen('/run/mine.sock');
 */
export { type ApiHost } from './host.js';
export { MAX_BODY, readBody } from './input.js';
export { DEFAULT_LIMIT, MAX_LIMIT } from './page.js';
export { watchEvents } from './events.js';
export { explanationOf } from './explanation.js';
export { Problem, type ProblemBody } from './problem.js';
export { apiDocument } from './routes.js';
export { RIGHTS, type Rights } from './route.js';
export {
  type Api,
  type DoorOptions,
  MAX_CONNECTIONS as DOOR_CONNECTIONS,
  closeServers,
  createApi,
  makeServer as boundedServer,
} from './server.js';
export type * from './types.js';
export { readToken } from './token.js';
export { packageVersion } from './version.js';
