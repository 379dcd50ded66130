/**
 * DNS over TCP (RFC 1035 section 4.2.2, RFC 7766): messages behind a length of two bytes, many on one connection,
 * answered in any order.
 *
 * `DnsTcpSession` is the framing alone; `DnsTcpServer` runs sessions on streams. A client that does not read its
 * answers, or sends more than it is answered, is not read from until it does; one that is silent for `idleMillis`
 * is closed.
 */
import type { Duplex } from 'node:stream';
import { Timer, Timers, type Clock, type Millis } from '../core/index.js';
import { HEADER, setWord, word } from './message.js';
import type { DnsServer } from './server.js';
import type { DnsGuest } from './types.js';

const LENGTH = 2;
/** The longest message and its length: more than that never needs to be held. */
const MAX_HELD = LENGTH + 65_535;

export class DnsTcpSession {
  /** Messages handed over whose answers are not yet there. */
  pending = 0;
  private readonly maxPending: number;
  private readonly onMessage: (message: Uint8Array) => void;
  private held = new Uint8Array(0);

  constructor(onMessage: (message: Uint8Array) => void, maxPending = 64) {
    this.onMessage = onMessage;
    this.maxPending = maxPending;
  }

  /** Whether enough is pending; what was pushed meanwhile waits. */
  get full(): boolean {
    return this.pending >= this.maxPending;
  }

  /** Whether a part of a message is here. */
  get partial(): boolean {
    return this.held.length > 0;
  }

  /**
   * Takes bytes of the stream and hands over each whole message (a copy). False when the connection is to be closed:
   * a message is too short to be one, or more was pushed on while `full`.
   */
  push(bytes: Uint8Array): boolean {
    if (this.held.length > MAX_HELD) return false;
    const joined = new Uint8Array(this.held.length + bytes.length);
    joined.set(this.held);
    joined.set(bytes, this.held.length);
    this.held = joined;
    return this.drain();
  }

  /** An answer is there (or there is none to give): the next messages are handed over. False as in `push`. */
  answered(): boolean {
    this.pending--;
    return this.drain();
  }

  private drain(): boolean {
    let at = 0;
    while (!this.full && this.held.length - at >= LENGTH) {
      const length = word(this.held, at);
      if (length < HEADER) return false;
      if (this.held.length - at < LENGTH + length) break;
      const message = this.held.slice(at + LENGTH, at + LENGTH + length);
      at += LENGTH + length;
      this.pending++;
      this.onMessage(message);
    }
    if (at > 0) this.held = this.held.slice(at);
    return true;
  }
}

/** A message with its length before it. */
export function frameTcp(message: Uint8Array): Uint8Array {
  const framed = new Uint8Array(LENGTH + message.length);
  setWord(framed, 0, message.length);
  framed.set(message, LENGTH);
  return framed;
}

export interface DnsTcpOptions {
  /** Connections of one guest. Default 32. */
  readonly maxSessionsPerGuest?: number | undefined;
  /** Messages of one connection on the way. Default 64. */
  readonly maxPending?: number | undefined;
  /** Silence after which a connection is closed (RFC 7766 section 6.2.3). Default 30,000. */
  readonly idleMillis?: Millis | undefined;
}

export class DnsTcpServer {
  readonly counters = { accepted: 0, refused: 0, idle: 0, malformed: 0 };
  private readonly server: DnsServer;
  private readonly clock: Clock;
  private readonly options: Required<{ [K in keyof DnsTcpOptions]: number }>;
  private readonly timers = new Timers();
  private readonly sessions = new Map<DnsGuest['id'], number>();

  constructor(server: DnsServer, clock: Clock, options: DnsTcpOptions = {}) {
    this.server = server;
    this.clock = clock;
    this.options = {
      maxSessionsPerGuest: options.maxSessionsPerGuest ?? 32,
      maxPending: options.maxPending ?? 64,
      idleMillis: options.idleMillis ?? 30_000,
    };
  }

  /** When `poll` has something to do next; Infinity when never. */
  nextTimeout(): Millis {
    return this.timers.next();
  }

  /** Closes connections that are idle. */
  poll(now: Millis): void {
    this.timers.run(now);
  }

  /** Serves a guest's connection; false, the stream destroyed, when the guest has too many. */
  accept(stream: Duplex, guest: DnsGuest): boolean {
    const open = this.sessions.get(guest.id) ?? 0;
    // Its errors end in 'close' as well; a listener keeps them from being thrown.
    stream.on('error', () => undefined);
    if (open >= this.options.maxSessionsPerGuest) {
      this.counters.refused++;
      stream.destroy();
      return false;
    }
    this.counters.accepted++;
    this.sessions.set(guest.id, open + 1);
    this.serve(stream, guest);
    return true;
  }

  private serve(stream: Duplex, guest: DnsGuest): void {
    let ended = false;
    const idle = new Timer(() => {
      this.counters.idle++;
      stream.destroy();
    });
    const session = new DnsTcpSession((message) => {
      void answer(message);
    }, this.options.maxPending);
    const touch = (): void => this.timers.set(idle, this.clock.now() + this.options.idleMillis);
    const proceed = (wellFormed: boolean): void => {
      if (stream.destroyed) return;
      if (!wellFormed) {
        this.counters.malformed++;
        stream.destroy();
      } else if (session.full || stream.writableNeedDrain) stream.pause();
      else stream.resume();
      if (ended && session.pending === 0 && !stream.writableEnded) stream.end();
    };
    const answer = async (message: Uint8Array): Promise<void> => {
      const bytes = await this.server.handle(message, 'tcp', guest, this.clock.now());
      if (stream.destroyed) return;
      if (bytes) stream.write(frameTcp(bytes));
      touch();
      proceed(session.answered());
    };
    touch();
    stream.on('data', (chunk: Uint8Array) => {
      touch();
      proceed(session.push(chunk));
    });
    stream.on('drain', () => proceed(true));
    stream.on('end', () => {
      ended = true;
      proceed(true);
    });
    stream.on('close', () => {
      this.timers.cancel(idle);
      const left = (this.sessions.get(guest.id) ?? 1) - 1;
      if (left > 0) this.sessions.set(guest.id, left);
      else this.sessions.delete(guest.id);
    });
  }
}
