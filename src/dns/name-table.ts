/**
 * The text of names that were read before. Building it costs more than all else that is done for a cached answer, so the
 * names that are asked for again and again keep theirs.
 *
 * One place for each hash, and the newest name wins it: the table never grows, and a client that asks for ever new names
 * only makes others be read again.
 */
import { readName } from './names.js';

const PLACES = 2048;
const MAX_LABEL = 63;
const MAX_NAME = 255;

export class NameTable {
  /** Of the name that was read last: offset behind it, its text and its hash (32 bits, signed), which ignores case. */
  next = 0;
  name = '';
  hash = 0;
  private readonly seed: number;
  private readonly hashes = new Int32Array(PLACES);
  private readonly wire: (Uint8Array | undefined)[] = new Array<Uint8Array | undefined>(PLACES).fill(
    undefined,
  );
  private readonly texts: string[] = new Array<string>(PLACES).fill('');

  /** `seed`: secret, so that nobody can aim at one place. */
  constructor(seed = 0) {
    this.seed = seed;
  }

  /** Reads an uncompressed name; false when there is none. */
  read(bytes: Uint8Array, offset: number): boolean {
    const end = this.measure(bytes, offset);
    if (end === 0) return false;
    const place = this.hash & (PLACES - 1);
    const known = this.wire[place];
    this.next = end;
    if (known !== undefined && this.hashes[place] === this.hash && sameName(known, bytes, offset, end)) {
      this.name = this.texts[place]!;
      return true;
    }
    const found = readName(bytes, offset);
    if (found === undefined) return false;
    this.name = found.name;
    this.wire[place] = bytes.slice(offset, end);
    this.hashes[place] = this.hash;
    this.texts[place] = found.name;
    return true;
  }

  /** Offset behind a name, its hash in `hash`; 0 when it is none. */
  private measure(bytes: Uint8Array, offset: number): number {
    let hash = this.seed | 0;
    let at = offset;
    for (;;) {
      if (at >= bytes.length || at - offset >= MAX_NAME) return 0;
      const length = bytes[at]!;
      if (length > MAX_LABEL || at + length >= bytes.length) return 0;
      for (const end = at + length; at <= end; at++) hash = Math.imul(hash ^ lower(bytes[at]!), 0x01000193);
      if (length === 0) break;
    }
    hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
    this.hash = hash ^ (hash >>> 13);
    return at;
  }
}

/** Lengths of labels are below the letters: only letters of names change. */
export function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte;
}

function sameName(known: Uint8Array, bytes: Uint8Array, offset: number, end: number): boolean {
  if (known.length !== end - offset) return false;
  for (let i = 0; i < known.length; i++) if (lower(known[i]!) !== lower(bytes[offset + i]!)) return false;
  return true;
}
