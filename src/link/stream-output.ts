/**
 * The sending side of a link over a Node stream. Frames are gathered in an arena of SLABS slabs; one flush is one write.
 * A slab is filled again when every write from it was done. Reading from the guest never waits for any of this:
 *
 * - HIGH_WATER bytes waiting: `blocked`, senders hold TCP data back; LOW_WATER: `writable`.
 * - No free slab (at most SLABS x SLAB_SIZE = 2 MiB wait): whole frames are dropped and counted (`txDropped`).
 */
import { MAX_FRAME, MIN_FRAME, NetproxyError, TX_CHECKSUM } from '../core/index.js';
import type { FrameOutput, Memory, Offloads, Region } from '../core/index.js';
import type { Framing } from './framing.js';
import { fillChecksum } from './tx-checksum.js';

export const SLABS = 8;
export const SLAB_SIZE = 256 * 1024;
/** Bytes that wait before the output is blocked, and at which it is no longer. */
export const HIGH_WATER = 512 * 1024;
export const LOW_WATER = 128 * 1024;

/** Room for a frame that is dropped when no slab is free. */
const SCRATCH_SIZE = MAX_FRAME + 8;
const NO_OFFLOADS: Offloads = { tsoMax: 0 };
const EMPTY: Region = { id: 0, bytes: new Uint8Array(0), view: new DataView(new ArrayBuffer(0)) };

/** Takes the bytes and calls back when it is done with them. */
export type WriteBytes = (bytes: Uint8Array, done: () => void) => void;

export interface OutputStats {
  txFrames: number;
  txBytes: number;
  txWrites: number;
  /** Dropped because the peer does not read. */
  txDropped: number;
  /** Dropped because the link cannot carry a frame of this shape. */
  txRefused: number;
}

export class StreamOutput implements FrameOutput {
  readonly offloads = NO_OFFLOADS;
  readonly stats: OutputStats = { txFrames: 0, txBytes: 0, txWrites: 0, txDropped: 0, txRefused: 0 };
  private readonly framing: Framing;
  private readonly memory: Memory;
  private readonly write: WriteBytes;
  private readonly writable: () => void;
  private readonly arena: Region;
  /** Writes under way per slab. */
  private readonly busy = new Int32Array(SLABS);
  /** The slab that frames are gathered in, -1: none is free. */
  private slab = 0;
  /** Offsets in the arena: bytes not yet written, and where the next frame goes. */
  private from = 0;
  private to = 0;
  /** The frame between `begin` and `end`. */
  private head = 0;
  private headLength = 0;
  private frameLength = 0;
  private readonly regions: [Region, Region] = [EMPTY, EMPTY];
  private readonly offsets = new Int32Array(2);
  private readonly lengths = new Int32Array(2);
  private pieces = 0;
  private waiting = 0;
  private isBlocked = false;
  private closed = false;

  constructor(framing: Framing, memory: Memory, write: WriteBytes, writable: () => void) {
    this.framing = framing;
    this.memory = memory;
    this.write = write;
    this.writable = writable;
    this.arena = memory.allocate(SLABS * SLAB_SIZE + SCRATCH_SIZE);
  }

  get bytes(): Uint8Array {
    return this.arena.bytes;
  }

  get view(): DataView {
    return this.arena.view;
  }

  get blocked(): boolean {
    return this.isBlocked;
  }

  /** Bytes handed to the stream that it has not passed on. */
  get queued(): number {
    return this.waiting;
  }

  begin(length: number): number {
    if (length > MAX_FRAME) {
      throw new NetproxyError('ERR_NETPROXY_STATE', `a header of ${length} bytes does not fit a frame`);
    }
    this.pieces = 0;
    this.headLength = this.frameLength = length;
    this.head = this.place(length);
    return this.head;
  }

  payload(region: Region, offset: number, length: number): void {
    if (length === 0) return;
    const i = this.pieces++;
    if (i > 1) throw new NetproxyError('ERR_NETPROXY_STATE', 'a frame has at most two pieces of payload');
    this.regions[i] = region;
    this.offsets[i] = offset;
    this.lengths[i] = length;
    this.frameLength += length;
  }

  end(flags: number, gsoSize: number): void {
    const { framing, frameLength: length } = this;
    if (this.closed) return;
    if (length < MIN_FRAME || length > framing.maxFrame || gsoSize > 0) {
      this.stats.txRefused++;
      return;
    }
    const head = this.settle(length);
    if (head < 0) {
      this.stats.txDropped++;
      return;
    }
    const { bytes, view } = this.arena;
    let at = head + this.headLength;
    for (let i = 0; i < this.pieces; i++) {
      const offset = this.offsets[i]!;
      const size = this.lengths[i]!;
      bytes.set(this.regions[i]!.bytes.subarray(offset, offset + size), at);
      at += size;
    }
    if ((flags & TX_CHECKSUM) !== 0) fillChecksum(bytes, view, head, length);
    framing.write(view, head - framing.prefix, length);
    this.to = at;
    this.stats.txFrames++;
    this.stats.txBytes += length;
  }

  flush(): void {
    const { slab, from, to } = this;
    if (slab < 0 || to === from || this.closed) return;
    this.from = to;
    this.busy[slab]!++;
    const length = to - from;
    this.waiting += length;
    if (this.waiting >= HIGH_WATER) this.isBlocked = true;
    this.stats.txWrites++;
    this.write(this.arena.bytes.subarray(from, to), () => {
      this.wrote(slab, length);
    });
  }

  /** Drops what waits and gives the arena back when the stream is done with it. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    if (this.waiting === 0) this.memory.free(this.arena);
  }

  private wrote(slab: number, length: number): void {
    this.waiting -= length;
    this.busy[slab]!--;
    if (this.closed) {
      if (this.waiting === 0) this.memory.free(this.arena);
      return;
    }
    // Bytes gathered but not flushed yet have no write that would keep the slab.
    if (slab === this.slab && this.busy[slab] === 0 && this.from === this.to) {
      this.from = this.to = slab * SLAB_SIZE;
    }
    if (this.isBlocked && this.waiting <= LOW_WATER) {
      this.isBlocked = false;
      this.writable();
    }
  }

  /** Offset for a frame's header in the current slab, or in the next free one, or in the scratch room. */
  private place(length: number): number {
    const { prefix } = this.framing;
    if (this.slab < 0 || this.to + prefix + length > (this.slab + 1) * SLAB_SIZE) this.nextSlab();
    return this.slab < 0 ? SLABS * SLAB_SIZE : this.to + prefix;
  }

  /** Where the whole frame goes: where its header stands, or the next slab, whereto the header is moved; -1: nowhere. */
  private settle(length: number): number {
    if (this.slab < 0) return -1;
    if (this.head + length <= (this.slab + 1) * SLAB_SIZE) return this.head;
    const { head, headLength } = this;
    this.nextSlab();
    if (this.slab < 0) return -1;
    const moved = this.to + this.framing.prefix;
    this.arena.bytes.copyWithin(moved, head, head + headLength);
    return moved;
  }

  private nextSlab(): void {
    this.flush();
    // The lowest free one: while the peer reads, few slabs are in use and stay in the cache.
    const free = this.busy.indexOf(0);
    this.slab = free;
    this.from = this.to = free * SLAB_SIZE;
    if (free < 0) this.isBlocked = true;
  }
}
