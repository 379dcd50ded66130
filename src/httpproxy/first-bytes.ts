/**
 * What an intercepted connection is, told by the first bytes that its client sends.
 *
 *     port    first bytes                                    it is
 *     http    a method of HTTP and a space                   `http`: requests
 *     https   a ClientHello, in whatever pieces              `tls`, with the name it says
 *     any     something else, CONNECT, the preface of HTTP/2 `other`: known by its address
 *     any     nothing for SILENCE, or the client's FIN       `silent`: the server speaks first
 *
 * A client that began and does not go on is `other` after PATIENCE.
 */
import type { Duplex } from 'node:stream';
import { type Millis, type Scheduler, readAll } from '../core/index.js';
import { readClientHello } from './client-hello.js';

/** How long a client may be silent before the server is thought to speak first, ms. */
export const SILENCE: Millis = 300;
/** How long the rest of a ClientHello may take, ms. */
export const PATIENCE: Millis = 10_000;
/** Methods that are longer are none. */
const MAX_METHOD = 24;
/** Two empty lines before a request (RFC 9112 section 2.2 asks for one). */
const MAX_EMPTY = 4;

export type InterceptedScheme = 'http' | 'https';

export type FirstWord =
  | { readonly kind: 'http' | 'other' | 'silent' }
  | { readonly kind: 'tls'; readonly name: string | undefined };

/** What they are, or how many bytes are needed to tell. */
export function classify(scheme: InterceptedScheme, bytes: Buffer): FirstWord | number {
  return scheme === 'http' ? classifyHttp(bytes) : classifyTls(bytes);
}

function classifyTls(bytes: Buffer): FirstWord | number {
  const read = readClientHello(bytes);
  if (read.kind === 'more') return read.need;
  return read.kind === 'hello' ? { kind: 'tls', name: read.name } : { kind: 'other' };
}

function classifyHttp(bytes: Buffer): FirstWord | number {
  const more = bytes.length + 1;
  const start = bytes.subarray(0, MAX_METHOD + 1 + MAX_EMPTY).toString('latin1');
  const text = start.replace(/^(?:\r?\n){1,2}/, '');
  if (text === '' || text === '\r') return more;
  const method = /^[!#$%&'*+.^_`|~0-9A-Za-z-]*/.exec(text)![0];
  if (method === text && method.length <= MAX_METHOD) return more;
  // What asks for a tunnel or speaks HTTP/2 wants to talk to that server itself.
  if (text[method.length] !== ' ' || method === 'CONNECT' || method === 'PRI') return { kind: 'other' };
  return { kind: method === '' ? 'other' : 'http' };
}

export interface FirstBytes {
  readonly word: FirstWord;
  /** What was read, and is not in the stream any more; empty for `http`, which was put back. */
  readonly bytes: Buffer;
}

/** Reads until it is told. Rejects when the stream breaks. */
export function readFirst(
  stream: Duplex,
  scheme: InterceptedScheme,
  scheduler: Scheduler,
): Promise<FirstBytes> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    let need = 1;
    const over = (): void => {
      cancel();
      stream.off('readable', readable).off('end', enough).off('error', failed).off('close', closed);
    };
    const settle = (word: FirstWord): void => {
      over();
      const bytes = Buffer.concat(chunks);
      // At once: behind the end of a stream nothing can be put back.
      if (word.kind === 'http') stream.unshift(bytes);
      resolve({ word, bytes: word.kind === 'http' ? Buffer.alloc(0) : bytes });
    };
    const enough = (): void => settle({ kind: length === 0 ? 'silent' : 'other' });
    let cancel = scheduler.after(SILENCE, enough);
    const readable = (): void => {
      const chunk = readAll(stream);
      if (chunk === null) return;
      if (length === 0) {
        cancel();
        cancel = scheduler.after(PATIENCE, enough);
      }
      chunks.push(chunk);
      length += chunk.length;
      if (length < need) return;
      const word = classify(scheme, Buffer.concat(chunks));
      if (typeof word === 'number') need = word;
      else settle(word);
    };
    const failed = (error: Error): void => {
      over();
      reject(error);
    };
    const closed = (): void => failed(stream.errored ?? new Error('the guest closed the connection'));
    stream.on('readable', readable).on('end', enough).on('error', failed).on('close', closed);
  });
}
