/**
 * Out-of-order data: disjoint ranges of sequence space, each a chain of pieces. Pieces stay where they landed; small
 * ones, and most when the pool is low, are copied together, and copied again when too much of those copies is
 * dead, so that n bytes pin little more than n bytes whatever a peer sends. Bytes are bounded by the advertised
 * window (the caller trims), ranges and pieces by the limits below; what goes beyond is not kept and the peer
 * sends it again.
 */
import {
  seqDiff,
  seqGt,
  seqLe,
  seqLt,
  seqMin,
  SMALL_BLOCK,
  type Block,
  type BlockPool,
  type Seq,
  type SliceQueue,
} from '../core/index.js';
import { OPTION_NOP, OPTION_SACK, write32 } from './wire/options.js';

/** Most ranges, which is most holes, kept. */
export const MAX_RANGES = 256;
/** Most pieces kept: a window of 1 MiB in segments of 536 bytes is 1957. */
export const MAX_PIECES = 2048;
/** Pieces shorter than this are always copied out, bytes. */
const COPY_BELOW = 512;
/** When the pool is low, pieces shorter than this are copied out, bytes. */
const COPY_BELOW_LOW = 16 * 1024;

class Piece {
  start: Seq;
  length: number;
  block: Block;
  offset: number;
  copied: boolean;
  next: Piece | undefined = undefined;

  constructor(start: Seq, length: number, block: Block, offset: number, copied: boolean) {
    this.start = start;
    this.length = length;
    this.block = block;
    this.offset = offset;
    this.copied = copied;
  }
}

class Range {
  start: Seq;
  end: Seq;
  first: Piece;
  last: Piece;
  /** When it was last added to: SACK reports the newest first. */
  stamp = 0;
  previous: Range | undefined = undefined;
  next: Range | undefined = undefined;

  constructor(start: Seq, end: Seq, piece: Piece) {
    this.start = start;
    this.end = end;
    this.first = piece;
    this.last = piece;
  }
}

export class Assembler {
  private readonly pool: BlockPool;
  private head: Range | undefined;
  private tail: Range | undefined;
  private stamp = 0;
  private gather: Block | undefined;
  private gathered = 0;
  /** Gather blocks taken since the last compaction, and bytes alive in them. */
  private gathers = 0;
  private alive = 0;
  /** Bytes, ranges and pieces kept. */
  bytes = 0;
  ranges = 0;
  pieces = 0;
  /** The first that the last `add` brought twice; none when equal. */
  twiceFrom = 0 as Seq;
  twiceTo = 0 as Seq;

  constructor(pool: BlockPool) {
    this.pool = pool;
  }

  /** Keeps what is new of the `length` bytes at `offset` whose first is `start`; returns how many bytes that were. */
  add(start: Seq, block: Block, offset: number, length: number): number {
    const end = (start + length) | 0;
    let before = this.tail;
    while (before !== undefined && seqGt(before.start, start)) before = before.previous;
    let at = start;
    this.twiceTo = this.twiceFrom;
    if (before !== undefined && seqLt(at, before.end)) {
      before.stamp = ++this.stamp;
      at = before.end;
      this.twice(start, at, end as Seq);
    }
    let kept = 0;
    while (seqLt(at, end as Seq)) {
      const after: Range | undefined = before === undefined ? this.head : before.next;
      const stop = after !== undefined && seqLt(after.start, end as Seq) ? after.start : (end as Seq);
      const n = seqDiff(stop, at);
      if (after !== undefined && stop !== end && this.twiceFrom === this.twiceTo)
        this.twice(stop, after.end, end as Seq);
      const range = this.put(before, after, at, block, offset + seqDiff(at, start), n);
      if (range === undefined) return kept;
      range.stamp = ++this.stamp;
      kept += n;
      before = range;
      at = range.end;
    }
    return kept;
  }

  /**
   * Moves to the queue what follows `nxt` without a gap, forgetting what lies before it; returns how many bytes
   * were moved.
   */
  drain(nxt: Seq, queue: SliceQueue): number {
    let moved = 0;
    while (this.head !== undefined && seqLe(this.head.start, nxt)) {
      const range = this.head;
      this.unlink(range);
      for (let piece: Piece | undefined = range.first; piece !== undefined; piece = piece.next) {
        const skip = Math.max(seqDiff((nxt + moved) as Seq, piece.start), 0);
        if (skip < piece.length) {
          queue.push(piece.block, piece.offset + skip, piece.length - skip);
          moved += piece.length - skip;
        }
        this.forget(piece);
      }
    }
    if (this.head === undefined) this.dropGather();
    return moved;
  }

  /** Forgets everything. */
  clear(): void {
    for (let range = this.head; range !== undefined; range = range.next)
      for (let piece: Piece | undefined = range.first; piece !== undefined; piece = piece.next)
        this.forget(piece);
    this.head = undefined;
    this.tail = undefined;
    this.ranges = 0;
    this.dropGather();
  }

