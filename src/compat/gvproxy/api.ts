/**
 * gvproxy's HTTP API with its answers and its texts.
 *
 * Three doors lead to it. `full`: `-listen` and `-services` sockets. `guest`: port 80 of the gateway, where a guest lists,
 * exposes and unexposes TCP and UDP ports that lead to itself, and nothing else. `none`: a `-listen vsock://` socket, which
 * guests reach without an address of theirs being known: there is only /connect, which the link's listener takes.
 */
import type { IncomingMessage } from 'node:http';
import { type Server as NetServer, type Socket, createServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { DOOR_CONNECTIONS, boundedServer, closeServers } from '../../api/index.js';
import type { Logger } from '../../core/index.js';
import type { Network } from '../../index.js';
import { type BoundServer, bindServer, parseDoor } from '../../link/index.js';
import { GoError, decodeObject, splitHostPort } from '../go-values.js';
import { type Answer, DONE, NOT_FOUND, reply, textOf } from '../http.js';
import { takeHead } from '../peek.js';
import type { Forwarder } from './forwarder.js';
import { gvproxyStats } from './stats.js';
import { TUNNEL, openTunnel } from './tunnel.js';
import { type ZoneTable, decodeZone } from './zones.js';

export type Door =
  | { readonly rights: 'full' }
  | { readonly rights: 'guest'; readonly ip: string }
  | { readonly rights: 'none' };

export interface GvproxyApiParts {
  readonly network: Network;
  readonly forwarder: Forwarder;
  readonly zones: ZoneTable;
  /** Addresses kept for MAC addresses, which gvproxy lists as leases. */
  readonly staticLeases: readonly (readonly [ip: string, mac: string])[];
  readonly logger: Logger;
}

interface Call extends GvproxyApiParts {
  readonly request: IncomingMessage;
  /** Address of the guest that asks; undefined: the host. */
  readonly guest: string | undefined;
}

interface Route {
  readonly guests: boolean;
  readonly respond: (call: Call) => Answer | Promise<Answer>;
}

/** Thrown before anything was tried: 400 where other refusals are 500. */
class BadInput extends GoError {}

const ROUTES: Readonly<Record<string, Route>> = {
  '/services/forwarder/all': {
    guests: true,
    respond: ({ forwarder, guest }) => ({ json: forwarder.list(guest) }),
  },
  '/services/forwarder/expose': { guests: true, respond: post(expose) },
  '/services/forwarder/unexpose': { guests: true, respond: post(unexpose) },
  '/services/dns/all': { guests: false, respond: ({ zones }) => ({ json: zones.all() }) },
  '/services/dns/add': { guests: false, respond: post(addZone) },
  '/services/dhcp/leases': { guests: false, respond: leases },
  '/leases': { guests: false, respond: leases },
  '/cam': { guests: false, respond: cam },
  '/stats': { guests: false, respond: ({ network }) => ({ json: gvproxyStats(network) }) },
  // Both need a connection whose first request they are, and that is taken before HTTP gets it.
  '/connect': { guests: false, respond: () => NOT_FOUND },
  '/tunnel': {
    guests: false,
    respond: () => ({ status: 400, text: 'POST /tunnel is the first request of its connection, or none' }),
  },
};

export class GvproxyApi {
  private readonly parts: GvproxyApiParts;
  private readonly doors = new WeakMap<Duplex, Door>();
  private readonly http = boundedServer((request, response) => {
    void reply(response, () => this.respond(request), refusal, this.parts.logger);
  });
  private readonly open: { server: NetServer; bound: BoundServer }[] = [];
  private readonly sockets = new Set<Socket>();

  constructor(parts: GvproxyApiParts) {
    this.parts = parts;
  }

  /** Serves a connection that somebody accepted. */
  serve(socket: Duplex, door: Door): void {
    this.doors.set(socket, door);
    if (door.rights !== 'full') {
      this.http.emit('connection', socket);
      return;
    }
    takeHead(socket, TUNNEL, (head) => {
      if (head !== undefined) {
        openTunnel(this.parts.network, socket, head);
        return;
      }
      this.http.emit('connection', socket);
      process.nextTick(() => socket.resume());
    });
  }

  /** Listens at `unix://PATH` or `tcp://HOST:PORT`; resolves with the address. Rejects with ERR_NETPROXY_LISTEN, ERR_NETPROXY_CONFIG. */
  async listen(text: string): Promise<string> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
      this.serve(socket, { rights: 'full' });
    });
    server.maxConnections = DOOR_CONNECTIONS;
    const bound = await bindServer(server, parseDoor(text));
    server.on('error', (error) => this.parts.logger.warn(`control API at ${text}: ${error.message}`));
    this.open.push({ server, bound });
    return bound.address;
  }

  /** Closes the doors and what is under way. Idempotent. */
  close(): void {
    for (const { server, bound } of this.open.splice(0)) {
      bound.release();
      server.close();
    }
    closeServers([this.http]);
    for (const socket of this.sockets) socket.unref();
  }

  private respond(request: IncomingMessage): Answer | Promise<Answer> {
    // Programs send no Origin; a browser does, for a page of anybody.
    if (request.headers.origin !== undefined) return { status: 403, text: 'not for browsers' };
    const door = this.doors.get(request.socket) ?? { rights: 'none' };
    const [path = ''] = (request.url ?? '').split('?');
    const route = Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
    request.on('error', () => undefined);
    if (route === undefined || (!route.guests && door.rights === 'guest')) return discard(request, NOT_FOUND);
    if (door.rights === 'none') return discard(request, { status: 403, text: 'only /connect here' });
    const guest = door.rights === 'guest' ? door.ip : undefined;
    return route.respond({ ...this.parts, request, guest });
  }
}

