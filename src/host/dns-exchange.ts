/**
 * One query on its way to the name servers of a group.
 *
 * Theory of operation. The servers are asked in their order, those that are down after the others: the next one when one
 * refuses, fails or has been silent for longer than it usually takes, while late answers of the earlier ones still count;
 * then the first again, until the deadline. A server that is down and may be tried again gets the query beside the first.
 * A truncated answer is asked for again by TCP. SERVFAIL, REFUSED and NOTIMP count only when no server has better.
 */
import { UNSET, type Deadline, type Millis } from '../core/index.js';
import {
  DnsUpstreamError,
  Flag,
  Rcode,
  isAnswerTo,
  type DnsReply,
  type DnsTransport,
  type DnsUpstreamFailure,
} from '../dns/index.js';
import type { DatagramClient, QuerySocket } from './dns-datagrams.js';
import type { ServerState } from './dns-server-state.js';
import type { Asking } from './dns-streams.js';
import { errnoOf } from './errno.js';

/** Time that a server has at least over a stream before the next one is asked, ms. */
const STREAM_SHARE: Millis = 1500;

/** How long the answer of a server that was down is waited for when another one has answered, ms. */
const LINGER: Millis = 2000;

export interface ExchangeOwner {
  readonly retry: Millis;
  now(): Millis;
  arm(exchange: Exchange, at: Millis): void;
  ended(exchange: Exchange): void;
}

/** One server that was asked. */
interface Attempt {
  readonly server: ServerState;
  readonly socket: QuerySocket | undefined;
  asking: Asking | undefined;
  readonly sentAt: Millis;
  over: boolean;
}

export class Exchange implements Deadline, DatagramClient {
  at = UNSET.at;
  index = UNSET.index;
  private readonly owner: ExchangeOwner;
  private readonly asked: Uint8Array;
  private readonly id: number;
  private readonly transport: DnsTransport;
  private readonly servers: readonly ServerState[];
  private readonly deadline: Millis;
  private readonly reply: DnsReply;
  private readonly attempts: Attempt[] = [];
  private turn = 0;
  private done = false;
  /** An answer that is taken when there is no better one, and whose it is. */
  private poor: Uint8Array | undefined;
  private poorFrom = '';
  private lastError: unknown;
  private byTcp = false;

  constructor(
    owner: ExchangeOwner,
    asked: Uint8Array,
    id: number,
    transport: DnsTransport,
    servers: readonly ServerState[],
    deadline: Millis,
    reply: DnsReply,
  ) {
    this.owner = owner;
    this.asked = asked;
    this.id = id;
    this.transport = transport;
    this.servers = servers;
    this.deadline = deadline;
    this.reply = reply;
  }

  start(): void {
    const now = this.owner.now();
    this.next(now);
    for (const server of this.servers) {
      if (server.health.down && server !== this.attempts[0]?.server && server.health.probeDue(now))
        this.ask(server, now);
    }
  }

  fire(now: Millis): void {
    if (now >= this.deadline) {
      this.giveUp('timeout');
      return;
    }
    const last = this.attempts[this.attempts.length - 1];
    if (last !== undefined && !last.over) last.server.health.wasSilent(now);
    this.next(now);
  }

  datagram(answer: Uint8Array, socket: QuerySocket): void {
    if (!isAnswerTo(answer, this.asked)) return;
    const attempt = this.attempts.find((candidate) => candidate.socket === socket);
    if (attempt === undefined) return;
    const { server } = attempt;
    server.health.answered(this.owner.now() - attempt.sentAt);
    if (this.done) {
      socket.leave(this.id);
      return;
    }
    if ((answer[2]! & (Flag.truncated >>> 8)) !== 0) this.askByTcp(server, answer);
    else this.take(attempt, answer);
  }

  refused(errno: string, socket: QuerySocket): void {
    for (const attempt of this.attempts) {
      if (attempt.socket !== socket || attempt.over) continue;
      this.lastError = { code: errno };
      attempt.server.health.failed(this.owner.now());
      this.failed(attempt);
    }
  }

  fail(error: DnsUpstreamError): void {
    if (this.finish()) this.reply.failed(error);
  }

