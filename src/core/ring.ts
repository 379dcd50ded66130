/**
 * The send ring of a TCP connection: host bytes are read straight into it, segments and retransmissions are
 * gathered from it, acknowledged bytes leave it. Positions are absolute stream offsets (doubles, exact up to
 * 2^53), so nothing here knows sequence numbers.
 */
import type { Memory, Region } from './memory.js';

const EMPTY = new Uint8Array(0);
const NO_REGION: Region = { id: 0, bytes: EMPTY, view: new DataView(EMPTY.buffer) };

/** An idle ring may keep this much, bytes. */
const KEPT = 16 * 1024;

export class SendRing {
  private readonly memory: Memory;
  private readonly limit: number;
  private held: Region = NO_REGION;
  /** Stream offset of the oldest byte kept (acknowledged up to here). */
  start = 0;
  /** Stream offset behind the newest byte. */
  end = 0;

  /** `limit`: the most it may grow to, bytes, a power of two. Nothing is allocated before the first write. */
  constructor(memory: Memory, limit: number) {
    this.memory = memory;
    this.limit = limit;
  }

  get region(): Region {
    return this.held;
  }

  /** Bytes kept. */
  get bytes(): number {
    return this.end - this.start;
  }

  /** Bytes that could be taken now, growth included. */
  get room(): number {
    return this.limit - this.bytes;
  }

  /** Makes sure that at least `min(n, room)` bytes can be written without another growth. n: bytes. */
  reserve(n: number): void {
    const need = this.bytes + Math.min(n, this.room);
    let size = this.held.bytes.length;
    if (size >= need) return;
    if (size === 0) size = 16 * 1024;
    while (size < need) size *= 2;
    this.resize(Math.min(size, this.limit));
  }

  /** Region offset where the next byte goes. */
  get writeOffset(): number {
    return this.offset(this.end);
  }

  /** Bytes that fit behind `writeOffset` without wrapping, in memory that is there. */
  get writeContiguous(): number {
    const size = this.held.bytes.length;
    return Math.min(size - this.bytes, size - this.offset(this.end));
  }

  /** Bytes that fit in memory that is there. */
  get writeRoom(): number {
    return this.held.bytes.length - this.bytes;
  }

  /** Counts `n` bytes that were written at `writeOffset` (and wrapped to offset 0). */
  wrote(n: number): void {
    this.end += n;
  }

  /** Copies bytes in; returns how many fitted. */
  write(bytes: Uint8Array): number {
    this.reserve(bytes.length);
    const n = Math.min(bytes.length, this.writeRoom);
    const first = Math.min(n, this.writeContiguous);
    this.held.bytes.set(bytes.subarray(0, first), this.writeOffset);
    if (n > first) this.held.bytes.set(bytes.subarray(first, n), 0);
    this.end += n;
    return n;
  }

  /** Region offset of a stream offset between `start` and `end`. */
  offset(at: number): number {
    const size = this.held.bytes.length;
    return size === 0 ? 0 : at % size;
  }

  /** Bytes from a stream offset up to the wrap. */
  contiguous(at: number): number {
    return this.held.bytes.length - this.offset(at);
  }

  /** Forgets everything before the stream offset `to`. The memory stays: a busy stream empties its ring all the time. */
  release(to: number): void {
    this.start = to;
  }

  /** True when the ring is empty and its memory worth giving back. */
  get slack(): boolean {
    return this.start === this.end && this.held.bytes.length > KEPT;
  }

  /** Gives all memory back. */
  free(): void {
    this.start = this.end;
    this.resize(0);
  }

  private resize(size: number): void {
    const old = this.held;
    const next = size === 0 ? NO_REGION : this.memory.allocate(size);
    // Bytes keep their stream offsets; their place in the new region is offset modulo its size.
    let at = this.start;
    while (at < this.end) {
      const from = at % old.bytes.length;
      const to = at % size;
      const n = Math.min(this.end - at, old.bytes.length - from, size - to);
      next.bytes.set(old.bytes.subarray(from, from + n), to);
      at += n;
    }
    this.held = next;
    if (old !== NO_REGION) this.memory.free(old);
  }
}
