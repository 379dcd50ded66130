/**
 * HTTP/1.1 messages of one direction (RFC 9112), as far as one must know them to hand their bytes on unchanged: where a head ends,
 * and where the body behind it does.
 *
 * Limits: HEAD_MAX, LINE_MAX.
 */
import type { Duplex } from 'node:stream';
import { NetproxyError } from '../../core/index.js';

/** Longest head of a message, bytes: what Go's servers take. */
export const HEAD_MAX = 1024 * 1024;
/** Longest line of a chunk's size with its extensions, and all trailers together, bytes. */
export const LINE_MAX = 16_384;

const MAX_PIECES = 256;
const LF = 10;

function broken(what: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_PROTOCOL', what);
}

/** A message's head. */
export interface Head {
  /** As it came, with the empty line at its end. */
  readonly bytes: Buffer;
  /** Request line or status line. */
  readonly line: string;
  /** The values of a field, joined by commas; undefined when it is not there. `name` in small letters. */
  field(name: string): string | undefined;
}

function headOf(bytes: Buffer): Head {
  const [line = '', ...fields] = bytes.toString('latin1', 0, bytes.length - 4).split('\r\n');
  return {
    bytes,
    line,
    field: (name) => {
      const values = fields.flatMap((text) => {
        const colon = text.indexOf(':');
        return text.slice(0, colon).toLowerCase() === name ? [text.slice(colon + 1).trim()] : [];
      });
      return values.length === 0 ? undefined : values.join(',');
    },
  };
}

/** Where a body ends: after so many bytes, by its chunks, or with the connection. */
export type Body = { readonly length: number } | 'chunked' | 'end';

/** As the head says (RFC 9112 section 6.3); `otherwise` where it says nothing. Throws ERR_NETPROXY_PROTOCOL. */
export function bodyOf(head: Head, otherwise: Body): Body {
  const coding = head.field('transfer-encoding');
  if (coding !== undefined) return /(^|,)\s*chunked\s*$/i.test(coding) ? 'chunked' : otherwise;
  const text = head.field('content-length');
  if (text === undefined) return otherwise;
  if (!/^\d{1,15}$/.test(text)) throw broken(`a message of length ${JSON.stringify(text.slice(0, 40))}`);
  return { length: Number(text) };
}

/** Follows a chunked body (RFC 9112 section 7.1) to its end. */
class Chunks {
  /** Bytes of the current chunk that are to come, with the line's end behind them. */
  private left = 0;
  private line = '';
  private trailers = 0;
  private phase: 'size' | 'data' | 'trailers' = 'size';

  /** How many of the bytes from `at` on belong to the body, and whether it is over. Throws ERR_NETPROXY_PROTOCOL. */
  pass(bytes: Buffer, at: number): { readonly end: number; readonly over: boolean } {
    while (at < bytes.length) {
      if (this.phase === 'data') {
        const taken = Math.min(this.left, bytes.length - at);
        at += taken;
        this.left -= taken;
        if (this.left === 0) this.phase = 'size';
        continue;
      }
      const lf = bytes.indexOf(LF, at);
      const end = lf < 0 ? bytes.length : lf + 1;
      this.line += bytes.toString('latin1', at, end);
      if (this.line.length + this.trailers > LINE_MAX) throw broken('a line of a chunked body is too long');
      at = end;
      if (lf < 0) break;
      if (this.finishLine()) return { end: at, over: true };
    }
    return { end: at, over: false };
  }

  /** True: it was the body's last. */
  private finishLine(): boolean {
    const line = this.line.replace(/\r?\n$/, '');
    this.line = '';
    if (this.phase === 'trailers') {
      this.trailers += line.length + 2;
      return line === '';
    }
    const size = /^([\da-fA-F]{1,13})[ \t]*(?:;|$)/.exec(line)?.[1];
    if (size === undefined) throw broken(`a chunk of size ${JSON.stringify(line.slice(0, 40))}`);
    const length = Number.parseInt(size, 16);
    this.phase = length === 0 ? 'trailers' : 'data';
    this.left = length + 2;
    return false;
  }
}

