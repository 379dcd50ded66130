/**
 * The control API at its doors: unix sockets of mode 0600, TCP with a bearer token, sockets that somebody else accepted, and a
 * handler for a server that an embedding program runs.
 *
 * Limits: MAX_CONNECTIONS of each door, MAX_BODY bytes of a body, REQUEST_TIMEOUT for a request to come in.
 */
import { type IncomingMessage, type RequestListener, type Server, createServer } from 'node:http';
import type { Socket } from 'node:net';
import { NetproxyError, silentLogger } from '../core/index.js';
import type { Network } from '../index.js';
import { type BoundServer, bindServer, parseDoor } from '../link/index.js';
import { type Authorize, Handler } from './handler.js';
import type { ApiHost } from './host.js';
import { Problem } from './problem.js';
import type { Rights } from './route.js';
import { bearerMatches } from './token.js';

/** Connections at once of one guest, from inside. */
export const MAX_OF_GUEST = 32;
/** Where guests ask, on the gateway. */
const GUEST_PORT = 80;
/** Connections at once of each door. */
export const MAX_CONNECTIONS = 256;
/** For the whole request to come in, ms. */
const REQUEST_TIMEOUT = 30_000;
/** For answers under way when the API closes, ms. */
const FAREWELL = 100;
/** A connection between two requests, ms. */
const KEEP_ALIVE = 30_000;

export interface DoorOptions {
  /** What may be done here. Default `full`. */
  readonly rights?: Exclude<Rights, 'status'> | undefined;
  /** Who does not bring it is refused. TCP needs one. */
  readonly token?: string | undefined;
}

export interface Api {
  /** For `http.createServer(api.handler())`. Who may reach it is the server's business; `rights` defaults to `full`. */
  handler(rights?: Exclude<Rights, 'status'>): RequestListener;
  /** Listens at `unix:/PATH` or `tcp:HOST:PORT`. Resolves with the address; rejects with ERR_NETPROXY_LISTEN or ERR_NETPROXY_CONFIG. */
  listen(address: string, options?: DoorOptions): Promise<string>;
  /**
   * Serves a socket that a link's listener took: guests' relays reach it, too. Without the token there is only version and
   * health, and over TCP nothing at all.
   */
  serve(socket: Socket): void;
  /**
   * Lets guests ask at port 80 of the gateway, each for what the policy grants it (`allow api:self@build`). Without such rules
   * they get nothing. Throws ERR_NETPROXY_STATE when the place is taken.
   */
  serveGuests(): void;
  /** Closes all doors and what is under way. Idempotent. */
  close(): void;
}

/** The control API of a network; opens nothing by itself. `token`: for sockets given to `serve`. */
export function createApi(network: Network, host: ApiHost = {}, token?: string): Api {
  const handler = new Handler(network, host);
  const logger = host.logger ?? silentLogger;
  const listener =
    (authorize: Authorize): RequestListener =>
    (request, response) => {
      void handler.answer(request, response, authorize);
    };
  const inner = makeServer(listener((request) => behindLink(request, token)));
  const inside: Server[] = [];
  const open: { server: Server; bound: BoundServer }[] = [];
  return {
    serveGuests: () => {
      const names = new WeakMap<object, string>();
      const open = new Map<string, number>();
      const server = makeServer(listener((request) => ({ guest: names.get(request.socket) ?? '' })));
      inside.push(server);
      network.listen(network.addresses.gateway, GUEST_PORT, (stream, guest) => {
        const now = open.get(guest) ?? 0;
        if (now >= MAX_OF_GUEST) {
          stream.destroy();
          return;
        }
        open.set(guest, now + 1);
        stream.once('close', () => {
          const left = (open.get(guest) ?? 1) - 1;
          if (left === 0) open.delete(guest);
          else open.set(guest, left);
        });
        names.set(stream, guest);
        void server.emit('connection', stream);
      });
    },
    handler: (rights = 'full') => listener(() => rights),
    serve: (socket) => void inner.emit('connection', socket),
    listen: async (text, { rights = 'full', token: wanted } = {}) => {
      const address = parseDoor(text);
      if (address.transport === 'tcp' && wanted === undefined) throw needsToken(text);
      const server = makeServer(
        listener((request) => {
          if (wanted !== undefined) demand(request, wanted);
          return rights;
        }),
      );
      const bound = await bindServer(server, address);
      server.on('error', (error) => logger.warn(`control API at ${text}: ${error.message}`));
      open.push({ server, bound });
      return bound.address;
    },
    close: () => {
      handler.close();
      const servers = [inner, ...inside, ...open.map(({ server }) => server)];
      for (const { server, bound } of open.splice(0)) {
        bound.release();
        server.close();
      }
      closeServers(servers);
    },
  };
}

/** Streams get their end, and then nobody is waited for. */
export function closeServers(servers: readonly Server[]): void {
  for (const server of servers) server.closeIdleConnections();
  setTimeout(() => {
    for (const server of servers) server.closeAllConnections();
  }, FAREWELL).unref();
}

/** An HTTP server with the bounds of this folder; it listens nowhere yet. */
export function makeServer(listener: RequestListener): Server {
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT, headersTimeout: REQUEST_TIMEOUT, keepAliveTimeout: KEEP_ALIVE },
    listener,
  );
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

function needsToken(text: string): NetproxyError {
  return new NetproxyError(
    'ERR_NETPROXY_CONFIG',
    `the control API at ${text} needs a token: anybody may connect there`,
    {
      remedy: 'Name a file for it with --token-file; it is made when it does not exist.',
    },
  );
}

/** Throws 401 when the token is not there. */
function demand(request: IncomingMessage, token: string | undefined): void {
  if (token !== undefined && bearerMatches(request.headers.authorization, token)) return;
  const why =
    token === undefined ? 'nobody may use it here: there is no token' : 'the token is missing or wrong';
  throw new Problem(401, `the control API: ${why}`, {
    remedy:
      'Send authorization: Bearer TOKEN with the token of --token-file, or use the socket of --services.',
    headers: { 'www-authenticate': 'Bearer realm="netproxy"' },
  });
}

/** Behind a link's listener stands whoever may be a guest. */
function behindLink(request: IncomingMessage, token: string | undefined): Rights {
  const anonymous = request.headers.authorization === undefined && request.socket.remoteAddress === undefined;
  if (anonymous) return 'status';
  demand(request, token);
  return 'full';
}
