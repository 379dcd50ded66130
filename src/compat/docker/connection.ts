/**
 * One client of the engine's API, and its connection to the engine.
 *
 * Theory of operation. Bytes pass unchanged, both ways at once, each way as fast as the other end takes them. On the way the beginnings
 * and ends of messages are told apart, because some requests are looked at before the engine gets them: such a request waits
 * until all answers before it are through. A connection that the engine takes over (101, or an answer without an end: the old
 * way of attach and exec) is a tunnel from there on, each half of which ends by itself.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from '../../core/index.js';
import { type Body, type Head, Inlet, bodyOf, write } from './framing.js';

const NOTHING: Body = { length: 0 };
/** For a client to hang up after an answer of ours that ends the connection, ms. */
const LINGER = 10_000;
/** Requests whose connection the engine may take over, with or without `Upgrade`. */
const HIJACK =
  /^POST (?:\/v[\d.]+)?\/(?:containers\/[^/?\s]+\/attach|exec\/[^/?\s]+\/start)(?:\?\S*)? HTTP\//;

/** An answer that does not come from the engine. */
export interface OwnAnswer {
  readonly status: string;
  readonly body: unknown;
}

/** What is done with a request before the engine gets it. */
export interface Intercept {
  /** An answer: the engine does not get the request. */
  before(): Promise<OwnAnswer | undefined>;
  /** The engine's status; undefined: it gave no answer. The client gets the answer when this is done. Never rejects. */
  after(status: number | undefined): Promise<void>;
}

export interface ConnectionHost {
  /** Resolves with an open connection to the engine. */
  dial(): Promise<Duplex>;
  /** `line`: the request's, such as `POST /v1.45/containers/web/start HTTP/1.1`. */
  intercept(line: string): Intercept | undefined;
  readonly logger: Logger;
}

interface Exchange {
  readonly method: string;
  readonly intercept: Intercept | undefined;
  /** Called once: what becomes of the connection after this exchange. */
  readonly decided: (fate: 'next' | 'tunnel') => void;
}

export class ApiConnection {
  private readonly client: Duplex;
  private readonly host: ConnectionHost;
  private inlet: Inlet | undefined;
  private engine: Duplex | undefined;
  /** Requests that the engine has not answered. */
  private readonly waiting: Exchange[] = [];
  private idle: (() => void) | undefined;
  private answering = false;
  /** The client was told that the engine does not answer. */
  private failed = false;
  /** Resolves when the engine's half is over. */
  private over: Promise<void> = Promise.resolve();

  constructor(client: Duplex, host: ConnectionHost) {
    this.client = client;
    this.host = host;
  }

  /** Resolves when the connection is over. Never rejects. */
  async serve(): Promise<void> {
    try {
      await this.requests((this.inlet = new Inlet(this.client)));
    } catch (error) {
      this.abort(error as Error);
      await this.over;
    }
  }

  // -- from the client to the engine ---------------------------------------------------------------------------

  private async requests(from: Inlet): Promise<void> {
    for (;;) {
      const head = await from.head();
      if (head === undefined) break;
      const [method = ''] = head.line.split(' ', 1);
      const body = bodyOf(head, NOTHING);
      const intercept = this.host.intercept(head.line);
      if (intercept !== undefined) {
        await this.answered();
        const own = await intercept.before();
        if (own !== undefined) {
          await from.body(body, () => undefined);
          await this.answer(own);
          continue;
        }
      }
      const engine = await this.reach(intercept);
      if (engine === undefined) return;
      let fate: ((what: 'next' | 'tunnel') => void) | undefined;
      const decided = new Promise<'next' | 'tunnel'>((resolve) => (fate = resolve));
      this.waiting.push({ method, intercept, decided: (what) => fate?.(what) });
      await write(engine, head.bytes);
      if (!(await from.body(body, (bytes) => write(engine, bytes)))) break;
      const mayTunnel = head.field('upgrade') !== undefined || HIJACK.test(head.line);
      if (mayTunnel && (await decided) === 'tunnel') {
        await from.body('end', (bytes) => write(engine, bytes));
        break;
      }
    }
    if (this.engine === undefined) this.client.end();
    else this.engine.end();
    await this.over;
  }

