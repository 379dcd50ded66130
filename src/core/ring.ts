/**
 * The send ring of a TCP connection: host bytes are read straight into it, segments and retransmissions are
 * gathered from it, acknowledged bytes leave it. Positions count the bytes of the stream modulo 2^32, as signed 32-bit
 * integers; the ring's sizes are powers of two, so that a position finds its place by a mask.
 *
 * It grows as bytes wait in it, gives all memory back when it is idle, and takes no more than its budget allows: beyond
 * LEAST_RING bytes, which every stream may have whatever the budget says.
 */
import type { Budget } from './budget.js';
import type { Memory, Region } from './memory.js';

const EMPTY = new Uint8Array(0);
const NO_REGION: Region = { id: 0, bytes: EMPTY, view: new DataView(EMPTY.buffer) };

/** The first size of a ring, bytes. */
const FIRST = 16 * 1024;
/**
 * What a budget never refuses, bytes: enough for two segments of Ethernet, so that a stream goes on; so little that those
 * who open ten thousand of them and read none gain nothing.
 */
export const LEAST_RING = 4 * 1024;

export class SendRing {
  private readonly memory: Memory;
  private readonly limit: number;
  private readonly budget: Budget | undefined;
  private held: Region = NO_REGION;
  private mask = 0;
  /** What it may take now; see `allow`. */
  private most: number;
  /** Position of the oldest byte kept (acknowledged up to here). */
  start = 0;
  /** Position behind the newest byte. */
  end = 0;

  /** `limit`: the most it may grow to, bytes, a power of two. Nothing is allocated before the first write. */
  constructor(memory: Memory, limit: number, budget?: Budget) {
    this.memory = memory;
    this.limit = limit;
    this.most = limit;
    this.budget = budget;
  }

  get region(): Region {
    return this.held;
  }

  /** Bytes kept. */
  get bytes(): number {
    return (this.end - this.start) | 0;
  }

  /** Bytes that could be taken now, growth included. */
  get room(): number {
    const most =
      this.budget?.full === true ? Math.min(this.most, Math.max(this.size, LEAST_RING)) : this.most;
    return Math.max(most - this.bytes, 0);
  }

  /** Memory held, bytes. */
  get size(): number {
    return this.held.bytes.length;
  }

  /** How many bytes it may hold from now on, at most its limit; what is there already stays. */
  allow(bytes: number): void {
    // Whole: what is counted in fractions, as a congestion window is, would put numbers on the heap at every read.
    this.most = bytes < this.limit ? bytes | 0 : this.limit;
  }

  /** Makes sure that at least `min(n, room)` bytes can be written without another growth. n: bytes. */
  reserve(n: number): void {
    const need = this.bytes + Math.min(n, this.room);
    let { size } = this;
    if (size >= need) return;
    if (size === 0) size = this.budget?.full === true ? LEAST_RING : FIRST;
    while (size < need) size *= 2;
    this.resize(Math.min(size, this.limit));
  }

  /** Region offset where the next byte goes. */
  get writeOffset(): number {
    return this.end & this.mask;
  }

  /** Bytes that fit behind `writeOffset` without wrapping, in memory that is there. */
  get writeContiguous(): number {
    const { size } = this;
    return Math.min(size - this.bytes, size - (this.end & this.mask));
  }

  /** Bytes that may be written into memory that is there. */
  get writeRoom(): number {
    return Math.min(this.size - this.bytes, this.room);
  }

  /** Counts `n` bytes that were written at `writeOffset` (and wrapped to offset 0). */
  wrote(n: number): void {
    this.end = (this.end + n) | 0;
  }

  /** Copies bytes in; returns how many fitted. */
  write(bytes: Uint8Array): number {
    this.reserve(bytes.length);
    const n = Math.min(bytes.length, this.writeRoom);
    const first = Math.min(n, this.writeContiguous);
    this.held.bytes.set(bytes.subarray(0, first), this.writeOffset);
    if (n > first) this.held.bytes.set(bytes.subarray(first, n), 0);
    this.wrote(n);
    return n;
  }

  /** Region offset of a position between `start` and `end`. */
  offset(at: number): number {
    return at & this.mask;
  }

  /** Bytes from a position up to the wrap. */
  contiguous(at: number): number {
    return this.size - (at & this.mask);
  }

  /** Forgets `n` bytes at the start. The memory stays: a busy stream empties its ring all the time. */
  release(n: number): void {
    this.start = (this.start + n) | 0;
  }

  /** True when the ring is empty and has memory to give back. */
  get slack(): boolean {
    return this.start === this.end && this.held !== NO_REGION;
  }

  /** Gives all memory back. */
  free(): void {
    this.start = this.end;
    this.resize(0);
  }

  private resize(size: number): void {
    const old = this.held;
    const next = size === 0 ? NO_REGION : this.memory.allocate(size);
    // Bytes keep their positions; their place in the new region is the position modulo its size.
    let at = this.start;
    let left = this.bytes;
    while (left > 0) {
      const from = at & this.mask;
      const to = at & (size - 1);
      const n = Math.min(left, old.bytes.length - from, size - to);
      next.bytes.set(old.bytes.subarray(from, from + n), to);
      at = (at + n) | 0;
      left -= n;
    }
    this.held = next;
    this.mask = Math.max(size - 1, 0);
    this.budget?.add(size - old.bytes.length);
    if (old !== NO_REGION) this.memory.free(old);
  }
}
