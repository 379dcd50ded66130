/** What the tests of this folder share. */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { randomBytes, seededRandom } from './index.js';

/** Takes everything that a stream brings. Unlike `for await` it leaves the other half of a Duplex alone. */
function drain(stream: Readable, take: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.on('data', take);
    stream.once('end', resolve);
    stream.once('error', reject);
    stream.once('close', () => {
      if (!stream.readableEnded) reject(new Error('closed before its end'));
    });
    if (stream.destroyed) reject(stream.errored ?? new Error('destroyed'));
  });
}

/** Everything that a stream brings, as text. */
export async function readAll(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  await drain(stream, (chunk) => chunks.push(chunk));
  return Buffer.concat(chunks).toString();
}

/** How much a stream brings, and its SHA-256. */
export async function digestAll(stream: Readable): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  await drain(stream, (chunk) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  return { bytes, sha256: hash.digest('hex') };
}

/** Bytes that do not compress, and their SHA-256. */
export function payload(length: number, seed = 1): { bytes: Uint8Array; sha256: string } {
  const bytes = randomBytes(seededRandom(seed), length);
  return { bytes, sha256: createHash('sha256').update(bytes).digest('hex') };
}

/** The code of the error that the work fails with. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
  return 'no error';
}

/** NETPROXY_COUNTS=full asks for full counts. */
export function count(reduced: number, full: number): number {
  return process.env.NETPROXY_COUNTS === 'full' ? full : reduced;
}
