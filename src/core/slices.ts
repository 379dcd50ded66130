/**
 * A queue of byte slices that stay where they landed. TCP appends payload in order; a host socket takes bytes
 * from the front with one gathering write. Small slices, and all when the pool is low, are copied together into
 * a small block, so that a queue of n bytes pins little more than n bytes and has few entries.
 */
import type { Block, BlockPool } from './memory.js';

/** Slices shorter than this are always copied out, bytes. */
const COPY_BELOW = 512;
/** When the pool is low, slices shorter than this are copied out, bytes. */
const COPY_BELOW_LOW = 16 * 1024;

export class SliceQueue {
  private blocks: (Block | undefined)[] = new Array<Block | undefined>(8);
  private offsets = new Int32Array(8);
  private lengths = new Int32Array(8);
  private head = 0;
  private size = 0;
  private total = 0;
  private readonly pool: BlockPool;
  /** The block that small slices are gathered in, and how much of it is used. The queue holds one reference. */
  private gather: Block | undefined;
  private gathered = 0;

  constructor(pool: BlockPool) {
    this.pool = pool;
  }

  /** Bytes in the queue. */
  get bytes(): number {
    return this.total;
  }

  /** Slices in the queue. */
  get count(): number {
    return this.size;
  }

  /** Appends `length` bytes at `offset` of the block; takes a reference of its own where it keeps the block. */
  push(block: Block, offset: number, length: number): void {
    if (length <= 0) return;
    if (length < COPY_BELOW || (length < COPY_BELOW_LOW && this.pool.low)) {
      this.copy(block.region.bytes, offset, length);
      return;
    }
    block.retain();
    this.append(block, offset, length);
  }

  /** Appends a copy of the bytes. */
  copy(bytes: Uint8Array, offset: number, length: number): void {
    let { gather } = this;
    if (gather === undefined || this.gathered + length > gather.region.bytes.length) {
      gather?.release();
      gather = this.gather = this.pool.takeSmall(length);
      this.gathered = 0;
    }
    gather.region.bytes.set(bytes.subarray(offset, offset + length), this.gathered);
    const at = this.gathered;
    this.gathered += length;
    const last = (this.head + this.size - 1) & (this.offsets.length - 1);
    if (this.size > 0 && this.blocks[last] === gather && this.offsets[last]! + this.lengths[last]! === at) {
      this.lengths[last] = this.lengths[last]! + length;
      this.total += length;
      return;
    }
    gather.retain();
    this.append(gather, at, length);
  }

  /** The block, offset and length of slice `i`, counted from the front. */
  blockAt(i: number): Block {
    return this.blocks[(this.head + i) & (this.offsets.length - 1)]!;
  }

  offsetAt(i: number): number {
    return this.offsets[(this.head + i) & (this.offsets.length - 1)]!;
  }

  lengthAt(i: number): number {
    return this.lengths[(this.head + i) & (this.offsets.length - 1)]!;
  }

  /** Slice `i` as a view; allocates, so it is for services and for Node's own sockets. */
  viewAt(i: number): Uint8Array {
    const offset = this.offsetAt(i);
    return this.blockAt(i).region.bytes.subarray(offset, offset + this.lengthAt(i));
  }

  /** Drops `n` bytes from the front; what is wholly gone is released. */
  consume(n: number): void {
    const mask = this.offsets.length - 1;
    let left = Math.min(n, this.total);
    this.total -= left;
    while (left > 0) {
      const at = this.head;
      const length = this.lengths[at]!;
      if (left < length) {
        this.offsets[at] = this.offsets[at]! + left;
        this.lengths[at] = length - left;
        return;
      }
      left -= length;
      this.blocks[at]!.release();
      this.blocks[at] = undefined;
      this.head = (at + 1) & mask;
      this.size--;
    }
    if (this.size === 0 && this.gather !== undefined) {
      this.gather.release();
      this.gather = undefined;
    }
  }

  clear(): void {
    this.consume(this.total);
    this.gather?.release();
    this.gather = undefined;
  }

  private append(block: Block, offset: number, length: number): void {
    if (this.size === this.offsets.length) this.grow();
    const at = (this.head + this.size) & (this.offsets.length - 1);
    this.blocks[at] = block;
    this.offsets[at] = offset;
    this.lengths[at] = length;
    this.size++;
    this.total += length;
  }

  private grow(): void {
    const old = this.offsets.length;
    const blocks = new Array<Block | undefined>(old * 2);
    const offsets = new Int32Array(old * 2);
    const lengths = new Int32Array(old * 2);
    for (let i = 0; i < this.size; i++) {
      const from = (this.head + i) & (old - 1);
      blocks[i] = this.blocks[from];
      offsets[i] = this.offsets[from]!;
      lengths[i] = this.lengths[from]!;
    }
    this.blocks = blocks;
    this.offsets = offsets;
    this.lengths = lengths;
    this.head = 0;
  }
}