/** Reads a stream piece by piece; nothing is read from it that nobody asked for. */
export class Inlet {
  private readonly stream: Duplex;
  /** Bytes that were read and not taken. */
  private rest: Buffer | undefined;
  private wake: (() => void) | undefined;
  private failed: Error | undefined;
  private readonly look = (): void => this.wake?.();

  constructor(stream: Duplex) {
    this.stream = stream;
    stream.on('readable', this.look).on('end', this.look).on('close', this.look);
    stream.on('error', (error) => {
      this.failed ??= error;
      this.look();
    });
  }

  /** The stream is somebody else's; what was read and not taken is lost. */
  close(): void {
    this.stream.off('readable', this.look).off('end', this.look).off('close', this.look);
  }

  /** The next bytes; undefined at the end. Rejects when the stream broke. */
  async next(): Promise<Buffer | undefined> {
    const { rest } = this;
    this.rest = undefined;
    if (rest !== undefined) return rest;
    for (;;) {
      const chunk = this.stream.read() as Buffer | null;
      if (chunk !== null) return chunk;
      if (this.failed !== undefined) throw this.failed;
      if (this.stream.readableEnded) return undefined;
      if (this.stream.destroyed) throw broken('the connection was closed');
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  /** The next message's head; undefined where the stream ends instead. Rejects with ERR_NETPROXY_PROTOCOL. */
  async head(): Promise<Head | undefined> {
    const pieces: Buffer[] = [];
    let size = 0;
    // The last bytes of all: the empty line may lie across pieces.
    let tail = Buffer.alloc(0);
    for (;;) {
      const piece = await this.next();
      if (piece === undefined) {
        if (size > 0) throw broken('a message ended within its head');
        return undefined;
      }
      pieces.push(piece);
      // A piece costs more than the few bytes that may be in it.
      if (pieces.length === MAX_PIECES) pieces.splice(0, MAX_PIECES, Buffer.concat(pieces));
      const seam = Buffer.concat([tail, piece]);
      const found = seam.indexOf('\r\n\r\n', 0, 'latin1');
      if (found >= 0) {
        const end = size - tail.length + found + 4;
        if (end > HEAD_MAX) throw broken(`the head of a message is longer than ${HEAD_MAX} bytes`);
        const all = Buffer.concat(pieces);
        if (all.length > end) this.rest = all.subarray(end);
        return headOf(all.subarray(0, end));
      }
      size += piece.length;
      if (size > HEAD_MAX) throw broken(`the head of a message is longer than ${HEAD_MAX} bytes`);
      tail = seam.subarray(Math.max(0, seam.length - 3));
    }
  }

  /** Hands a body on; false when the stream ended before it did. Rejects with ERR_NETPROXY_PROTOCOL. */
  async body(body: Body, sink: (bytes: Buffer) => Promise<void> | void): Promise<boolean> {
    const chunks = new Chunks();
    let left = typeof body === 'object' ? body.length : Infinity;
    while (left > 0) {
      const piece = await this.next();
      if (piece === undefined) return body === 'end';
      let end = Math.min(left, piece.length);
      if (body === 'chunked') {
        const passed = chunks.pass(piece, 0);
        end = passed.end;
        if (passed.over) left = 0;
      } else left -= end;
      if (end < piece.length) this.rest = piece.subarray(end);
      await sink(end === piece.length ? piece : piece.subarray(0, end));
    }
    return true;
  }
}

/** Writes and waits while the stream takes no more. Rejects when it is closed. */
export async function write(stream: Duplex, bytes: Buffer): Promise<void> {
  if (stream.destroyed || stream.writableEnded) throw broken('the connection was closed');
  if (stream.write(bytes)) return;
  await new Promise<void>((resolve, reject) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done);
      if (stream.destroyed) reject(broken('the connection was closed'));
      else resolve();
    };
    stream.on('drain', done).on('close', done);
  });
}