  /** The engine's connection; undefined where there is none, and the client was told. */
  private async reach(intercept: Intercept | undefined): Promise<Duplex | undefined> {
    if (this.engine !== undefined) return this.engine;
    try {
      const engine = await this.host.dial();
      this.engine = engine;
      this.over = this.responses(new Inlet(engine))
        .catch((error: unknown) => {
          this.abort(error as Error);
        })
        .then(() => this.unanswered());
      return engine;
    } catch (error) {
      await intercept?.after(undefined);
      await this.fail(`the engine cannot be reached: ${(error as Error).message}`);
      return undefined;
    }
  }

  /** Nobody will answer what waits. */
  private async unanswered(): Promise<void> {
    for (const { intercept, decided } of this.waiting.splice(0)) {
      decided('tunnel');
      await intercept?.after(undefined);
    }
    this.answering = false;
    this.idle?.();
  }

  /** Resolves when the engine has answered everything. */
  private answered(): Promise<void> {
    if (this.waiting.length === 0 && !this.answering) return Promise.resolve();
    return new Promise((resolve) => (this.idle = resolve));
  }

  // -- from the engine to the client ---------------------------------------------------------------------------

  private async responses(from: Inlet): Promise<void> {
    const { client } = this;
    const on = (bytes: Buffer): Promise<void> => write(client, bytes);
    for (;;) {
      const head = await this.responseHead(from);
      if (head === undefined) break;
      this.answering = true;
      const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head.line)?.[1]);
      const exchange =
        status >= 100 && status < 200 && status !== 101 ? this.waiting[0] : this.waiting.shift();
      if (exchange === undefined || Number.isNaN(status)) {
        // An answer to nothing, or none of HTTP: whatever it is, it ends with the connection.
        await on(head.bytes);
        await from.body('end', on);
        break;
      }
      const isLast = status === 101 || status >= 200;
      if (isLast) await exchange.intercept?.after(status);
      await on(head.bytes);
      if (!isLast) continue;
      const body = answerBody(exchange.method, status, head);
      exchange.decided(body === 'end' ? 'tunnel' : 'next');
      if (!(await from.body(body, on)) || body === 'end') break;
      this.answering = false;
      if (this.waiting.length === 0) this.idle?.();
    }
    client.end();
  }

  /** Where the engine's first words are no head, the client is told. */
  private async responseHead(from: Inlet): Promise<Head | undefined> {
    try {
      return await from.head();
    } catch (error) {
      if (this.answering || this.waiting.length === 0) throw error;
      await this.fail(`the engine gave no answer: ${(error as Error).message}`);
      this.engine?.destroy();
      return undefined;
    }
  }

  // -- answers of ours -----------------------------------------------------------------------------------------

  private answer({ status, body }: OwnAnswer, close = false): Promise<void> {
    const text = `${JSON.stringify(body)}\n`;
    const head = [
      `HTTP/1.1 ${status}`,
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(text)}`,
      ...(close ? ['Connection: close'] : []),
    ];
    return write(this.client, Buffer.from(`${head.join('\r\n')}\r\n\r\n${text}`));
  }

  private async fail(message: string): Promise<void> {
    this.host.logger.debug(`docker: ${message}`);
    await this.answer({ status: '502 Bad Gateway', body: { message: `netproxy: ${message}` } }, true);
    this.client.end();
    this.failed = true;
    // Until the client has read that and hung up, what it still sends is let go: a reset could overtake the answer.
    const linger = setTimeout(() => this.client.destroy(), LINGER).unref();
    this.client.once('close', () => {
      clearTimeout(linger);
    });
    this.inlet?.close();
    this.client.resume();
  }

  /** Both ends learn that it went wrong: what was cut short must not look whole. */
  private abort(error: Error): void {
    if (this.failed) return;
    this.host.logger.debug(`docker: a connection ended: ${error.message}`);
    for (const stream of [this.client, this.engine]) {
      if (stream instanceof Socket && stream.remoteAddress !== undefined) stream.resetAndDestroy();
      else stream?.destroy();
    }
    this.idle?.();
  }
}

function answerBody(method: string, status: number, head: Head): Body {
  if (status === 101) return 'end';
  if (method === 'HEAD' || status === 204 || status === 304) return NOTHING;
  return bodyOf(head, 'end');
}
