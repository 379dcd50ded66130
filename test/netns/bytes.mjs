// The bytes that tests transfer: the same everywhere without sending them first, and never the same at
// two places a segment apart, so that a lost, doubled or swapped piece changes the digest.

import { createCipheriv, createHash } from 'node:crypto';

/** A prime length: no buffer size divides it, so equal pieces never fall on equal places. */
export const BLOCK_BYTES = 1_048_573;

const block = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(
  Buffer.alloc(BLOCK_BYTES),
);

/** The stream from `offset` on, `size` bytes, as views into one buffer: do not write to them. */
export function* pieces(size, offset = 0) {
  let at = offset % BLOCK_BYTES;
  for (let left = size; left > 0;) {
    const piece = block.subarray(at, Math.min(BLOCK_BYTES, at + Math.min(left, 65_536)));
    left -= piece.length;
    at = (at + piece.length) % BLOCK_BYTES;
    yield piece;
  }
}

/** sha256 (hex) of `size` bytes of the stream. */
export function digestOf(size, offset = 0) {
  const hash = createHash('sha256');
  for (const piece of pieces(size, offset)) hash.update(piece);
  return hash.digest('hex');
}

/** True when `data` is what the stream has at `offset`. */
export function matches(data, offset) {
  let at = 0;
  for (const piece of pieces(data.length, offset)) {
    if (piece.compare(data, at, at + piece.length) !== 0) return false;
    at += piece.length;
  }
  return true;
}

/** "1500", "10K", "100MB", "1GiB": K, M and G are powers of 1024 with an i or alone, of 1000 with a plain B. */
export function parseSize(text) {
  const match = /^(\d+)(?:([KMG])(i?)(B?))?$/i.exec(text);
  if (match === null) return undefined;
  const [, number, unit, binary, b] = match;
  if (unit === undefined) return Number(number);
  return (
    Number(number) * (binary === '' && b !== '' ? 1000 : 1024) ** ('KMG'.indexOf(unit.toUpperCase()) + 1)
  );
}
