/**
 * Memory of the data path. A Region is a piece of memory that the native layer knows by number, so that a call
 * passes numbers only. A Block is a Region that frames landed in, shared by whoever holds slices of it; it goes
 * back to its pool when the last one lets go.
 */

/** Memory with a number. `id` is 0 when no native layer is there to know it. */
export interface Region {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Makes and forgets regions: the native layer's registry, or `plainMemory`. */
export interface Memory {
  allocate(size: number): Region;
  free(region: Region): void;
}

/** Regions without a native layer. */
export const plainMemory: Memory = {
  allocate: (size) => {
    const bytes = new Uint8Array(size);
    return { id: 0, bytes, view: new DataView(bytes.buffer) };
  },
  free: () => undefined,
};

/** A shared Region with a reference count. Born with one reference, its maker's. */
export class Block {
  readonly region: Region;
  readonly pool: BlockPool;
  refs = 1;

  constructor(region: Region, pool: BlockPool) {
    this.region = region;
    this.pool = pool;
  }

  retain(): void {
    this.refs++;
  }

  release(): void {
    this.refs--;
    if (this.refs === 0) this.pool.put(this);
  }
}

/** Size of the small blocks that slices are copied out to, bytes. */
export const SMALL_BLOCK = 16 * 1024;

/**
 * Blocks of one size plus small ones. Never refuses: what bounds memory is the sum of the windows that flows
 * advertise. `low` tells slice queues to copy out instead of pinning whole batches.
 */
export class BlockPool {
  readonly memory: Memory;
  readonly blockSize: number;
  private readonly keep: number;
  private readonly free: Block[] = [];
  private readonly freeSmall: Block[] = [];
  private outstanding = 0;
  private outstandingBytes = 0;

  /** `keep`: how many big blocks may be out before the pool is low, and at most wait for reuse. */
  constructor(memory: Memory, blockSize = 256 * 1024, keep = 16) {
    this.memory = memory;
    this.blockSize = blockSize;
    this.keep = keep;
  }

  /** True when batches are pinned by slow readers: copy small slices out. */
  get low(): boolean {
    return this.outstanding >= this.keep;
  }

  /** Bytes in blocks that somebody holds. */
  get bytesOut(): number {
    return this.outstandingBytes;
  }

  take(): Block {
    return this.lend(this.free.pop() ?? new Block(this.memory.allocate(this.blockSize), this));
  }

  /** A block of SMALL_BLOCK bytes, or of `size` when that is more. */
  takeSmall(size = SMALL_BLOCK): Block {
    const known = size <= SMALL_BLOCK ? this.freeSmall.pop() : undefined;
    return this.lend(known ?? new Block(this.memory.allocate(Math.max(size, SMALL_BLOCK)), this));
  }

  put(block: Block): void {
    const size = block.region.bytes.length;
    this.outstandingBytes -= size;
    if (size === this.blockSize) {
      this.outstanding--;
      if (this.free.length < this.keep) {
        this.free.push(block);
        return;
      }
    } else if (size === SMALL_BLOCK && this.freeSmall.length < 256) {
      this.freeSmall.push(block);
      return;
    }
    this.memory.free(block.region);
  }

  /** Forgets the blocks that nobody holds. */
  drain(): void {
    for (const block of this.free) this.memory.free(block.region);
    for (const block of this.freeSmall) this.memory.free(block.region);
    this.free.length = 0;
    this.freeSmall.length = 0;
  }

  private lend(block: Block): Block {
    block.refs = 1;
    const size = block.region.bytes.length;
    if (size === this.blockSize) this.outstanding++;
    this.outstandingBytes += size;
    return block;
  }
}
