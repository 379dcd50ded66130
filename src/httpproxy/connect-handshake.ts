/** CONNECT to an HTTP proxy (RFC 9110 section 9.3.6). */
import type { Duplex } from 'node:stream';
import { tokensOf, valuesOf } from './headers.js';
import { Reader } from './reader.js';
import { type ResponseHead, parseResponseHead } from './response-head.js';

/** Of a refusal's body, bytes: more is not read. */
const MAX_BODY = 64 * 1024;

export interface ConnectAnswer {
  readonly head: ResponseHead;
  /** What follows the head of a success: bytes of the tunnel. Of a refusal: its body. */
  readonly rest: Buffer;
  /** A refusal after which the connection takes another request. */
  readonly reusable: boolean;
}

/** Asks for a tunnel to `authority`. `authorization`: value of Proxy-Authorization. Rejects where there is no answer that is one. */
export async function connectThrough(
  stream: Duplex,
  authority: string,
  authorization: string | undefined,
): Promise<ConnectAnswer> {
  const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`];
  if (authorization !== undefined) lines.push(`Proxy-Authorization: ${authorization}`);
  stream.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  const reader = new Reader(stream);
  const head = await finalHead(reader);
  if (head.status < 300) return { head, rest: reader.rest(), reusable: false };
  const length = lengthOf(head);
  if (length === undefined) return { head, rest: Buffer.alloc(0), reusable: false };
  const rest = await reader.take(length);
  const closes = [...tokensOf(head.headers, 'connection'), ...tokensOf(head.headers, 'proxy-connection')];
  return { head, rest, reusable: !closes.includes('close') && reader.bytes.length === 0 };
}

async function finalHead(reader: Reader): Promise<ResponseHead> {
  for (;;) {
    const head = parseResponseHead(reader.bytes);
    if (head === undefined) {
      await reader.more();
      continue;
    }
    await reader.take(head.length);
    if (head.status >= 200) return head;
  }
}

/** Undefined where the body's end is not told by a length that is one. */
function lengthOf({ headers }: ResponseHead): number | undefined {
  const [length, ...more] = valuesOf(headers, 'content-length');
  if (length === undefined || more.length > 0 || valuesOf(headers, 'transfer-encoding').length > 0)
    return undefined;
  return /^\d{1,6}$/.test(length) && Number(length) <= MAX_BODY ? Number(length) : undefined;
}
