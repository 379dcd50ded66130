/** A stream of bytes that is read by `read`. */
export interface PausedStream {
  read(): unknown;
}

/**
 * What a paused stream has ready, all of it; null when there is nothing. From Node 26 on `read()` gives one piece, and what it
 * leaves is not told by another 'readable'.
 */
export function readAll(stream: PausedStream): Buffer | null {
  const first = stream.read() as Buffer | null;
  if (first === null) return null;
  const pieces = [first];
  for (let next = stream.read() as Buffer | null; next !== null; next = stream.read() as Buffer | null)
    pieces.push(next);
  return pieces.length === 1 ? first : Buffer.concat(pieces);
}
