/**
 * The host's name servers, over UDP and TCP.
 *
 * Theory of operation. Every query gets a random id and, by UDP, a connected socket of its own, so that its source
 * port is random too and the kernel hands over nothing but what came from the server asked (RFC 5452). What does not
 * match id and question is passed over. The servers are asked in order: the next one when one refuses, fails or has
 * been silent for `RETRY`, while late answers of the earlier ones still count; then the first again, until the
 * deadline. A truncated answer is asked for again by TCP. SERVFAIL, REFUSED and NOTIMP count only when no server has
 * better.
 *
 * Not supported yet: health of servers over several queries, servers per domain, DNS over TLS and HTTPS.
 */
import { randomInt } from 'node:crypto';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, isIPv6, type Socket as TcpSocket } from 'node:net';
import type { Millis } from '../core/index.js';
import {
  DnsTcpSession,
  DnsUpstreamError,
  Flag,
  Rcode,
  frameTcp,
  isAnswerTo,
  type DnsReply,
  type DnsTransport,
  type DnsUpstream,
} from '../dns/index.js';
import { errnoOf } from './errno.js';
import type { DnsServerAddress } from './resolver-files.js';

/** Silence after which the next server is asked, ms. */
const RETRY = 1000;
/** Time that a TCP server has at least before the next one is asked, ms. */
const TCP_SHARE = 1500;

export interface HostDnsUpstreamOptions {
  /** The servers in their order, asked for with every query. */
  readonly servers: () => readonly DnsServerAddress[];
  /** Queries on the way, each with a socket or a few. Default 1024. */
  readonly maxInFlight?: number | undefined;
  /** Default 1000 ms. */
  readonly retry?: Millis | undefined;
}

export class HostDnsUpstream implements DnsUpstream {
  private readonly options: HostDnsUpstreamOptions;
  private readonly exchanges = new Set<Exchange>();
  private closed = false;

  constructor(options: HostDnsUpstreamOptions) {
    this.options = options;
  }

  query(bytes: Uint8Array, transport: DnsTransport, timeout: Millis, reply: DnsReply): void {
    const servers = this.options.servers();
    const refusal = this.refusal(servers);
    if (refusal) {
      queueMicrotask(() => {
        reply.failed(refusal);
      });
      return;
    }
    const id = randomInt(0x10000);
    bytes[0] = id >>> 8;
    bytes[1] = id;
    const end = (exchange: Exchange): void => void this.exchanges.delete(exchange);
    const exchange: Exchange =
      transport === 'udp'
        ? new UdpExchange(bytes, servers, timeout, this.options.retry ?? RETRY, { reply, end })
        : new TcpExchange(bytes, servers, timeout, { reply, end });
    this.exchanges.add(exchange);
    exchange.next();
  }

  /** Ends all that is on the way. */
  close(): void {
    this.closed = true;
    for (const exchange of [...this.exchanges]) {
      exchange.fail(new DnsUpstreamError('closed', 'the network is stopping'));
    }
  }

  private refusal(servers: readonly DnsServerAddress[]): DnsUpstreamError | undefined {
    if (this.closed) return new DnsUpstreamError('closed', 'the network is stopping');
    if (servers.length === 0) return new DnsUpstreamError('noServers', 'the host has no name servers');
    if (this.exchanges.size < (this.options.maxInFlight ?? 1024)) return undefined;
    return new DnsUpstreamError('overloaded', 'too many queries on the way');
  }
}

interface Outcome {
  readonly reply: DnsReply;
  end(exchange: Exchange): void;
}

/** One query on its way: what UDP and TCP have in common. */
abstract class Exchange {
  protected readonly asked: Uint8Array;
  protected readonly servers: readonly DnsServerAddress[];
  protected readonly deadline: Millis;
  protected attempts = 0;
  protected done = false;
  /** An answer that is taken when there is no better one. */
  protected poor: Uint8Array | undefined;
  private readonly outcome: Outcome;
  private readonly timer: NodeJS.Timeout;
  private lastErrno: string | undefined;

  constructor(asked: Uint8Array, servers: readonly DnsServerAddress[], timeout: Millis, outcome: Outcome) {
    this.asked = asked;
    this.servers = servers;
    this.outcome = outcome;
    this.deadline = performance.now() + timeout;
    this.timer = later(timeout, () => {
      this.giveUp('timeout');
    });
  }

  /** Asks the next server. */
  abstract next(): void;
  protected abstract release(): void;

  protected server(): DnsServerAddress {
    return this.servers[this.attempts++ % this.servers.length]!;
  }

  protected succeed(answer: Uint8Array): void {
    if (!this.finish()) return;
    this.outcome.reply.answered(answer);
  }

  fail(error: DnsUpstreamError): void {
    if (!this.finish()) return;
    this.outcome.reply.failed(error);
  }

  protected noteErrno(error: unknown): void {
    this.lastErrno = errnoOf(error);
  }

  protected giveUp(code: 'timeout' | 'unreachable'): void {
    if (this.poor) {
      this.succeed(this.poor);
      return;
    }
    const names = [...new Set(this.servers.map((server) => server.host))].join(', ');
    const why = code === 'timeout' ? 'no answer in time' : `unreachable (${this.lastErrno ?? 'EUNKNOWN'})`;
    this.fail(new DnsUpstreamError(code, `name servers ${names}: ${why}`));
  }

  private finish(): boolean {
    if (this.done) return false;
    this.done = true;
    clearTimeout(this.timer);
    this.release();
    this.outcome.end(this);
    return true;
  }
}

