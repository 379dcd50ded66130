/**
 * TCP options (RFC 9293 section 3.2, RFC 7323, RFC 2018). Read RFC 7323 appendix A for the layout that everybody
 * uses: NOP NOP TIMESTAMPS, which the data path reads by fixed offsets.
 */
import { seq, type Seq } from '../../core/index.js';

export const OPTION_END = 0;
export const OPTION_NOP = 1;
export const OPTION_MSS = 2;
export const OPTION_SCALE = 3;
export const OPTION_SACK_PERMITTED = 4;
export const OPTION_SACK = 5;
export const OPTION_TIMESTAMPS = 8;

/** Most bytes of options in a header. */
export const MAX_OPTIONS = 40;
/** NOP NOP TIMESTAMPS 10, as one word. */
export const TIMESTAMPS_WORD = 0x0101080a;
/** Bytes of the usual timestamps layout. */
export const TIMESTAMPS_LENGTH = 12;
/** Largest shift count (RFC 7323 section 2.3). */
export const MAX_SCALE = 14;
/** Most SACK blocks that fit. */
export const MAX_SACK_BLOCKS = 4;

/** Options of one received segment; a connection has one and reuses it. */
export class OptionsIn {
  /** 0 when absent. */
  mss = 0;
  /** -1 when absent; at most 14. */
  scale = -1;
  sackPermitted = false;
  timestamps = false;
  /** TSval and TSecr, as signed 32-bit integers. */
  tsval = 0;
  tsecr = 0;
  sackCount = 0;
  /** Left and right edges in turn. */
  readonly sack = new Int32Array(2 * MAX_SACK_BLOCKS);

  clear(): void {
    this.mss = 0;
    this.scale = -1;
    this.sackPermitted = false;
    this.timestamps = false;
    this.sackCount = 0;
  }

  /** The option bytes from `at` to `end`. What follows a bad length is taken for absent (RFC 9293 MUST-7). */
  parse(view: DataView, at: number, end: number): void {
    this.clear();
    let next = at;
    while (next < end) {
      const kind = view.getUint8(next);
      if (kind === OPTION_END) return;
      if (kind === OPTION_NOP) {
        next++;
        continue;
      }
      if (next + 1 >= end) return;
      const length = view.getUint8(next + 1);
      if (length < 2 || next + length > end) return;
      this.take(view, kind, next, length);
      next += length;
    }
  }

  private take(view: DataView, kind: number, at: number, length: number): void {
    if (kind === OPTION_TIMESTAMPS && length === 10) {
      this.timestamps = true;
      this.tsval = view.getInt32(at + 2);
      this.tsecr = view.getInt32(at + 6);
    } else if (kind === OPTION_SACK && length >= 10 && (length - 2) % 8 === 0) {
      this.sackCount = Math.min((length - 2) >> 3, MAX_SACK_BLOCKS);
      for (let i = 0; i < this.sackCount * 2; i++) this.sack[i] = view.getInt32(at + 2 + i * 4);
    } else if (kind === OPTION_MSS && length === 4) {
      this.mss = view.getUint16(at + 2);
    } else if (kind === OPTION_SCALE && length === 3) {
      this.scale = Math.min(view.getUint8(at + 2), MAX_SCALE);
    } else if (kind === OPTION_SACK_PERMITTED && length === 2) {
      this.sackPermitted = true;
    }
  }
}

/** Writes NOP NOP TIMESTAMPS; returns its 12 bytes. */
export function writeTimestamps(bytes: Uint8Array, at: number, value: number, echo: number): number {
  bytes[at] = OPTION_NOP;
  bytes[at + 1] = OPTION_NOP;
  bytes[at + 2] = OPTION_TIMESTAMPS;
  bytes[at + 3] = 10;
  write32(bytes, at + 4, value);
  write32(bytes, at + 8, echo);
  return TIMESTAMPS_LENGTH;
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Options as a plain object, for tests and tools. Undefined or false: absent. */
export interface TcpOptions {
  readonly mss?: number;
  readonly scale?: number;
  readonly sackPermitted?: boolean;
  readonly timestamps?: { readonly value: number; readonly echo: number };
  readonly sack?: readonly { readonly start: Seq; readonly end: Seq }[];
}

export function parseOptions(view: DataView, at: number, end: number): TcpOptions {
  const found = new OptionsIn();
  found.parse(view, at, end);
  const sack = Array.from({ length: found.sackCount }, (_, i) => ({
    start: seq(found.sack[2 * i]!),
    end: seq(found.sack[2 * i + 1]!),
  }));
  return {
    ...(found.mss > 0 && { mss: found.mss }),
    ...(found.scale >= 0 && { scale: found.scale }),
    ...(found.sackPermitted && { sackPermitted: true }),
    ...(found.timestamps && { timestamps: { value: found.tsval >>> 0, echo: found.tsecr >>> 0 } }),
    ...(sack.length > 0 && { sack }),
  };
}

/** Bytes that `emitOptions` writes: a multiple of 4. */
export function optionsLength(options: TcpOptions): number {
  let length = 0;
  if (options.mss !== undefined) length += 4;
  if (options.sackPermitted === true) length += options.timestamps ? 2 : 4;
  if (options.timestamps) length += options.sackPermitted === true ? 10 : 12;
  if (options.scale !== undefined) length += 4;
  if (options.sack && options.sack.length > 0) length += 4 + 8 * options.sack.length;
  return length;
}

/** Writes the options in the customary order and layout, padded with NOPs; returns the bytes written. */
export function emitOptions(options: TcpOptions, bytes: Uint8Array, at: number): number {
  let next = at;
  const put = (...values: number[]): void => {
    for (const value of values) bytes[next++] = value;
  };
  const put32 = (value: number): void =>
    put(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
  const { mss, scale, sackPermitted, timestamps, sack } = options;
  if (mss !== undefined) put(OPTION_MSS, 4, mss >>> 8, mss & 255);
  if (sackPermitted === true) {
    if (!timestamps) put(OPTION_NOP, OPTION_NOP);
    put(OPTION_SACK_PERMITTED, 2);
  } else if (timestamps) put(OPTION_NOP, OPTION_NOP);
  if (timestamps) {
    put(OPTION_TIMESTAMPS, 10);
    put32(timestamps.value);
    put32(timestamps.echo);
  }
  if (scale !== undefined) put(OPTION_NOP, OPTION_SCALE, 3, scale);
  if (sack && sack.length > 0) {
    put(OPTION_NOP, OPTION_NOP, OPTION_SACK, 2 + 8 * sack.length);
    for (const block of sack) {
      put32(block.start);
      put32(block.end);
    }
  }
  return next - at;
}
