/** One request and its answer between a guest and the next hop, bodies streamed both ways. */
import {
  type ClientRequest,
  type IncomingMessage,
  type ServerResponse,
  request as httpRequest,
} from 'node:http';
import type { Duplex } from 'node:stream';
import type { Cancel, Scheduler } from '../core/index.js';
import { MAX_HEAD, endToEnd, fieldsOf, tokensOf, valuesOf, via } from './headers.js';
import { Problem, WrongCredentials, problemOf } from './problem.js';
import type { Pool } from './pool.js';
import type { ProxyTimeouts } from './types.js';

/** What is sent to whom. */
export interface Outgoing {
  /** Absolute where the next hop is a proxy. */
  readonly path: string;
  readonly fields: readonly string[];
  readonly stream: Duplex;
  /** The stream had a request before: it may have ended without our knowing. */
  readonly reused: boolean;
  /** For people. */
  readonly nextHop: string;
  /** What a 407 means: nobody's business but ours when the credentials are ours, or the guest knows of no proxy. */
  readonly hides407: boolean;
}

export interface ExchangeDeps {
  readonly pool: Pool;
  readonly scheduler: Scheduler;
  readonly timeouts: ProxyTimeouts;
  /** The answer's head is there. */
  readonly answered: (status: number) => void;
  /** The rest of the guest's request will not come; returns what ends the watching. */
  readonly onBroken: (watcher: (problem: Problem) => void) => () => void;
  /** The connection may have another request. */
  readonly free: (stream: Duplex) => void;
}

/** `stale`: the kept connection had ended, nothing came back and nothing of a body is lost: ask again. `upgraded`: it is a tunnel now. */
export type Outcome = 'done' | 'stale' | { readonly upgraded: Duplex; readonly answer: IncomingMessage };

export function isChunked({ rawHeaders }: IncomingMessage): boolean {
  return valuesOf(rawHeaders, 'transfer-encoding').length > 0;
}

/** Whether a request has a body; without one it can be sent again. */
export function hasBody(request: IncomingMessage): boolean {
  const [length] = valuesOf(request.rawHeaders, 'content-length');
  return isChunked(request) || (length !== undefined && Number(length) > 0);
}

/** Fields that must not stand in a trailer (RFC 9110 section 6.5.1). */
const NO_TRAILERS = [
  'content-length',
  'host',
  'authorization',
  'set-cookie',
  'content-encoding',
  'content-type',
  'trailer',
];

function trailersOf(message: IncomingMessage): [string, string][] {
  return [...fieldsOf(endToEnd(message.rawTrailers, NO_TRAILERS))].map(([name, value]) => [name, value]);
}

/** Sends the request and passes the answer on. Rejects with Problem as long as nothing was answered. */
export class Exchange {
  private readonly deps: ExchangeDeps;
  private readonly request: IncomingMessage;
  private readonly response: ServerResponse;
  private readonly outgoing: Outgoing;
  private up!: ClientRequest;
  private settle!: (outcome: Outcome) => void;
  private fail!: (problem: Problem) => void;
  private cancel: Cancel = () => undefined;
  private lastByte: number;
  private unwatch: () => void = () => undefined;
  private began = false;
  private over = false;

  constructor(deps: ExchangeDeps, request: IncomingMessage, response: ServerResponse, outgoing: Outgoing) {
    this.deps = deps;
    this.request = request;
    this.response = response;
    this.outgoing = outgoing;
    this.lastByte = deps.scheduler.now();
  }

