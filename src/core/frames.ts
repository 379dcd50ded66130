/**
 * How frames move: in batches from a link, in batches to a link. A link reads many frames into one block and hands
 * them on at once; what is sent is gathered from a header and up to two pieces of payload, and leaves at `flush`.
 */
import type { Block, Region } from './memory.js';

/** Int32 values per frame in `FrameBatch.meta`: offset, length, flags, GSO size. */
export const META_STRIDE = 4;
/** The payload checksum needs no check: the kernel vouches for it, or it is not filled in (NEEDS_CSUM). */
export const RX_CHECKSUM_OK = 1;
/** A TCP super-segment: more than one segment's payload behind one header. */
export const RX_GSO = 2;

/** `end` flag: the TCP or UDP checksum is to be filled in by the output (the field holds anything). */
export const TX_CHECKSUM = 1;

/** Longest frame any link carries, bytes (a stream frame longer is a protocol error). */
export const MAX_FRAME = 128 * 1024;
/** Shortest frame: an Ethernet header, bytes. */
export const MIN_FRAME = 14;

/** Frames that arrived together in one block. */
export class FrameBatch {
  block: Block;
  bytes: Uint8Array;
  view: DataView;
  readonly meta: Int32Array;
  count = 0;

  /** `capacity`: frames; or the memory for their descriptions. */
  constructor(block: Block, capacity: number | Int32Array) {
    this.block = block;
    this.bytes = block.region.bytes;
    this.view = block.region.view;
    this.meta = typeof capacity === 'number' ? new Int32Array(capacity * META_STRIDE) : capacity;
  }

  /** Describes `count` frames of this block from here on; `meta` is filled in. */
  over(block: Block, count: number): void {
    if (block !== this.block) {
      this.block = block;
      this.bytes = block.region.bytes;
      this.view = block.region.view;
    }
    this.count = count;
  }

  /** Appends the description of a frame that stands in the block; false when the batch is full. */
  add(offset: number, length: number, flags = 0, gsoSize = 0): boolean {
    const at = this.count * META_STRIDE;
    if (at >= this.meta.length) return false;
    this.meta[at] = offset;
    this.meta[at + 1] = length;
    this.meta[at + 2] = flags;
    this.meta[at + 3] = gsoSize;
    this.count++;
    return true;
  }
}

/** What a link can do for the sender. */
export interface Offloads {
  /** The largest TCP super-segment frame it takes, bytes; 0: none, frames obey the MTU. */
  readonly tsoMax: number;
}

/**
 * The sending side of a link. Write a header at the offset `begin` returned, append at most two pieces of payload,
 * then `end`; nothing leaves before `flush` (or before the output's own room ends). Payload must not change
 * before `flush`. A frame that the link cannot take is dropped and counted, never queued without bound.
 */
export interface FrameOutput {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly offloads: Offloads;
  /** True when the peer does not take more: hold data back until the link says `writable`. */
  readonly blocked: boolean;
  /** Room for `length` header bytes (a whole frame may be header); returns its offset in `bytes`. */
  begin(length: number): number;
  payload(region: Region, offset: number, length: number): void;
  /** `flags`: TX_CHECKSUM; `gsoSize`: payload bytes per segment of a super-segment, else 0. */
  end(flags: number, gsoSize: number): void;
  flush(): void;
}

/** Who gets what a link brings. */
export interface LinkHandler {
  /** The batch is lent: whoever keeps slices retains its block. */
  frames(batch: FrameBatch): void;
  /**
   * How many frames the link may read now that it is ready; 0: others come first, and it is asked again when it is told the next
   * time that there are some. Asked by links that can leave frames where they are.
   */
  quota?(): number;
  /** `output.blocked` became false. */
  writable(): void;
  /** Once, at the end; with the reason when it was not asked for. */
  closed(reason?: Error): void;
}

/** One attachment point of a guest: carries its frames both ways. */
export interface Link {
  /** `qemu`, `vpnkit`, `connect`, `stdio`, `tap`, `memory`, … */
  readonly kind: string;
  /** For people: path, peer address, interface. */
  readonly name: string;
  readonly output: FrameOutput;
  /** The kernel interface is ours to configure; its MTU, when the link knows one. */
  readonly mtu?: number | undefined;
  /** Starts delivery; called once. */
  start(handler: LinkHandler): void;
  /**
   * Takes no more from the guest until `resume`: what it sends waits with the guest. One more batch may come. A link that
   * cannot has neither.
   */
  pause?(): void;
  resume?(): void;
  /** Idempotent. `handler.closed` follows. */
  close(): void;
  readonly stats?: Readonly<Record<string, number>>;
}
