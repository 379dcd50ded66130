/**
 * A queue of byte slices that stay where they landed. TCP appends payload in order; a host socket takes bytes
 * from the front with one gathering write. Small slices, and all when the pool is low, are copied together into
 * small blocks, so that a queue of n bytes pins little more than n bytes and has few entries.
 *
 * A queue that was never used has no memory, and one that is empty gives back what it grew beyond a few entries.
 */
import { SMALL_BLOCK, type Block, type BlockPool } from './memory.js';

/** Slices shorter than this are always copied out, bytes. */
const COPY_BELOW = 512;
/** When the pool is low, slices shorter than this are copied out, bytes; longer ones by `compact` if they stay. */
const COPY_BELOW_LOW = 16 * 1024;
/** Entries at first, and what an empty queue keeps at most. */
const FIRST_ENTRIES = 4;
const KEPT_ENTRIES = 64;
/** So many bytes are copied one by one: to make a view of them costs more. */
const FEW = 32;

const NO_BLOCKS: (Block | undefined)[] = [];
const NO_NUMBERS: number[] = [];

export class SliceQueue {
  private blocks = NO_BLOCKS;
  /** Offset and length of each slice in turn. */
  private numbers = NO_NUMBERS;
  /** Entries there is room for: 0 or a power of two. */
  private capacity = 0;
  private head = 0;
  private size = 0;
  private total = 0;
  /** Bytes at the front that somebody reads even now (Node's sockets do); set by the reader. */
  lent = 0;
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

  /** Appends a copy of the bytes, in as many pieces as it needs. */
  copy(bytes: Uint8Array, offset: number, length: number): void {
    let from = offset;
    const end = offset + length;
    while (from < end) {
      if (this.gather === undefined || this.gathered === this.gather.region.bytes.length) {
        this.gather?.release();
        this.gather = this.pool.takeSmall();
        this.gathered = 0;
      }
      const { gather, gathered } = this;
      const n = Math.min(end - from, gather.region.bytes.length - gathered);
      copyBytes(bytes, from, gather.region.bytes, gathered, n);
      this.gathered += n;
      from += n;
      if (!this.grewLast(gather, gathered, n)) {
        gather.retain();
        this.append(gather, gathered, n);
      }
    }
  }

  /** The block, offset and length of slice `i`, counted from the front. */
  blockAt(i: number): Block {
    return this.blocks[(this.head + i) & (this.capacity - 1)]!;
  }

  offsetAt(i: number): number {
    return this.numbers[((this.head + i) & (this.capacity - 1)) * 2]!;
  }

  lengthAt(i: number): number {
    return this.numbers[((this.head + i) & (this.capacity - 1)) * 2 + 1]!;
  }

  /** Slice `i` as a view; allocates, so it is for services and for Node's own sockets. */
  viewAt(i: number): Uint8Array {
    const offset = this.offsetAt(i);
    return this.blockAt(i).region.bytes.subarray(offset, offset + this.lengthAt(i));
  }

  /** Drops `n` bytes from the front; what is wholly gone is released. */
  consume(n: number): void {
    const { numbers } = this;
    let left = n < this.total ? n : this.total;
    this.total -= left;
    this.lent = this.lent > left ? this.lent - left : 0;
    while (left > 0) {
      const at = this.head * 2;
      const length = numbers[at + 1]!;
      if (left < length) {
        numbers[at] = numbers[at]! + left;
        numbers[at + 1] = length - left;
        return;
      }
      left -= length;
      this.blocks[this.head]!.release();
      this.blocks[this.head] = undefined;
      this.head = (this.head + 1) & (this.capacity - 1);
      this.size--;
    }
    if (this.size === 0) this.settle();
  }

  clear(): void {
    this.consume(this.total);
    this.forget();
    this.settle();
  }

  /**
   * Copies what stands in big blocks into small ones, so that it pins no more than it is: for a queue that nobody drains. What
   * is lent stays where it is. Returns how many bytes were copied.
   */
  compact(): number {
    const { blocks, numbers, capacity, head, size } = this;
    let first = 0;
    for (let lent = this.lent; lent > 0 && first < size; first++) lent -= this.lengthAt(first);
    let copied = 0;
    for (let i = first; i < size; i++)
      if (this.blockAt(i).region.bytes.length > SMALL_BLOCK) copied += this.lengthAt(i);
    if (copied === 0) return 0;
    this.reset();
    this.gather?.release();
    this.gather = undefined;
    for (let i = 0; i < size; i++) {
      const at = (head + i) & (capacity - 1);
      const block = blocks[at]!;
      const offset = numbers[at * 2]!;
      const length = numbers[at * 2 + 1]!;
      if (i < first) {
        this.append(block, offset, length);
        continue;
      }
      this.copy(block.region.bytes, offset, length);
      block.release();
    }
    return copied;
  }

  /** The queue holds nothing and is unused: gives all memory back. */
  forget(): void {
    if (this.size === 0) this.reset();
  }

  private reset(): void {
    this.blocks = NO_BLOCKS;
    this.numbers = NO_NUMBERS;
    this.capacity = 0;
    this.head = 0;
    this.size = 0;
    this.total = 0;
  }

  /** It is empty. */
  private settle(): void {
    if (this.gather !== undefined) {
      this.gather.release();
      this.gather = undefined;
    }
    if (this.capacity > KEPT_ENTRIES) this.reset();
  }

  /** Adds `n` bytes to the last slice when they follow it in its block. */
  private grewLast(block: Block, offset: number, n: number): boolean {
    if (this.size === 0) return false;
    const last = (this.head + this.size - 1) & (this.capacity - 1);
    const { numbers } = this;
    if (this.blocks[last] !== block || numbers[last * 2]! + numbers[last * 2 + 1]! !== offset) return false;
    numbers[last * 2 + 1] = numbers[last * 2 + 1]! + n;
    this.total += n;
    return true;
  }

  private append(block: Block, offset: number, length: number): void {
    if (this.size === this.capacity) this.grow();
    const at = (this.head + this.size) & (this.capacity - 1);
    this.blocks[at] = block;
    this.numbers[at * 2] = offset;
    this.numbers[at * 2 + 1] = length;
    this.size++;
    this.total += length;
  }

  private grow(): void {
    const { blocks: from, numbers: old, capacity, head, size } = this;
    const next = capacity === 0 ? FIRST_ENTRIES : capacity * 2;
    const blocks = new Array<Block | undefined>(next).fill(undefined);
    // Not a typed array: to make one costs more than all that a short connection does with it.
    const numbers = new Array<number>(next * 2).fill(0);
    for (let i = 0; i < size; i++) {
      const at = (head + i) & (capacity - 1);
      blocks[i] = from[at];
      numbers[i * 2] = old[at * 2]!;
      numbers[i * 2 + 1] = old[at * 2 + 1]!;
    }
    this.blocks = blocks;
    this.numbers = numbers;
    this.capacity = next;
    this.head = 0;
  }
}

function copyBytes(from: Uint8Array, offset: number, to: Uint8Array, at: number, length: number): void {
  if (length > FEW) {
    to.set(from.subarray(offset, offset + length), at);
    return;
  }
  for (let i = 0; i < length; i++) to[at + i] = from[offset + i]!;
}