  run(): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.settle = (outcome) => {
        this.finish();
        resolve(outcome);
      };
      this.fail = (problem) => {
        this.finish();
        reject(problem);
      };
      this.start();
    });
  }

  private start(): void {
    const { deps, request, response, outgoing } = this;
    const { stream } = outgoing;
    const options = {
      agent: deps.pool.agent,
      handed: stream,
      method: request.method ?? 'GET',
      path: outgoing.path,
      headers: [...outgoing.fields],
      maxHeaderSize: MAX_HEAD,
    };
    stream.once('free', this.onFree);
    try {
      this.up = httpRequest(options);
    } catch (error) {
      // Something that the parser let in and the writer does not let out.
      stream.destroy();
      this.fail(problemOf(error, outgoing.nextHop));
      return;
    }
    const { up } = this;
    up.on('error', (error) => this.broke(error));
    up.on('response', (answer) => this.answered(answer));
    up.on('upgrade', (answer, socket, head) => {
      if (head.length > 0) socket.unshift(head);
      this.settle({ upgraded: socket, answer });
    });
    up.on('continue', () => {
      if (!this.began && request.httpVersion === '1.1') response.writeContinue();
    });
    up.on('information', ({ statusCode, rawHeaders }) => {
      if (statusCode === 103 && !this.began && request.httpVersion === '1.1') {
        const links = valuesOf(rawHeaders, 'link');
        if (links.length > 0) response.writeEarlyHints({ link: links });
      }
    });
    response.on('close', this.guestGone);
    this.unwatch = deps.onBroken((problem) => this.malformed(problem));
    this.watch();
    this.sendBody();
  }

  private sendBody(): void {
    const { request, up } = this;
    if (!hasBody(request)) {
      up.end();
      return;
    }
    request.on('data', this.touch);
    request.once('end', () => {
      const trailers = trailersOf(request);
      if (trailers.length > 0 && isChunked(request)) up.addTrailers(trailers);
    });
    request.pipe(up);
  }

  private answered(answer: IncomingMessage): void {
    const { outgoing, response, request } = this;
    const status = answer.statusCode ?? 502;
    this.deps.answered(status);
    const problem = this.unfit(answer, status);
    if (problem !== undefined) {
      answer.resume();
      outgoing.stream.destroy();
      this.fail(problem);
      return;
    }
    this.began = true;
    this.touch();
    response.sendDate = false;
    const fields = endToEnd(answer.rawHeaders, ['via', ...(outgoing.hides407 ? ['proxy-authenticate'] : [])]);
    if (status === 407)
      for (const value of valuesOf(answer.rawHeaders, 'proxy-authenticate'))
        fields.push('Proxy-Authenticate', value);
    fields.push('Via', via(answer.rawHeaders, answer.httpVersion));
    try {
      response.writeHead(status, answer.statusMessage, fields);
    } catch (error) {
      this.began = response.headersSent;
      outgoing.stream.destroy();
      this.fail(problemOf(error, outgoing.nextHop));
      return;
    }
    // A long answer begins before its end is known.
    response.flushHeaders();
    answer.on('data', this.touch);
    answer.once('end', () => {
      const trailers = trailersOf(answer);
      if (trailers.length > 0 && request.httpVersion === '1.1') response.addTrailers(trailers);
    });
    answer.once('error', (error) => this.broke(error));
    answer.once('close', () => {
      if (!answer.complete) this.broke(new Error('the answer broke off'));
    });
    answer.pipe(response);
  }

  /** Answers that must not go on. */
  private unfit(answer: IncomingMessage, status: number): Problem | undefined {
    const { nextHop, hides407 } = this.outgoing;
    const coding = tokensOf(answer.rawHeaders, 'transfer-encoding');
    if (
      coding.length > 1 ||
      (coding.length === 1 && (coding[0] !== 'chunked' || answer.httpVersion !== '1.1'))
    )
      return new Problem({
        status: 502,
        error: 'http_response_transfer_coding',
        message: `${nextHop}: its answer has a transfer coding that two readers could read in two ways`,
        check: 'Check the server.',
        nextHop,
        receivedStatus: status,
      });
    if (status !== 407 || !hides407) return undefined;
    return new WrongCredentials(nextHop);
  }

  private readonly onFree = (): void => {
    this.deps.free(this.outgoing.stream);
  };

  private readonly touch = (): void => {
    this.lastByte = this.deps.scheduler.now();
  };

  /** The guest's side closed: with its whole answer, or in the middle. */
  private readonly guestGone = (): void => {
    if (this.over) return;
    // Also an upload whose answer came before its end.
    if (!this.response.writableFinished || !this.up.writableFinished) this.up.destroy();
    this.settle('done');
  };

  private malformed(problem: Problem): void {
    const { request, response, up } = this;
    if (this.over || request.complete) return;
    request.unpipe(up);
    up.destroy();
    if (!this.began) this.fail(problem);
    else {
      response.destroy();
      this.settle('done');
    }
  }

  private broke(error: Error): void {
    if (this.over) return;
    const { outgoing, request, response } = this;
    request.unpipe(this.up);
    if (this.began) {
      // What breaks off must not look complete.
      response.destroy();
      this.up.destroy();
      this.settle('done');
      return;
    }
    if (outgoing.reused && !hasBody(request)) {
      this.settle('stale');
      return;
    }
    this.fail(problemOf(error, outgoing.nextHop));
  }

  private watch(): void {
    const { scheduler, timeouts } = this.deps;
    const limit = this.began ? timeouts.idle : timeouts.firstByte;
    const left = this.lastByte + limit - scheduler.now();
    if (left > 0) {
      this.cancel = scheduler.after(left, () => this.watch());
      return;
    }
    const error = Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' });
    this.outgoing.stream.destroy(error);
    this.broke(error);
  }

  private finish(): void {
    this.over = true;
    this.cancel();
    this.unwatch();
    this.response.off('close', this.guestGone);
  }
}