  /** Asks the next server, the first again after the last. */
  private next(now: Millis): void {
    const server = this.servers[this.turn++ % this.servers.length]!;
    const byDatagram = this.transport === 'udp' && server.plain;
    const known = this.attempts.find((attempt) => attempt.server === server && !attempt.over);
    if (known === undefined) this.ask(server, now);
    // What goes by a stream arrives; a datagram may have been lost.
    else known.socket?.send(this.asked, this.id, this);
    if (this.done) return;
    const left = this.deadline - now;
    const share = Math.max(STREAM_SHARE, left / this.servers.length);
    const patience = byDatagram ? server.health.patience(this.owner.retry) : share;
    this.owner.arm(this, Math.min(now + patience, this.deadline));
  }

  private ask(server: ServerState, now: Millis): void {
    const byDatagram = this.transport === 'udp' && server.plain;
    const socket = byDatagram ? server.sockets.pick(this.id, now) : undefined;
    const attempt: Attempt = { server, socket, asking: undefined, sentAt: now, over: false };
    this.attempts.push(attempt);
    if (socket !== undefined) {
      socket.send(this.asked, this.id, this);
      return;
    }
    attempt.asking = server.stream.ask(this.asked, (answer) => {
      attempt.asking = undefined;
      if (this.done) return;
      if (answer instanceof Error) {
        this.lastError = answer;
        server.health.failed(this.owner.now());
        this.failed(attempt);
      } else {
        server.health.answered(this.owner.now() - attempt.sentAt);
        this.take(attempt, answer);
      }
    });
  }

  private take(attempt: Attempt, answer: Uint8Array): void {
    const rcode = answer[3]! & Flag.rcode;
    if (rcode === Rcode.servFail || rcode === Rcode.refused || rcode === Rcode.notImp) {
      this.keepPoor(attempt.server, answer);
      this.failed(attempt);
    } else this.succeed(answer, attempt.server.label);
  }

  private keepPoor(server: ServerState, answer: Uint8Array): void {
    if (this.poor) return;
    this.poor = answer.slice();
    this.poorFrom = server.label;
  }

  /** The truncated answer is still an answer, should TCP fail. */
  private askByTcp(server: ServerState, truncated: Uint8Array): void {
    if (this.byTcp) return;
    this.byTcp = true;
    this.poor = truncated.slice();
    this.poorFrom = server.label;
    this.owner.arm(this, this.deadline);
    const attempt: Attempt = { server, socket: undefined, asking: undefined, sentAt: 0, over: false };
    this.attempts.push(attempt);
    attempt.asking = server.stream.ask(this.asked, (answer) => {
      attempt.asking = undefined;
      if (this.done) return;
      if (answer instanceof Error) this.giveUp('unreachable');
      else this.succeed(answer, server.label);
    });
  }

  /** A server has nothing: the next one, unless all of them had their turn. */
  private failed(attempt: Attempt): void {
    if (this.done) return;
    attempt.over = true;
    if (this.byTcp) return;
    const asked = new Set(this.attempts.map(({ server }) => server));
    const waiting = this.attempts.some(({ over }) => !over);
    if (asked.size < this.servers.length) {
      while (asked.has(this.servers[this.turn % this.servers.length]!)) this.turn++;
      this.next(this.owner.now());
    } else if (!waiting) this.giveUp('unreachable');
  }

  private succeed(answer: Uint8Array, server: string): void {
    if (this.finish()) this.reply.answered(answer, server);
  }

  private giveUp(code: DnsUpstreamFailure): void {
    if (this.poor) {
      this.succeed(this.poor, this.poorFrom);
      return;
    }
    const names = this.servers.map(({ label }) => label).join(', ');
    const why = code === 'timeout' ? 'no answer in time' : `unreachable (${reasonOf(this.lastError)})`;
    this.fail(new DnsUpstreamError(code, `name servers ${names}: ${why}`));
  }

  private finish(): boolean {
    if (this.done) return false;
    this.done = true;
    for (const { server, socket, asking } of this.attempts) {
      // Slower than another one, the answer of a server that was down still says that it is back.
      if (socket !== undefined && server.health.down) this.linger(socket);
      else socket?.leave(this.id);
      asking?.cancel();
    }
    this.owner.ended(this);
    return true;
  }

  private linger(socket: QuerySocket): void {
    setTimeout(() => {
      if (socket.clients.get(this.id) === this) socket.leave(this.id);
    }, LINGER).unref();
  }
}

function reasonOf(error: unknown): string {
  const errno = errnoOf(error);
  return errno === 'EUNKNOWN' && error instanceof Error ? error.message : errno;
}
