/** The bytes that go up and down, and the two HTTP requests that move them over any stream. */
import { createCipheriv, createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { Transfer } from './guest.js';

const CHUNK = 64 * 1024;
const HEAD_LIMIT = 16 * 1024;

/** Test bytes: the AES-CTR key stream of a fixed key, so that no two blocks are alike. */
export function* testBytes(total: number): Generator<Buffer, void, undefined> {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 0x6e), Buffer.alloc(16));
  const zeros = Buffer.alloc(CHUNK);
  for (let left = total; left > 0; left -= CHUNK)
    yield cipher.update(left >= CHUNK ? zeros : zeros.subarray(0, left));
}

/** Digest of the first `total` test bytes. */
export function digestOf(total: number): string {
  const hash = createHash('sha256');
  for (const chunk of testBytes(total)) hash.update(chunk);
  return hash.digest('hex');
}

/** Writes the test bytes with respect for the stream's buffer; rejects when it breaks. */
export async function sendTestBytes(stream: Duplex, total: number): Promise<void> {
  for (const chunk of testBytes(total)) {
    if (stream.destroyed) throw stream.errored ?? new Error('the connection closed early');
    if (!stream.write(chunk)) await drained(stream);
  }
}

function drained(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done);
      resolve();
    };
    stream.on('drain', done).on('close', done);
  });
}

/** GET over a connected stream; the digest is of the body. */
export async function httpDownload(stream: Duplex, bytes: number): Promise<Transfer> {
  const started = performance.now();
  const hash = createHash('sha256');
  let got = 0;
  stream.write(`GET /bytes/${bytes} HTTP/1.0\r\nHost: demo\r\n\r\n`);
  await readBody(stream, (chunk) => {
    hash.update(chunk);
    got += chunk.length;
  });
  return { ms: performance.now() - started, sha256: hash.digest('hex'), bytes: got };
}

/** PUT over a connected stream; the digest and count are what the server answers: `BYTES SHA256`. */
export async function httpUpload(stream: Duplex, bytes: number): Promise<Transfer> {
  const started = performance.now();
  let answer = '';
  const read = readBody(stream, (chunk) => {
    answer += chunk.toString('latin1');
  });
  read.catch(() => undefined);
  stream.write(`PUT /upload HTTP/1.0\r\nHost: demo\r\nContent-Length: ${bytes}\r\n\r\n`);
  await sendTestBytes(stream, bytes);
  await read;
  return { ms: performance.now() - started, ...parseReceipt(answer) };
}

/** Reads `BYTES SHA256`. */
export function parseReceipt(text: string): { bytes: number; sha256: string } {
  const match = /^(\d+) ([0-9a-f]{64})\s*$/.exec(text);
  if (match === null) throw new Error(`unexpected answer ${JSON.stringify(text.slice(0, 80))}`);
  return { bytes: Number(match[1]), sha256: match[2]! };
}

/** Reads an HTTP/1.0 answer to its end; `take` gets the body. */
function readBody(stream: Duplex, take: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let head: Buffer | undefined = Buffer.alloc(0);
    stream.on('data', (chunk: Buffer) => {
      if (head === undefined) {
        take(chunk);
        return;
      }
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0 && head.length > HEAD_LIMIT) reject(new Error('no HTTP answer'));
      if (end < 0) return;
      const status = head.toString('latin1', 0, head.indexOf('\r\n'));
      if (!/^HTTP\/1\.[01] 200\b/.test(status)) reject(new Error(`the server said ${status}`));
      const body = head.subarray(end + 4);
      head = undefined;
      if (body.length > 0) take(body);
    });
    stream.once('end', () => {
      stream.end();
      if (head === undefined) resolve();
      else reject(new Error('the connection ended before the answer'));
    });
    stream.once('error', reject);
    stream.once('close', () => {
      reject(new Error('the connection closed early'));
    });
  });
}
