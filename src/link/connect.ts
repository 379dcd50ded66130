/**
 * The server's side of the `connect` protocol: the head of an HTTP `POST /connect`, read from the socket because node:http
 * has no event for it. Nothing is answered; what stands behind the head is frames. Any other request on the
 * same socket belongs to the control API.
 *
 * Limit: HEAD_MAX bytes of head; the deadline is the acceptor's.
 */
import { NetproxyError } from '../core/index.js';
import type { ChannelReader } from './channel.js';

/** Longest request head, bytes. */
export const HEAD_MAX = 8192;
const PREFIX = 'POST /connect';
const TEXT = { badRequest: '400 Bad Request', notFound: '404 Not Found', tooLarge: '431 Headers Too Large' };

/** True: the peer is a link and its frames follow in `reader.rest`. False: another request stands whole in `reader.rest`. */
export async function connectHandshake(reader: ChannelReader): Promise<boolean> {
  if (!(await isConnect(reader))) return false;
  let end = headEnd(reader.rest);
  while (end < 0) {
    if (reader.rest.length > HEAD_MAX) return reject(reader, TEXT.tooLarge, 'a request head is too long');
    end = headEnd(await reader.more());
  }
  if (end > HEAD_MAX) return reject(reader, TEXT.tooLarge, 'a request head is too long');
  const head = (await reader.take(end)).toString('latin1');
  const [request = '', ...fields] = head.split('\r\n');
  if (!/^POST \/connect(\?\S*)? HTTP\/1\.[01]$/.test(request)) {
    return reject(reader, TEXT.badRequest, 'a malformed request line');
  }
  const body = fields.find((field) => /^(content-length|transfer-encoding)\s*:/i.test(field));
  if (body !== undefined && !/^content-length\s*:\s*0*\s*$/i.test(body)) {
    return reject(reader, TEXT.badRequest, 'POST /connect with a body');
  }
  return true;
}

/** Answers with an error status in plain text and closes. */
export function answerNotFound(reader: ChannelReader): void {
  reader.channel.end(response(TEXT.notFound));
}

/** Reads no more than is needed to tell. */
async function isConnect(reader: ChannelReader): Promise<boolean> {
  let { rest } = await fillOne(reader);
  for (;;) {
    const seen = rest.toString('latin1', 0, PREFIX.length);
    if (!PREFIX.startsWith(seen)) return false;
    // One more byte tells `/connect` from `/connections`.
    if (rest.length > PREFIX.length) return [' ', '?'].includes(String.fromCharCode(rest[PREFIX.length]!));
    rest = await reader.more();
  }
}

async function fillOne(reader: ChannelReader): Promise<ChannelReader> {
  await reader.fill(1);
  return reader;
}

function headEnd(bytes: Buffer): number {
  const at = bytes.indexOf('\r\n\r\n', 0, 'latin1');
  return at < 0 ? -1 : at + 4;
}

function reject(reader: ChannelReader, status: string, why: string): never {
  reader.channel.end(response(status));
  throw new NetproxyError('ERR_NETPROXY_PROTOCOL', `refused: ${why}`);
}

function response(status: string): Buffer {
  const body = `${status.slice(4)}\n`;
  return Buffer.from(
    `HTTP/1.1 ${status}\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  );
}
