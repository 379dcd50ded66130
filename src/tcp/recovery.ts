/**
 * Loss recovery in one model: what is lost is sent again in sequence, and `pipe` estimates what is in the network. With
 * SACK, RACK (RFC 8985) finds what is lost; without it, three duplicate acknowledgments and partial ones do
 * (RFC 6582), and each duplicate stands for one segment that left the network, which is the window inflation of that
 * RFC told from the other side. After a timeout RFC 6298 and RFC 8985 section 6.3 hold.
 */
import { seqDiff, seqGe, seqGt, seqLe, seqLt, seqMax, type Millis, type Seq } from '../core/index.js';
import { DUP_THRESHOLD, Rack } from './rack.js';
import { HELD, SentQueue } from './sent.js';
import type { OptionsIn } from './wire/options.js';

export const OPEN = 0;
/** Fast recovery. */
export const FAST = 1;
/** After a retransmission timeout. */
export const LOSS = 2;

export class Recovery {
  readonly sent = new SentQueue();
  readonly rack = new Rack();
  mode: typeof OPEN | typeof FAST | typeof LOSS = OPEN;
  sack = false;
  mss = 536;
  /** RFC 6582: SND.NXT when recovery began; acknowledging it ends recovery. */
  recover = 0 as Seq;
  /** Duplicate acknowledgments since SND.UNA moved, and the bytes they stand for without SACK. */
  duplicates = 0;
  private duplicateBytes = 0;
  /** What led to this recovery, or the last, may turn out to have been no loss; see `undo`. */
  private undoable = false;
  private undoFrom = 0 as Seq;
  private undoTo = 0 as Seq;
  private undoLeft = 0;
  /** The next retransmission leaves whatever the congestion window says (RFC 6675 section 5, step 4.3). */
  urgent = false;

  start(una: Seq, mss: number, sack: boolean, now: Millis): void {
    this.mss = mss;
    this.sack = sack;
    this.recover = ((una - 1) | 0) as Seq;
    this.rack.start(una, now);
  }

  /**
   * Takes the SACK blocks, the lowest first, for RACK sees reordering by it; returns how many bytes are news. Blocks
   * outside (una, nxt] are no news (RFC 2883 has some).
   */
  take(options: OptionsIn, una: Seq, nxt: Seq): number {
    const { sack, sackCount } = options;
    let news = 0;
    let done = 0;
    for (let turn = 0; turn < sackCount; turn++) {
      let lowest = -1;
      for (let i = 0; i < sackCount; i++)
        if ((done & (1 << i)) === 0 && (lowest < 0 || seqLt(sack[2 * i]! as Seq, sack[2 * lowest]! as Seq)))
          lowest = i;
      done |= 1 << lowest;
      const start = sack[2 * lowest]! as Seq;
      const end = sack[2 * lowest + 1]! as Seq;
      if (seqGt(start, una) && seqLt(start, end) && seqLe(end, nxt))
        news += this.sent.hold(start, end, this.rack);
    }
    return news;
  }

  /** What is thought to be in the network, bytes (pipe of RFC 6675). */
  pipe(una: Seq, nxt: Seq): number {
    const { held, lost } = this.sent;
    return Math.max(seqDiff(nxt, una) - held - lost - this.duplicateBytes, 0);
  }

  /** Something lost waits to be sent again. */
  get pending(): boolean {
    return this.sent.lost > 0;
  }

  /** A duplicate acknowledgment. */
  duplicate(una: Seq, nxt: Seq): void {
    this.duplicates++;
    if (this.sack) return;
    const most = seqDiff(nxt, una) - this.sent.lost - this.mss;
    this.duplicateBytes = Math.max(Math.min(this.duplicateBytes + this.mss, most), 0);
  }

  /** Must fast recovery begin? */
  mustEnter(una: Seq, nxt: Seq): boolean {
    if (this.mode !== OPEN || una === nxt) return false;
    if (this.sack) return this.sent.lost > 0;
    // RFC 6582 section 3.2 step 2: not again for what was out at the last timeout or recovery; duplicates of what is
    // sent again look like loss exactly there.
    return this.duplicates >= DUP_THRESHOLD && seqGt(una, this.recover);
  }

