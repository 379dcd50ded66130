/**
 * Frames in a byte stream: a length, then the frame. Bytes that are read land in a pooled block; the whole frames in it
 * become a batch without being copied, an incomplete one moves to the front of the next block.
 *
 * Limits: a frame of less than MIN_FRAME or more than MAX_FRAME bytes ends the connection (it means that the peer speaks
 * something else, and nothing behind it can be trusted). At most BATCH_FRAMES frames go into one batch.
 */
import { FrameBatch, MAX_FRAME, MIN_FRAME, NetproxyError } from '../core/index.js';
import type { Block, BlockPool } from '../core/index.js';

/** Frames per batch at most. */
export const BATCH_FRAMES = 1024;

/** A block that somebody keeps slices of is filled further while this much of it is free, bytes. */
const KEEP_ROOM = 64 * 1024;

/** How a stream marks where a frame ends. */
export interface Framing {
  readonly name: 'u32be' | 'u16le';
  /** Bytes of the length in front of each frame. */
  readonly prefix: 2 | 4;
  /** The longest frame that the length can say and that is taken, bytes. */
  readonly maxFrame: number;
  read(view: DataView, at: number): number;
  write(view: DataView, at: number, length: number): void;
}

/** QEMU's `-netdev stream` and `-netdev socket`. */
export const U32BE: Framing = {
  name: 'u32be',
  prefix: 4,
  maxFrame: MAX_FRAME,
  read: (view, at) => view.getUint32(at),
  write: (view, at, length) => view.setUint32(at, length),
};

/** vpnkit, the `connect` protocol of gvisor-tap-vsock, stdio. */
export const U16LE: Framing = {
  name: 'u16le',
  prefix: 2,
  maxFrame: 0xffff,
  read: (view, at) => view.getUint16(at, true),
  write: (view, at, length) => view.setUint16(at, length, true),
};

/** Descriptions of frames are as big as 16 KiB: they stay with the block that they describe, as long as it lives. */
const batches = new WeakMap<Block, FrameBatch>();

/** An empty batch over a block that the caller has to itself. */
export function batchOver(block: Block): FrameBatch {
  let batch = batches.get(block);
  if (batch === undefined) {
    batch = new FrameBatch(block, BATCH_FRAMES);
    batches.set(block, batch);
  }
  batch.count = 0;
  return batch;
}

/** Cuts a stream into frames. Not reentrant: the consumer must not feed it from inside `frames`. */
export class StreamDeframer {
  private readonly framing: Framing;
  private readonly pool: BlockPool;
  private readonly frames: (batch: FrameBatch) => void;
  private batch: FrameBatch | undefined;
  /** Where the first byte that belongs to no delivered frame stands, and where the next one read goes. */
  private start = 0;
  private end = 0;
  private done = false;

  /** Throws when the pool's blocks cannot hold one frame of the largest size. */
  constructor(framing: Framing, pool: BlockPool, frames: (batch: FrameBatch) => void) {
    if (pool.blockSize < framing.prefix + framing.maxFrame) {
      throw new NetproxyError('ERR_NETPROXY_STATE', `blocks of ${pool.blockSize} bytes cannot hold a frame`);
    }
    this.framing = framing;
    this.pool = pool;
    this.frames = frames;
  }

  /** Bytes of a frame that has not wholly arrived. */
  get pending(): number {
    return this.end - this.start;
  }

  /** Takes the next bytes of the stream. The error, when there is one, is final: nothing is taken after it. */
  push(chunk: Uint8Array): NetproxyError | undefined {
    let taken = 0;
    while (taken < chunk.length && !this.done) {
      const block = this.room().block.region.bytes;
      const length = Math.min(chunk.length - taken, block.length - this.end);
      block.set(length === chunk.length ? chunk : chunk.subarray(taken, taken + length), this.end);
      taken += length;
      this.end += length;
      const error = this.cut();
      if (error !== undefined) {
        this.close();
        return error;
      }
    }
    return undefined;
  }

  /** Gives the block back. Idempotent; may be called from inside `frames`. */
  close(): void {
    if (this.done) return;
    this.done = true;
    this.batch?.block.release();
    this.batch = undefined;
    this.start = this.end = 0;
  }

  /** The batch to read into, its block with room for at least the rest of the incomplete frame. */
  private room(): FrameBatch {
    const { batch } = this;
    if (batch === undefined) return this.adopt(this.pool.take());
    const { block } = batch;
    if (block.refs === 1 && this.start > 0) {
      // Nobody kept a slice: the block starts again, and stays warm in the cache.
      block.region.bytes.copyWithin(0, this.start, this.end);
      this.end -= this.start;
      this.start = 0;
    } else if (block.region.bytes.length - this.end < this.needed()) {
      const next = this.pool.take();
      next.region.bytes.set(block.region.bytes.subarray(this.start, this.end));
      this.end -= this.start;
      this.start = 0;
      block.release();
      return this.adopt(next);
    }
    return batch;
  }

  private adopt(block: Block): FrameBatch {
    this.batch = batchOver(block);
    return this.batch;
  }

  /** All is delivered: an idle link holds no block, or the pool would be low with many links. */
  private letGo(batch: FrameBatch): void {
    if (batch.block.refs > 1 && batch.block.region.bytes.length - this.end >= KEEP_ROOM) return;
    batch.block.release();
    this.batch = undefined;
    this.start = this.end = 0;
  }

  /** Bytes that must fit behind `end`; a length that is cut in two is made whole first. */
  private needed(): number {
    const { prefix } = this.framing;
    const pending = this.end - this.start;
    if (pending < prefix) return prefix + MIN_FRAME - pending;
    return prefix + this.framing.read(this.batch!.view, this.start) - pending;
  }

  /** Hands on every whole frame in the block. */
  private cut(): NetproxyError | undefined {
    const { prefix, maxFrame } = this.framing;
    const batch = this.batch!;
    batch.count = 0;
    let error: NetproxyError | undefined;
    while (this.end - this.start >= prefix) {
      const length = this.framing.read(batch.view, this.start);
      if (length < MIN_FRAME || length > maxFrame) {
        error = badLength(length, maxFrame);
        break;
      }
      if (this.end - this.start < prefix + length) break;
      if (!batch.add(this.start + prefix, length)) {
        this.frames(batch);
        if (this.closed()) return undefined;
        batch.count = 0;
        continue;
      }
      this.start += prefix + length;
    }
    if (batch.count > 0) this.frames(batch);
    if (this.closed()) return undefined;
    if (this.start === this.end) this.letGo(batch);
    return error;
  }

  /** The consumer of a batch may have closed the link. */
  private closed(): boolean {
    return this.done;
  }
}

function badLength(length: number, maxFrame: number): NetproxyError {
  return new NetproxyError(
    'ERR_NETPROXY_PROTOCOL',
    length < MIN_FRAME
      ? `a frame of ${length} bytes is shorter than an Ethernet header (${MIN_FRAME} bytes)`
      : `a frame of ${length} bytes is longer than allowed (${maxFrame} bytes)`,
    { remedy: 'Check that both sides use the same framing.' },
  );
}
