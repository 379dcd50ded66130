/**
 * Whose time it is: what each guest costs this process, and how much of that it may have while others want some, too.
 *
 * Theory of operation. At any moment one port pays, or nobody: whoever does something for a guest says so (`pay`), and the
 * time until somebody else pays is charged to it; what a guest causes elsewhere (a socket that is opened and closed in
 * other calls) is charged by what it usually costs (`charge`). What was charged fades with FADE, so that a port's `recent` is its part
 * of the last moments. A port is over its share when it had more than the mean of those that are busy, and a bit, and the
 * others are busy at all. Whose bytes cost far more than those of the others (frames of one byte, of an attack) is over with less than the
 * mean: half of the time spent on such would halve what the others move. Who is not over is served as it comes. Who is over comes last: it gets a LITTLE when nobody else
 * did anything since it asked the last time (`mayGo`), so that no time is left unused, and nothing otherwise: its frames stay
 * in the kernel's queue, and what is too much is lost there, at no cost to others.
 *
 * Time is in whole microseconds, and wraps: small integers cost no memory.
 */
import type { Scheduler } from '../core/index.js';
import type { StackPort } from './port.js';

/** Reads a clock: whole µs from 0 to CLOCK_WRAP - 1, and from 0 again. */
export type Micros = () => number;
/** Where the clock of `Clock.micros` begins again, µs. */
export const CLOCK_WRAP = 1_000_000_000;

/** What was charged fades to a third in this time, µs (a power of two): some rounds of the event loop under load. */
const FADE_BITS = 14;
const FADE = 1 << FADE_BITS;
/** More counts as this much: its product with FADE is a small integer still. */
const MOST_RECENT = 0xffff;
/** How often it fades, µs: looking at all ports costs. */
const REFRESH = 1000;
/** A port counts as busy from here on, and all others together as wanting their share, µs: a fiftieth and a tenth of FADE. */
const BUSY = 320;
const WANTED = 1600;
/** How much of the mean is over, in eighths: a bit more than it, as those that are alike must not take turns at being over. */
const MARGIN = 9;
/** The same for one whose bytes cost more than DEAR times as much as those of the others. */
const DEAR_MARGIN = 4;
const DEAR = 4;
/** What a wake-up of a link may take, µs; and for one that is over its share. */
export const WAKE = 500;
export const LITTLE = 100;
/** Others did nothing worth waiting for, µs. */
const NOTHING = 2;
/** What a frame is thought to cost at first, and what the cheapest costs, in sixteenths of a µs. */
const FIRST_COST = 32;
const LEAST_COST = 4;
/** Counters of µs wrap here. */
const MASK = 0x3fffffff;

/** What one port cost. Whole µs unless said. */
export class Use {
  /** Of late: it fades. */
  recent = 0;
  /** All of it; wraps. */
  spent = 0;
  /** KiB that its link moved of late, fading as `recent`; all bytes of its link when that was counted last. */
  moved = 0;
  bytesThen = 0;
  /** How much of the mean is over for this port, in eighths. */
  margin = MARGIN;
  /** What a frame of this port costs, in sixteenths of a µs. */
  cost = FIRST_COST;
  /** Stands in the list of those that cost something of late. */
  listed = false;
  /** `spent`, the work of all, and the port's frames when it asked the last time. */
  spentThen = 0;
  workThen = 0;
  spentBefore = 0;
  framesBefore = 0;
}

export class Shares {
  private readonly clock: Micros;
  /** Those that cost something of late. */
  private readonly ports: StackPort[] = [];
  private payer: StackPort | undefined;
  private since = 0;
  private refreshed = 0;
  /** `recent` of all together, and how many are busy. */
  private total = 0;
  private busy = 0;
  /** `moved` of all together, and whether it was counted the last time. */
  private moved = 0;
  private compared = false;
  /** What was ever charged to anybody; wraps. */
  private work = 0;

  constructor(clock: Micros) {
    this.clock = clock;
    this.refreshed = clock();
  }

  /** From now on the time is this port's; undefined: nobody's. */
  pay(port: StackPort | undefined): void {
    if (port === this.payer) return;
    const now = this.clock();
    this.settle(now);
    this.payer = port;
    this.since = now;
  }

  /** Charges what a port causes elsewhere, whole µs. */
  charge(port: StackPort, micros: number): void {
    const { use } = port;
    use.spent = (use.spent + micros) & MASK;
    use.recent += micros;
    this.work = (this.work + micros) & MASK;
    this.total += micros;
    if (use.listed) return;
    use.listed = true;
    this.ports.push(port);
  }