  enter(una: Seq, nxt: Seq): void {
    this.suspect(una);
    this.mode = FAST;
    this.recover = nxt;
    this.urgent = true;
    if (!this.sack) this.sent.loseFirst(this.mss);
  }

  /** What is out was too long for its path: all of it leaves again, in segments of `mss` bytes. Nothing to undo, for nothing is reduced. */
  shorten(mss: number, nxt: Seq): void {
    this.mss = mss;
    this.sent.loseAll();
    this.confirm();
    if (this.mode === OPEN) {
      this.mode = FAST;
      this.recover = nxt;
    }
    this.duplicateBytes = 0;
    this.urgent = true;
  }

  /** SND.UNA moved by `bytes`. Returns true when recovery has just ended. */
  advanced(una: Seq, bytes: number): boolean {
    this.sent.release(una, this.rack);
    if (this.mode === OPEN || seqGe(una, this.recover)) {
      const ended = this.mode !== OPEN;
      this.reset(una);
      if (ended) this.rack.recovered();
      return ended;
    }
    this.duplicates = 0;
    if (this.mode === FAST && !this.sack) {
      // Partial acknowledgment: the next segment is lost too (RFC 6582 section 3.2 step 3).
      this.duplicateBytes = Math.max(this.duplicateBytes - Math.max(bytes - this.mss, 0), 0);
      this.sent.loseFirst(this.mss);
      this.urgent = true;
    }
    return false;
  }

  /** RFC 6298 section 5.4 to 5.6. `srtt`: as in `rack.window`. */
  timeout(una: Seq, nxt: Seq, srtt: Millis, now: Millis): void {
    const { sent, rack } = this;
    if (this.mode !== LOSS) this.suspect(una);
    // RFC 5682 section 3. During recovery the timer waits for what was lost before; and without SACK an acknowledgment of
    // what follows says nothing, for the peer may have held it all along.
    rack.suspect = this.sack && (this.mode === OPEN || rack.suspect > 0) ? sent.order : 0;
    // What the peer reported it may have thrown away: then its first byte would be acknowledged (RFC 2018 section 8).
    if (sent.head?.state === HELD) sent.renege();
    if (this.sack) rack.timeout(sent, this.mss, rack.window(sent, this.mss, true, srtt), now);
    else sent.loseAll();
    this.mode = LOSS;
    this.recover = nxt;
    this.duplicates = 0;
    this.duplicateBytes = 0;
    this.urgent = true;
  }

  /** `bytes` were sent again, up to `end`. */
  resent(end: Seq, bytes: number): void {
    if (!this.undoable) return;
    this.undoLeft += bytes;
    this.undoTo = seqMax(this.undoTo, end);
  }

  /** D-SACK: `start` to `end` came twice. True when that was all that was sent again: nothing had been lost. */
  needless(start: Seq, end: Seq): boolean {
    if (!this.undoable || this.undoLeft === 0) return false;
    if (seqLt(start, this.undoFrom) || seqGt(end, this.undoTo)) return false;
    this.undoLeft -= seqDiff(end, start);
    return this.undoLeft <= 0;
  }

  /** May the reduction of the window be taken back? Not when there is another reason for it. */
  get mayUndo(): boolean {
    return this.undoable;
  }

  /** Nothing had been lost; what is still thought to be was late (RFC 4015). */
  undo(una: Seq): void {
    this.undoable = false;
    this.sent.found();
    if (this.mode !== OPEN) this.reset(una);
  }

  /** The window was reduced for another reason. */
  confirm(): void {
    this.undoable = false;
  }

  private suspect(una: Seq): void {
    this.undoable = true;
    this.undoFrom = una;
    this.undoTo = una;
    this.undoLeft = 0;
  }

  private reset(una: Seq): void {
    this.mode = OPEN;
    this.duplicates = 0;
    this.duplicateBytes = 0;
    this.urgent = false;
    this.rack.suspect = 0;
    // Not left behind by 2^31.
    if (seqLt(this.recover, una)) this.recover = ((una - 1) | 0) as Seq;
  }
}