class UdpExchange extends Exchange {
  private readonly retry: Millis;
  /** One for each server: asking again from the same port is no less random. */
  private readonly sockets = new Map<DnsServerAddress, UdpSocket>();
  private retryTimer: NodeJS.Timeout | undefined;
  private failures = 0;
  /** Servers asked since the last silence. */
  private burst = 0;
  private byTcp: TcpSocket | undefined;

  constructor(
    asked: Uint8Array,
    servers: readonly DnsServerAddress[],
    timeout: Millis,
    retry: Millis,
    outcome: Outcome,
  ) {
    super(asked, servers, timeout, outcome);
    this.retry = retry;
  }

  next(): void {
    this.burst++;
    clearTimeout(this.retryTimer);
    this.retryTimer = later(this.retry, () => {
      this.burst = 0;
      this.next();
    });
    const server = this.server();
    const known = this.sockets.get(server);
    if (known) this.send(server, known);
    else this.open(server);
  }

  protected release(): void {
    clearTimeout(this.retryTimer);
    for (const socket of this.sockets.values()) closeQuietly(socket);
    this.sockets.clear();
    this.byTcp?.destroy();
  }

  private open(server: DnsServerAddress): void {
    const socket = createSocket(isIPv6(server.host) ? 'udp6' : 'udp4');
    this.sockets.set(server, socket);
    socket.on('error', (error) => {
      this.noteErrno(error);
      this.failed(server, socket);
    });
    socket.on('message', (answer) => {
      this.received(server, socket, Uint8Array.from(answer));
    });
    socket.connect(server.port, server.host, () => {
      this.send(server, socket);
    });
    // Only once it is bound does it hold the process.
    socket.once('listening', () => socket.unref());
  }

  /** An answer may have come, or the server failed, while its socket connected. */
  private send(server: DnsServerAddress, socket: UdpSocket): void {
    if (this.sockets.get(server) !== socket) return;
    try {
      socket.send(this.asked);
    } catch {
      // Not connected yet: it sends when it is.
    }
  }

  private received(server: DnsServerAddress, socket: UdpSocket, answer: Uint8Array): void {
    if (this.done || !isAnswerTo(answer, this.asked)) return;
    if ((answer[2]! & (Flag.truncated >>> 8)) !== 0) {
      this.askByTcp(server, answer);
    } else if (isPoor(answer)) {
      this.poor ??= answer;
      this.failed(server, socket);
    } else {
      this.succeed(answer);
    }
  }

  /** The truncated answer is still an answer, should TCP fail. */
  private askByTcp(server: DnsServerAddress, truncated: Uint8Array): void {
    if (this.byTcp) return;
    this.poor = truncated;
    clearTimeout(this.retryTimer);
    this.byTcp = askByTcp(server, this.asked, (answer) => {
      this.succeed(answer instanceof Uint8Array ? answer : truncated);
    });
  }

  private failed(server: DnsServerAddress, socket: UdpSocket): void {
    if (this.sockets.get(server) !== socket) return;
    this.sockets.delete(server);
    closeQuietly(socket);
    this.failures++;
    if (this.byTcp) return;
    if (this.sockets.size === 0 && this.failures >= this.servers.length) this.giveUp('unreachable');
    else if (this.burst < this.servers.length) this.next();
  }
}

class TcpExchange extends Exchange {
  private socket: TcpSocket | undefined;
  private shareTimer: NodeJS.Timeout | undefined;

  next(): void {
    this.socket?.destroy();
    clearTimeout(this.shareTimer);
    if (this.attempts >= this.servers.length) {
      this.giveUp('unreachable');
      return;
    }
    const left = this.deadline - performance.now();
    const share = Math.max(TCP_SHARE, left / (this.servers.length - this.attempts));
    // The last one has all the time that is left.
    if (this.attempts + 1 < this.servers.length) this.shareTimer = later(share, () => this.next());
    this.socket = askByTcp(this.server(), this.asked, (answer) => {
      if (this.done) return;
      if (!(answer instanceof Uint8Array)) {
        this.noteErrno(answer);
        this.next();
      } else if (isPoor(answer)) {
        this.poor ??= answer;
        this.next();
      } else this.succeed(answer);
    });
  }

  protected release(): void {
    clearTimeout(this.shareTimer);
    this.socket?.destroy();
  }
}

/** Asks one server; `done` is called once with the answer or an error, unless the socket is destroyed before. */
function askByTcp(
  server: DnsServerAddress,
  asked: Uint8Array,
  done: (answer: Uint8Array | Error) => void,
): TcpSocket {
  const socket = connect({ host: server.host, port: server.port });
  socket.unref();
  let settled = false;
  const settle = (answer: Uint8Array | Error): void => {
    if (settled) return;
    settled = true;
    socket.destroy();
    done(answer);
  };
  const session = new DnsTcpSession((message) => {
    if (isAnswerTo(message, asked)) settle(message);
  }, Number.POSITIVE_INFINITY);
  socket.on('connect', () => socket.write(frameTcp(asked)));
  socket.on('data', (chunk) => {
    if (!session.push(chunk)) settle(new Error('the server sent no DNS message'));
  });
  socket.on('error', settle);
  socket.on('end', () =>
    settle(Object.assign(new Error('closed without an answer'), { code: 'ECONNRESET' })),
  );
  return socket;
}

/** A socket that failed while it was bound is closed already. */
function closeQuietly(socket: UdpSocket): void {
  try {
    socket.close();
  } catch {
    // Nothing left to close.
  }
}

function isPoor(answer: Uint8Array): boolean {
  const rcode = answer[3]! & Flag.rcode;
  return rcode === Rcode.servFail || rcode === Rcode.refused || rcode === Rcode.notImp;
}

function later(delay: Millis, callback: () => void): NodeJS.Timeout {
  const timer = setTimeout(callback, delay);
  timer.unref();
  return timer;
}