  /** How many frames a port's link may read at this wake-up; 0: others come first, ask again at the next. */
  quota(port: StackPort): number {
    const { use, counters } = port;
    const frames = counters.framesIn - use.framesBefore;
    if (frames > 0) {
      const each = Math.floor((((use.spent - use.spentBefore) & MASK) * 16) / frames);
      use.cost = Math.max(LEAST_COST, (use.cost + each) >> 1);
      use.framesBefore = counters.framesIn;
      use.spentBefore = use.spent;
    }
    if (!this.mayGo(port)) return 0;
    const time = this.isOver(port) ? LITTLE : WAKE;
    return Math.max(1, Math.floor((time * 16) / use.cost));
  }

  /** May something be done for this port now? Not when it is over its share and others did something since it was asked last. */
  mayGo(port: StackPort): boolean {
    const { use } = port;
    const own = (use.spent - use.spentThen) & MASK;
    const all = (this.work - use.workThen) & MASK;
    use.spentThen = use.spent;
    use.workThen = this.work;
    return !this.isOver(port) || all - own <= NOTHING;
  }

  /** Had this port more than its share of late, while others wanted theirs? */
  isOver({ use }: StackPort): boolean {
    return (
      use.recent > BUSY &&
      this.total - use.recent > WANTED &&
      use.recent * Math.max(1, this.busy) * 8 > this.total * use.margin
    );
  }

  /** A port has gone. */
  forget(port: StackPort): void {
    if (this.payer === port) this.payer = undefined;
    const at = this.ports.indexOf(port);
    if (at < 0) return;
    this.ports.splice(at, 1);
    this.total -= port.use.recent;
    this.moved -= port.use.moved;
  }

  private settle(now: number): void {
    const { payer } = this;
    if (payer !== undefined) {
      const spent = between(this.since, now);
      if (spent > 0) this.charge(payer, spent);
    }
    const passed = between(this.refreshed, now);
    if (passed >= REFRESH) this.fade(passed, now);
  }

  /** A smaller margin for those whose bytes cost far more than the others'. */
  private judge(): void {
    const { ports, compared } = this;
    // One alone has nobody to be compared with, and what it moved meanwhile says nothing later.
    this.compared = ports.length > 1;
    if (!this.compared) return;
    for (let i = 0; i < ports.length; i++) {
      const moved = countMoved(ports[i]!);
      if (compared) this.moved += moved;
      else ports[i]!.use.moved = 0;
    }
    for (let i = 0; i < ports.length; i++) {
      const { use } = ports[i]!;
      const dear = use.moved * DEAR * (this.total - use.recent) < (this.moved - use.moved) * use.recent;
      use.margin = dear ? DEAR_MARGIN : MARGIN;
    }
  }

  private fade(passed: number, now: number): void {
    const { ports } = this;
    const share = Math.min(passed, FADE);
    this.judge();
    this.refreshed = now;
    this.total = 0;
    this.busy = 0;
    this.moved = 0;
    let kept = 0;
    for (let i = 0; i < ports.length; i++) {
      const port = ports[i]!;
      const { use } = port;
      const recent = Math.min(use.recent, MOST_RECENT);
      use.recent = recent - ((recent * share) >> FADE_BITS);
      use.listed = use.recent > 0;
      use.moved = use.listed ? use.moved - ((use.moved * share) >> FADE_BITS) : 0;
      if (!use.listed) continue;
      this.total += use.recent;
      this.moved += use.moved;
      if (use.recent > BUSY) this.busy++;
      ports[kept++] = port;
    }
    ports.length = kept;
  }
}

/** Counts what a port's link moved since the last time, KiB. */
function countMoved({ use, counters }: StackPort): number {
  const bytes = counters.bytesIn + counters.bytesOut;
  const kib = Math.trunc((bytes - use.bytesThen) / 1024);
  use.bytesThen += kib * 1024;
  const counted = Math.min(kib, MOST_RECENT - use.moved);
  use.moved += counted;
  return counted;
}

function between(from: number, to: number): number {
  return to >= from ? to - from : to - from + CLOCK_WRAP;
}

/** The clock of a scheduler, as `Shares` reads it. */
export function microsOf(scheduler: Scheduler): Micros {
  return scheduler.micros === undefined
    ? () => (Math.floor(scheduler.now()) % (CLOCK_WRAP / 1000)) * 1000
    : () => scheduler.micros!();
}
