/**
 * Queries over TCP and TLS to one name server (RFC 7766, RFC 7858): connections are kept, queries follow each other on them
 * without waiting, answers come in any order.
 *
 * A connection that breaks takes its queries along, except those that may have been lost because it had been idle: these go
 * once more on a new one. TLS is always checked: by the server's name where one is configured, else by its address.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Millis } from '../core/index.js';
import { DnsTcpSession, frameTcp, isAnswerTo } from '../dns/index.js';
import { draw16 } from './random-ids.js';
import type { DnsServerAddress } from './resolver-files.js';

/** Queries on one connection before another one is opened; after MAX_CONNECTIONS, more go on the first. */
const BUSY = 64;
const MAX_CONNECTIONS = 4;
/** How long a connection is kept without queries, ms. */
const IDLE: Millis = 10_000;
const LENGTH = 2;

/** A query that is being asked; `cancel` ends the wait. */
export interface Asking {
  cancel(): void;
}

/** Asked on a connection: gets a matching answer, lent for the call, or the reason why there is none. */
export type AskDone = (answer: Uint8Array | Error) => void;

/** Something that answers one query at a time: connections or HTTP. */
export interface Asker {
  /** `query` is copied. `done` is called once, never from inside, and not after `cancel`. */
  ask(query: Uint8Array, done: AskDone): Asking;
  close(): void;
}

export interface StreamOptions {
  /** Certificates of authorities in PEM, instead of those that Node knows. */
  readonly ca?: string | undefined;
}

interface Pending extends Asking {
  readonly query: Uint8Array;
  readonly done: AskDone;
  /** With its length before it, as it was sent. */
  framed: Uint8Array;
  again: boolean;
}

/** Opens a connection; for TLS, `open` is told when the server has shown who it is. */
function openSocket(server: DnsServerAddress, { ca }: StreamOptions, open: () => void): Socket {
  const { host, port, name } = server;
  if (server.kind !== 'tls') return connect({ host, port, noDelay: true }, open);
  const servername = name === undefined ? {} : { servername: name };
  const trust = ca === undefined ? {} : { ca };
  const socket = connectTls({ host, port, ALPNProtocols: ['dot'], ...servername, ...trust }, open);
  return socket.setNoDelay(true);
}

class Connection {
  readonly pending = new Map<number, Pending>();
  closed = false;
  private readonly socket: Socket;
  private readonly idle: NodeJS.Timeout;
  private readonly gone: (connection: Connection, left: readonly Pending[], error: Error) => void;
  /** An answer came on it: when it breaks later, it may simply have been idle for too long. */
  private proved = false;

  constructor(
    server: DnsServerAddress,
    options: StreamOptions,
    gone: (connection: Connection, left: readonly Pending[], error: Error) => void,
  ) {
    this.gone = gone;
    this.idle = setTimeout(() => {
      if (this.pending.size === 0) this.end(new Error('idle'));
    }, IDLE).unref();
    const session = new DnsTcpSession((message) => {
      this.message(message);
      session.pending--;
    }, Number.POSITIVE_INFINITY);
    this.socket = openSocket(server, options, () => undefined).unref();
    this.socket.on('data', (chunk: Uint8Array) => {
      if (!session.push(chunk)) this.end(new Error('the server sent no DNS message'));
    });
    this.socket.on('error', (error) => {
      this.end(error);
    });
    this.socket.on('close', () => {
      this.end(Object.assign(new Error('closed without an answer'), { code: 'ECONNRESET' }));
    });
    this.socket.on('end', () => {
      this.end(Object.assign(new Error('closed without an answer'), { code: 'ECONNRESET' }));
    });
  }

  send(pending: Pending): void {
    let id = draw16();
    while (this.pending.has(id)) id = (id + 1) & 0xffff;
    const framed = frameTcp(pending.query);
    framed[LENGTH] = id >>> 8;
    framed[LENGTH + 1] = id;
    pending.framed = framed;
    pending.again = this.proved;
    this.pending.set(id, pending);
    this.idle.refresh();
    // Until it is connected, the socket itself keeps what is written.
    this.socket.write(framed);
  }

  forget(pending: Pending): void {
    for (const [id, other] of this.pending) if (other === pending) this.pending.delete(id);
  }

  end(error: Error): void {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.idle);
    this.socket.destroy();
    const left = [...this.pending.values()];
    this.pending.clear();
    this.gone(this, left, error);
  }

  private message(message: Uint8Array): void {
    const id = ((message[0] ?? 0) << 8) | (message[1] ?? 0);
    const pending = this.pending.get(id);
    if (pending === undefined || !isAnswerTo(message, pending.framed.subarray(LENGTH))) return;
    this.proved = true;
    this.pending.delete(id);
    this.idle.refresh();
    pending.done(message);
  }
}

export class QueryStreams implements Asker {
  private readonly server: DnsServerAddress;
  private readonly options: StreamOptions;
  private readonly connections: Connection[] = [];
  private closed = false;

  constructor(server: DnsServerAddress, options: StreamOptions = {}) {
    this.server = server;
    this.options = options;
  }

  ask(query: Uint8Array, done: AskDone): Asking {
    const pending: Pending = {
      query,
      done,
      framed: query,
      again: false,
      cancel: () => {
        for (const connection of this.connections) connection.forget(pending);
      },
    };
    this.pick().send(pending);
    return pending;
  }

  close(): void {
    this.closed = true;
    for (const connection of [...this.connections]) connection.end(new Error('closed'));
  }

  private pick(): Connection {
    const free = this.connections.find(({ pending }) => pending.size < BUSY);
    if (free !== undefined) return free;
    if (this.connections.length >= MAX_CONNECTIONS) {
      return this.connections.reduce((one, other) => (other.pending.size < one.pending.size ? other : one));
    }
    const connection = new Connection(this.server, this.options, (gone, left, error) => {
      this.connections.splice(this.connections.indexOf(gone), 1);
      for (const pending of left) {
        if (pending.again && !this.closed) this.pick().send(pending);
        else pending.done(error);
      }
    });
    this.connections.push(connection);
    return connection;
  }
}
