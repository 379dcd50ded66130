/**
 * Loss recovery (RFC 6582 without SACK, RFC 6675 with it, RFC 6298 after a timeout) in one model: everything below
 * `lost` that the peer does not hold is lost, `rxt` says how far it has been sent again, and `pipe` estimates what
 * is in the network. Without SACK each duplicate acknowledgment stands for one segment that left the network,
 * which is the window inflation of RFC 6582 told from the other side.
 */
import { seqDiff, seqGe, seqGt, seqLe, seqLt, seqMax, type Seq } from '../core/index.js';
import { DUP_THRESHOLD, Scoreboard } from './scoreboard.js';
import type { OptionsIn } from './wire/options.js';

export const OPEN = 0;
/** Fast recovery. */
export const FAST = 1;
/** After a retransmission timeout. */
export const LOSS = 2;

export class Recovery {
  readonly board = new Scoreboard();
  mode: typeof OPEN | typeof FAST | typeof LOSS = OPEN;
  sack = false;
  mss = 536;
  /** RFC 6582: SND.NXT when recovery began; acknowledging it ends recovery. */
  recover = 0 as Seq;
  rxt = 0 as Seq;
  lost = 0 as Seq;
  /** Duplicate acknowledgments since SND.UNA moved, and the bytes they stand for without SACK. */
  duplicates = 0;
  duplicateBytes = 0;
  /** The next retransmission leaves whatever the congestion window says (RFC 6675 section 5, step 4.3). */
  urgent = false;

  start(una: Seq, mss: number, sack: boolean): void {
    this.mss = mss;
    this.sack = sack;
    this.recover = ((una - 1) | 0) as Seq;
    this.rxt = una;
    this.lost = una;
  }

  /** Takes the SACK blocks; returns how many bytes are news. Blocks outside (una, nxt] are no news (RFC 2883 has some). */
  take(options: OptionsIn, una: Seq, nxt: Seq): number {
    let news = 0;
    for (let i = 0; i < options.sackCount; i++) {
      const start = options.sack[2 * i]! as Seq;
      const end = options.sack[2 * i + 1]! as Seq;
      if (seqGt(start, una) && seqLt(start, end) && seqLe(end, nxt)) news += this.board.add(start, end);
    }
    return news;
  }

  /** What is thought to be in the network, bytes (SetPipe of RFC 6675 section 4). */
  pipe(una: Seq, nxt: Seq): number {
    const flight = seqDiff(nxt, una);
    if (this.mode === OPEN && this.duplicates === 0 && this.board.bytes === 0) return flight;
    const from = seqMax(this.rxt, una);
    let waiting = 0;
    if (this.mode !== OPEN && seqLt(from, this.lost)) {
      waiting = seqDiff(this.lost, from);
      if (this.sack) waiting -= this.board.between(from, this.lost);
    }
    const held = this.sack ? this.board.bytes : this.duplicateBytes;
    return Math.max(flight - held - waiting, 0);
  }

  /** True when something lost waits to be sent again. */
  get pending(): boolean {
    return this.mode !== OPEN && seqLt(this.rxt, this.lost);
  }

  /** Moves `rxt` over what the peer holds; false when nothing lost is left. */
  skipHeld(una: Seq): boolean {
    this.rxt = this.board.endOf(seqMax(this.rxt, una));
    return seqLt(this.rxt, this.lost);
  }

  /** A duplicate acknowledgment. */
  duplicate(una: Seq, nxt: Seq): void {
    this.duplicates++;
    if (this.sack) return;
    const most = seqDiff(nxt, una) - this.mss;
    this.duplicateBytes = Math.max(Math.min(this.duplicateBytes + this.mss, most), 0);
  }

  /** SACK or duplicates came: must fast recovery begin? */
  mustEnter(una: Seq, nxt: Seq): boolean {
    if (this.mode !== OPEN || una === nxt) return false;
    // RFC 6582 section 3.2 step 2: not again for what was out at the last timeout or recovery; duplicates of what is
    // sent again look like loss exactly there, but not with SACK.
    if (seqLt(una, this.recover) || (!this.sack && una === this.recover)) return false;
    if (this.duplicates >= DUP_THRESHOLD) return true;
    return this.sack && seqGt(this.board.lostBelow(this.mss, una), una);
  }

  enter(una: Seq, nxt: Seq): void {
    this.mode = FAST;
    this.recover = nxt;
    this.rxt = una;
    this.lost = una;
    this.urgent = true;
    this.markLost(una, nxt);
  }

  /** During fast recovery: at least the first segment is lost, and what SACK says. */
  markLost(una: Seq, nxt: Seq): void {
    if (this.mode !== FAST) return;
    const first = ((una + Math.min(this.mss, seqDiff(nxt, una))) | 0) as Seq;
    this.lost = seqMax(this.lost, this.sack ? this.board.nextStart(una, first) : first);
    if (this.sack) this.lost = seqMax(this.lost, this.board.lostBelow(this.mss, this.lost));
  }

  /** SND.UNA moved by `bytes`. Returns true when recovery has just ended. */
  advanced(una: Seq, nxt: Seq, bytes: number): boolean {
    this.board.advance(una);
    if (this.mode === OPEN || seqGe(una, this.recover)) {
      const ended = this.mode !== OPEN;
      this.reset(una);
      return ended;
    }
    if (this.mode === FAST && !this.sack) {
      // Partial acknowledgment: the next segment is lost too (RFC 6582 section 3.2 step 3).
      this.duplicateBytes = Math.max(this.duplicateBytes - Math.max(bytes - this.mss, 0), 0);
      this.rxt = una;
      this.urgent = true;
    } else {
      this.duplicates = 0;
      this.rxt = seqMax(this.rxt, una);
    }
    this.markLost(una, nxt);
    return false;
  }

  /** RFC 6298 section 5.4 to 5.6: everything out is taken for lost. */
  timeout(una: Seq, nxt: Seq): void {
    this.mode = LOSS;
    this.recover = nxt;
    this.rxt = una;
    this.lost = nxt;
    this.duplicates = 0;
    this.duplicateBytes = 0;
    this.urgent = true;
    // What the peer reported it may have thrown away: then its first byte would be acknowledged (RFC 2018 section 8).
    if (this.board.holds(una)) this.board.clear();
  }

  private reset(una: Seq): void {
    this.mode = OPEN;
    this.duplicates = 0;
    this.duplicateBytes = 0;
    this.urgent = false;
    this.rxt = una;
    this.lost = una;
    // Not left behind by 2^31.
    if (seqLt(this.recover, una)) this.recover = ((una - 1) | 0) as Seq;
  }
}
