/**
 * Sockets for queries by UDP to one name server.
 *
 * Theory of operation. Random ids and random source ports make it hard to forge an answer (RFC 5452), but a socket for
 * each query costs more than the query. So there are up to MAX_SOCKETS for each server, each on a port that the kernel
 * chose; queries of one burst, which leave with one system call, share one, and the next burst takes another one at
 * random. A socket goes after MAX_USES queries or MAX_AGE, and all of them when nothing was asked for a while. What does
 * not come from the server's address and port is not looked at.
 */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { type HostIo, type Millis, parseIpv4 } from '../core/index.js';
import { errnoOf } from './errno.js';
import type { DnsServerAddress } from './resolver-files.js';
import { draw16 } from './random-ids.js';

const MAX_SOCKETS = 16;
const MAX_USES = 2048;
const MAX_AGE: Millis = 30_000;
/** Queries that share a socket when they come within BURST_TIME, ms, and none was answered meanwhile. */
const BURST = 16;
const BURST_TIME: Millis = 1;

/** Who waits for an answer with an id from a socket. */
export interface DatagramClient {
  /** The bytes are lent for the call. */
  datagram(bytes: Uint8Array, socket: QuerySocket): void;
  refused(errno: string, socket: QuerySocket): void;
}

interface Datagrams {
  send(bytes: Uint8Array): void;
  close(): void;
}

interface DatagramHandler {
  message(bytes: Uint8Array): void;
  failed(errno: string): void;
}

/** Opens a socket that talks to one server only. */
export type OpenDatagrams = (server: DnsServerAddress, handler: DatagramHandler) => Datagrams;

/** Node's sockets, connected. */
export const nodeDatagrams: OpenDatagrams = ({ host, port }, handler) => {
  const socket = createSocket(isIPv6(host.replace(/%.*/, '')) ? 'udp6' : 'udp4');
  let waiting: Uint8Array[] | undefined = [];
  socket.on('error', (error) => {
    handler.failed(errnoOf(error));
  });
  socket.on('message', (bytes) => {
    handler.message(bytes);
  });
  socket.connect(port, host, () => {
    for (const bytes of waiting ?? []) socket.send(bytes);
    waiting = undefined;
  });
  // Only once it is bound does it hold the process.
  socket.once('listening', () => socket.unref());
  return {
    send: (bytes) => {
      if (waiting === undefined) socket.send(bytes);
      else waiting.push(bytes);
    },
    close: () => {
      closeQuietly(socket);
    },
  };
};

/** The native layer's sockets, which send and receive in batches, for IPv4; Node's for IPv6. */
export function batchedDatagrams(io: HostIo): OpenDatagrams {
  return (server, handler) => {
    const ip = parseIpv4(server.host);
    if (ip === undefined) return nodeDatagrams(server, handler);
    const socket = io.udp({
      datagram: (bytes, offset, length, from, port) => {
        if (from === ip && port === server.port) handler.message(bytes.subarray(offset, offset + length));
      },
      error: (errno, about, port) => {
        if (port === 0 || (about === ip && port === server.port)) handler.failed(errno);
      },
    });
    return {
      send: (bytes) => {
        socket.send(bytes, 0, bytes.length, ip, server.port, 0, 0, false);
      },
      close: () => {
        socket.close();
      },
    };
  };
}

export class QuerySocket implements DatagramHandler {
  /** Who waits, by id. */
  readonly clients = new Map<number, DatagramClient>();
  readonly openedAt: Millis;
  uses = 0;
  burst = 0;
  usedAt: Millis = 0;
  retired = false;
  private readonly datagrams: Datagrams;
  private open = true;

  constructor(server: DnsServerAddress, openDatagrams: OpenDatagrams, now: Millis) {
    this.openedAt = now;
    this.datagrams = openDatagrams(server, this);
  }

  /** Sends a query for a client that is not waiting for that id yet, or again. */
  send(bytes: Uint8Array, id: number, client: DatagramClient): void {
    this.clients.set(id, client);
    this.datagrams.send(bytes);
  }

  /** Nobody waits for that id any more. */
  leave(id: number): void {
    this.clients.delete(id);
    if (this.retired && this.clients.size === 0) this.close();
  }

  message(bytes: Uint8Array): void {
    if (bytes.length < 2) return;
    this.clients.get((bytes[0]! << 8) | bytes[1]!)?.datagram(bytes, this);
  }

  failed(errno: string): void {
    this.retired = true;
    for (const client of [...this.clients.values()]) client.refused(errno, this);
    if (this.clients.size === 0) this.close();
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    this.datagrams.close();
  }
}

export class QuerySockets {
  private readonly server: DnsServerAddress;
  private readonly openDatagrams: OpenDatagrams;
  private readonly sockets: QuerySocket[] = [];
  private last: QuerySocket | undefined;

  constructor(server: DnsServerAddress, openDatagrams: OpenDatagrams) {
    this.server = server;
    this.openDatagrams = openDatagrams;
  }

  get size(): number {
    return this.sockets.length;
  }

  /** A socket on which nobody waits for that id. */
  pick(id: number, now: Millis): QuerySocket {
    const { last } = this;
    const goesOn =
      last !== undefined &&
      !last.retired &&
      last.burst < BURST &&
      last.clients.size > 0 &&
      now - last.usedAt < BURST_TIME &&
      !last.clients.has(id);
    const socket = goesOn ? last : this.another(id, now);
    socket.burst++;
    socket.uses++;
    socket.usedAt = now;
    this.last = socket;
    return socket;
  }

  /** Closes what was not used since. */
  closeUnused(since: Millis): void {
    for (let i = this.sockets.length - 1; i >= 0; i--) {
      if (this.sockets[i]!.usedAt < since || this.sockets[i]!.retired) this.retire(i);
    }
  }

  close(): void {
    for (const socket of this.sockets) socket.close();
    this.sockets.length = 0;
    this.last = undefined;
  }

  private another(id: number, now: Millis): QuerySocket {
    let at = this.sockets.length < MAX_SOCKETS ? this.sockets.length : draw16() % MAX_SOCKETS;
    for (let tries = 1; tries < MAX_SOCKETS && this.sockets[at]?.clients.has(id) === true; tries++)
      at = (at + 1) % MAX_SOCKETS;
    let socket = this.sockets[at];
    const worn =
      socket !== undefined && (socket.retired || socket.uses >= MAX_USES || now - socket.openedAt > MAX_AGE);
    if (socket !== undefined && (worn || socket.clients.has(id))) {
      this.retire(at);
      socket = undefined;
    }
    if (socket === undefined) {
      socket = new QuerySocket(this.server, this.openDatagrams, now);
      this.sockets.push(socket);
    }
    socket.burst = 0;
    return socket;
  }

  /** Takes no more queries; it closes when those on the way are over. */
  private retire(at: number): void {
    const socket = this.sockets[at]!;
    this.sockets[at] = this.sockets[this.sockets.length - 1]!;
    this.sockets.pop();
    socket.retired = true;
    if (socket.clients.size === 0) socket.close();
  }
}

/** A socket that failed while it was bound is closed already. */
function closeQuietly(socket: Socket): void {
  try {
    socket.close();
  } catch {
    // Nothing left to close.
  }
}
