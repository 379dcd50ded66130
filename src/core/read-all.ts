/** A stream of bytes that is read by `read`. */
export interface PausedStream {
  readonly readableLength: number;
  read(length?: number): unknown;
}

/**
 * What a paused stream has ready, all of it; null when there is nothing. From Node 26 on `read()` gives one piece, and what it
 * leaves is not told by another 'readable'.
 */
export function readAll(stream: PausedStream): Buffer | null {
  const { readableLength } = stream;
  return stream.read(readableLength > 0 ? readableLength : undefined) as Buffer | null;
}
