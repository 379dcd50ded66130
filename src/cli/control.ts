/**
 * The control API as far as it is there: GET /v1/version and GET /v1/health. It answers on `--listen` sockets beside
 * POST /connect, and on the socket of `--services`.
 */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { Socket } from 'node:net';
import type { Network } from '../index.js';
import { type BoundPath, listenUnix, parseLinkSpec } from '../link/index.js';
import { packageVersion } from './version.js';

export interface Control {
  /** Serves a connected socket. */
  readonly serve: (socket: Socket) => void;
  /** Listens on a unix socket of mode 0600 too; rejects with ERR_NETPROXY_LISTEN. Returns the address. */
  listen(address: string): Promise<string>;
  close(): void;
}

/** Connections at once of each door. */
const MAX_CONNECTIONS = 256;

export function createControl(network: Network): Control {
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    respond(network, request, response);
  };
  const inner = createServer(answer);
  const open: { server: Server; bound: BoundPath }[] = [];
  return {
    serve: (socket) => inner.emit('connection', socket),
    listen: async (text) => {
      const { address } = parseLinkSpec(text, 'connect');
      const server = createServer(answer);
      server.maxConnections = MAX_CONNECTIONS;
      const bound = await listenUnix(server, address.transport === 'unix' ? address.path : text);
      open.push({ server, bound });
      return `unix:${bound.path}`;
    },
    close: () => {
      inner.closeAllConnections();
      for (const { server, bound } of open.splice(0)) {
        bound.release();
        server.close();
        server.closeAllConnections();
      }
    },
  };
}

function respond(network: Network, request: IncomingMessage, response: ServerResponse): void {
  // What a client sends along is not wanted; unread, it would hold the connection up.
  request.resume();
  const body = resource(network, (request.url ?? '').replace(/\?.*$/, ''));
  if (body === undefined) send(response, 404, { error: 'not found' });
  else if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    send(response, 405, { error: 'only GET' });
  } else send(response, 200, body);
}

function resource(network: Network, path: string): object | undefined {
  if (path === '/v1/version') {
    return {
      name: 'netproxy',
      version: packageVersion(),
      native: network.hub !== undefined,
      node: process.versions.node,
    };
  }
  if (path !== '/v1/health') return undefined;
  return {
    status: 'ok',
    guests: network.guests().length,
    leases: network.leases().length,
    flows: network.flows().length,
  };
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}