/** A body that nobody asked for would hold the connection up. */
function discard(request: IncomingMessage, answer: Answer): Answer {
  request.resume();
  return answer;
}

function refusal(error: Error): Answer {
  return { status: error instanceof BadInput ? 400 : 500, text: error.message };
}

function post(respond: (call: Call, body: string) => Answer | Promise<Answer>): Route['respond'] {
  return async (call) => {
    if (call.request.method !== 'POST') return discard(call.request, { status: 400, text: 'post only' });
    return respond(call, await textOf(call.request));
  };
}

/** What a decoder refuses is the client's mistake. */
function decoded<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    throw error instanceof GoError ? new BadInput(error.message) : error;
  }
}

async function expose({ forwarder, guest }: Call, body: string): Promise<Answer> {
  const wanted = decoded(() => {
    const fields = decodeObject(body, 'ExposeRequest');
    const protocol = fields.text('protocol') || 'tcp';
    const [local, remote] = [fields.text('local'), fields.text('remote')];
    const isPath = protocol === 'unix' || protocol === 'npipe';
    return { protocol, local, remote: isPath ? remote : remoteOf(remote, guest) };
  });
  if (guest !== undefined) {
    if (wanted.protocol !== 'tcp' && wanted.protocol !== 'udp')
      return { status: 403, text: 'a guest exposes tcp and udp ports only' };
    if (splitHostPort(wanted.remote).host !== guest)
      return { status: 403, text: `a guest exposes ports of its own only: those of ${guest}` };
  }
  await forwarder.expose(wanted, guest);
  return DONE;
}

/** Without an address it is the one of whoever asks. */
function remoteOf(remote: string, guest: string | undefined): string {
  const { host } = splitHostPort(remote);
  if (host !== '') return remote;
  // The peer of a unix socket is "@" in Go.
  if (guest === undefined) throw new BadInput('address @: missing port in address');
  return `${guest}${remote}`;
}

function unexpose({ forwarder, guest }: Call, body: string): Answer {
  const which = decoded(() => {
    const fields = decodeObject(body, 'UnexposeRequest');
    return { protocol: fields.text('protocol') || 'tcp', local: fields.text('local') };
  });
  forwarder.unexpose(which, guest);
  return DONE;
}

function addZone({ zones }: Call, body: string): Answer {
  const zone = decoded(() => decodeZone(body));
  zones.add(zone);
  return DONE;
}

function leases({ network, staticLeases }: Call): Answer {
  const known = new Map(staticLeases.map(([ip, mac]) => [ip, mac.toLowerCase()]));
  for (const { ip, mac } of network.leases()) known.set(ip, mac);
  return { json: sorted(known) };
}

function cam({ network }: Call): Answer {
  const macs = network.guests().flatMap(({ id, mac }) => (mac === undefined ? [] : [[mac, id] as const]));
  return { json: sorted(new Map(macs)) };
}

/** encoding/json writes the keys of a map in order. */
function sorted<T>(map: ReadonlyMap<string, T>): Record<string, T> {
  return Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
}
