/**
 * What the peer said it holds beyond SND.UNA (RFC 2018), and what follows from it (RFC 6675). Disjoint ranges in
 * ascending order.
 */
import { seqDiff, seqGe, seqGt, seqLe, seqLt, seqMax, seqMin, type Seq } from '../core/index.js';

/** Most ranges remembered; what a peer reports beyond is sent again if need be. */
export const MAX_SACKED = 512;
/** RFC 6675 section 2. */
export const DUP_THRESHOLD = 3;

export class Scoreboard {
  private readonly starts: Seq[] = [];
  private readonly ends: Seq[] = [];
  /** Bytes in all ranges. */
  bytes = 0;

  get ranges(): number {
    return this.starts.length;
  }

  clear(): void {
    this.starts.length = 0;
    this.ends.length = 0;
    this.bytes = 0;
  }

  /** The peer holds `start` to `end`; returns how many bytes of that are news. The caller checked the range. */
  add(start: Seq, end: Seq): number {
    const { starts, ends } = this;
    // The first range that touches or follows; news is mostly at the end.
    let i = starts.length;
    while (i > 0 && seqGe(ends[i - 1]!, start)) i--;
    let j = i;
    let known = 0;
    let from = start;
    let to = end;
    while (j < starts.length && seqLe(starts[j]!, end)) {
      known += seqDiff(ends[j]!, starts[j]!);
      from = seqMin(from, starts[j]!);
      to = seqMax(to, ends[j]!);
      j++;
    }
    const news = seqDiff(to, from) - known;
    if (news === 0 && j - i === 1) return 0;
    if (j === i) {
      if (starts.length >= MAX_SACKED) return 0;
      starts.splice(i, 0, from);
      ends.splice(i, 0, to);
    } else {
      starts[i] = from;
      ends[i] = to;
      if (j - i > 1) {
        starts.splice(i + 1, j - i - 1);
        ends.splice(i + 1, j - i - 1);
      }
    }
    this.bytes += news;
    return news;
  }

  /** Forgets what lies before SND.UNA. */
  advance(una: Seq): void {
    const { starts, ends } = this;
    let gone = 0;
    while (gone < starts.length && seqLe(ends[gone]!, una)) {
      this.bytes -= seqDiff(ends[gone]!, starts[gone]!);
      gone++;
    }
    if (gone > 0) {
      starts.splice(0, gone);
      ends.splice(0, gone);
    }
    if (starts.length > 0 && seqLt(starts[0]!, una)) {
      this.bytes -= seqDiff(una, starts[0]!);
      starts[0] = una;
    }
  }

  /** Bytes held by the peer between `from` and `to`. */
  between(from: Seq, to: Seq): number {
    const { starts, ends } = this;
    let sum = 0;
    for (let i = 0; i < starts.length && seqLt(starts[i]!, to); i++) {
      const n = seqDiff(seqMin(ends[i]!, to), seqMax(starts[i]!, from));
      if (n > 0) sum += n;
    }
    return sum;
  }

  /** True when the peer holds the byte at `at`. */
  holds(at: Seq): boolean {
    return this.endOf(at) !== at;
  }

  /** The end of the range that holds `at`, or `at` itself. */
  endOf(at: Seq): Seq {
    const { starts, ends } = this;
    for (let i = 0; i < starts.length && seqLe(starts[i]!, at); i++) if (seqGt(ends[i]!, at)) return ends[i]!;
    return at;
  }

  /** Where the next range behind `at` begins, or `otherwise`. */
  nextStart(at: Seq, otherwise: Seq): Seq {
    for (const start of this.starts) if (seqGt(start, at)) return seqMin(start, otherwise);
    return otherwise;
  }

  /**
   * Bytes below the returned number that the peer does not hold are lost (IsLost of RFC 6675 section 4): three ranges
   * or more than two segments' bytes lie above. `otherwise` when none are.
   */
  lostBelow(mss: number, otherwise: Seq): Seq {
    const { starts, ends } = this;
    let sum = 0;
    for (let i = starts.length - 1; i >= 0; i--) {
      sum += seqDiff(ends[i]!, starts[i]!);
      if (starts.length - i >= DUP_THRESHOLD || sum > (DUP_THRESHOLD - 1) * mss) return starts[i]!;
    }
    return otherwise;
  }
}