  /**
   * Writes a SACK option of at most `max` blocks, the newest first (RFC 2018 section 4), behind two NOPs. A duplicate
   * from `from` to `to` is reported in front of them when they differ (RFC 2883). `fin`: where the peer's FIN stands, which
   * belongs to the text before it. Returns the bytes written.
   */
  writeSack(options: Uint8Array, at: number, max: number, from: Seq, to: Seq, fin: Seq | undefined): number {
    let next = at + 4;
    let count = 0;
    if (from !== to) {
      next = writeBlock(options, next, from, to);
      count++;
    }
    let below = Number.POSITIVE_INFINITY;
    while (count < max) {
      let newest: Range | undefined;
      for (let range = this.head; range !== undefined; range = range.next)
        if (range.stamp < below && (newest === undefined || range.stamp > newest.stamp)) newest = range;
      if (newest === undefined) break;
      below = newest.stamp;
      const { end } = newest;
      next = writeBlock(options, next, newest.start, end === fin ? (((end + 1) | 0) as Seq) : end);
      count++;
    }
    if (count === 0) return 0;
    options[at] = OPTION_NOP;
    options[at + 1] = OPTION_NOP;
    options[at + 2] = OPTION_SACK;
    options[at + 3] = 2 + count * 8;
    return next - at;
  }

  private twice(from: Seq, to: Seq, end: Seq): void {
    this.twiceFrom = from;
    this.twiceTo = seqMin(to, end);
  }

  /** Puts `n` bytes into the gap between two neighbours; undefined when a limit forbids it. */
  private put(
    before: Range | undefined,
    after: Range | undefined,
    at: Seq,
    block: Block,
    offset: number,
    n: number,
  ): Range | undefined {
    const end = ((at + n) | 0) as Seq;
    const joinsBefore = before !== undefined && before.end === at;
    const joinsAfter = after !== undefined && after.start === end;
    if (!joinsBefore && !joinsAfter && this.ranges >= MAX_RANGES) return undefined;
    const piece = this.keep(joinsBefore ? before.last : undefined, at, block, offset, n);
    if (piece === undefined) return undefined;
    this.bytes += n;
    if (joinsBefore) {
      if (piece !== before.last) {
        before.last.next = piece;
        before.last = piece;
      }
      before.end = end;
      if (joinsAfter) {
        before.last.next = after.first;
        before.last = after.last;
        before.end = after.end;
        this.unlink(after);
      }
      return before;
    }
    if (joinsAfter) {
      piece.next = after.first;
      after.first = piece;
      after.start = at;
      return after;
    }
    return this.link(new Range(at, end, piece), before, after);
  }

  private link(range: Range, before: Range | undefined, after: Range | undefined): Range {
    range.previous = before;
    range.next = after;
    if (before === undefined) this.head = range;
    else before.next = range;
    if (after === undefined) this.tail = range;
    else after.previous = range;
    this.ranges++;
    return range;
  }

  private unlink(range: Range): void {
    if (range.previous === undefined) this.head = range.next;
    else range.previous.next = range.next;
    if (range.next === undefined) this.tail = range.previous;
    else range.next.previous = range.previous;
    this.ranges--;
  }

  /** Retains or copies the bytes: a new piece, or `last` grown by them. */
  private keep(last: Piece | undefined, at: Seq, block: Block, offset: number, n: number): Piece | undefined {
    const small = n < COPY_BELOW || (n < COPY_BELOW_LOW && this.pool.low);
    if (!small) {
      if (this.pieces >= MAX_PIECES) return undefined;
      block.retain();
      this.pieces++;
      return new Piece(at, n, block, offset, false);
    }
    const fits = this.gather !== undefined && this.gathered + n <= SMALL_BLOCK;
    const grows =
      fits &&
      last?.copied === true &&
      last.block === this.gather &&
      last.offset + last.length === this.gathered;
    if (!grows && this.pieces >= MAX_PIECES) return undefined;
    const target = fits ? this.gather! : this.freshGather(n);
    target.region.bytes.set(block.region.bytes.subarray(offset, offset + n), this.gathered);
    const where = this.gathered;
    this.gathered += n;
    this.alive += n;
    if (grows) {
      last.length += n;
      return last;
    }
    target.retain();
    this.pieces++;
    return new Piece(at, n, target, where, true);
  }

  /** A gather block with room for `n` bytes; compacts first when most of what the old ones pin is dead. */
  private freshGather(n: number): Block {
    if (this.gathers > 4 && this.alive * 2 < this.gathers * SMALL_BLOCK) this.compact();
    return this.gather === undefined || this.gathered + n > SMALL_BLOCK ? this.nextGather() : this.gather;
  }

  private nextGather(): Block {
    this.gather?.release();
    this.gather = this.pool.takeSmall();
    this.gathered = 0;
    this.gathers++;
    return this.gather;
  }

  private compact(): void {
    this.gather?.release();
    this.gather = undefined;
    this.gathers = 0;
    let target: Block | undefined;
    for (let range = this.head; range !== undefined; range = range.next)
      for (let piece: Piece | undefined = range.first; piece !== undefined; piece = piece.next) {
        if (!piece.copied) continue;
        if (target === undefined || this.gathered + piece.length > SMALL_BLOCK) target = this.nextGather();
        const from: Uint8Array = piece.block.region.bytes;
        target.region.bytes.set(from.subarray(piece.offset, piece.offset + piece.length), this.gathered);
        target.retain();
        piece.block.release();
        piece.block = target;
        piece.offset = this.gathered;
        this.gathered += piece.length;
      }
  }

  private forget(piece: Piece): void {
    this.bytes -= piece.length;
    this.pieces--;
    if (piece.copied) this.alive -= piece.length;
    piece.block.release();
  }

  private dropGather(): void {
    this.gather?.release();
    this.gather = undefined;
    this.gathers = 0;
  }
}

function writeBlock(options: Uint8Array, at: number, start: Seq, end: Seq): number {
  write32(options, at, start);
  write32(options, at + 4, end);
  return at + 8;
}
