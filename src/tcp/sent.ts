/**
 * What is in the network, from SND.UNA to SND.NXT without a gap, in runs of bytes that left at one time (RFC 8985
 * section 5.2 keeps the same of each segment). A burst is one run until an acknowledgment or a retransmission cuts it,
 * so a fast flow costs one object a batch and a lossless one costs nothing to acknowledge.
 */
import { seqDiff, seqGt, seqLe, seqLt, seqMax, seqMin, type Millis, type Seq } from '../core/index.js';

/** Sent, and nothing heard of it. */
export const OUT = 0;
/** The peer holds it (SACK). */
export const HELD = 1;
/** Taken for lost, and not sent again since. */
export const LOST = 2;

/** Most runs: what goes beyond is not cut by SACK, and new bursts are told as one. */
export const MAX_RUNS = 2048;

/** Most runs kept for reuse, by all connections together. */
const MAX_SPARES = 4096;

export class Run {
  start: Seq;
  end: Seq;
  /** When it left last; and which of all departures that was, for clocks may be coarser than a round trip. */
  sentAt: Millis;
  order: number;
  state: typeof OUT | typeof HELD | typeof LOST = OUT;
  /** It left more than once; more than twice. */
  again = false;
  often = false;
  previous: Run | undefined = undefined;
  next: Run | undefined = undefined;

  constructor(start: Seq, end: Seq, sentAt: Millis, order: number) {
    this.start = start;
    this.end = end;
    this.sentAt = sentAt;
    this.order = order;
  }

  get length(): number {
    return seqDiff(this.end, this.start);
  }
}

/**
 * Runs that are not used, by `next`: acknowledgments come in bursts, and free as many as are sent then. One for all connections,
 * so that an idle one keeps none.
 */
class Spares {
  private first: Run | undefined;
  private count = 0;

  keep(run: Run): void {
    if (this.count === MAX_SPARES) return;
    run.previous = undefined;
    run.next = this.first;
    this.first = run;
    this.count++;
  }

  take(start: Seq, end: Seq, sentAt: Millis, order: number): Run {
    const { first } = this;
    if (first === undefined) return new Run(start, end, sentAt, order);
    this.first = first.next;
    this.count--;
    first.next = undefined;
    first.start = start;
    first.end = end;
    first.sentAt = sentAt;
    first.order = order;
    first.state = OUT;
    first.again = false;
    first.often = false;
    return first;
  }
}

const spares = new Spares();

/** Is told of every run, or part of one up to `end`, that was not known to have arrived until now, in ascending order. */
export interface Arrivals {
  arrived(run: Run, end: Seq): void;
}

export class SentQueue {
  head: Run | undefined;
  tail: Run | undefined;
  /** Bytes of sequence space held by the peer, and in how many ranges; and lost. */
  held = 0;
  heldRanges = 0;
  lost = 0;
  runs = 0;
  /** Departures so far. */
  order = 0;
  /** The lost run with the lowest sequence number. */
  firstLost: Run | undefined;

  /** `start` to `end` leaves for the first time. */
  append(start: Seq, end: Seq, now: Millis): void {
    const { tail } = this;
    if (tail?.state === OUT && !tail.again && this.joins(tail, now)) tail.end = end;
    else this.insertAfter(tail, spares.take(start, end, now, ++this.order));
  }

  /** SND.UNA has moved to `una`. */
  release(una: Seq, arrivals: Arrivals): void {
    let run = this.head;
    while (run !== undefined && seqLe(run.end, una)) {
      const { next } = run;
      if (run.state !== HELD) arrivals.arrived(run, run.end);
      else this.heldRanges--;
      if (run.state !== OUT) this.settle(run, run.length);
      if (run === this.firstLost) this.firstLost = nextLost(next);
      this.runs--;
      spares.keep(run);
      run = next;
    }
    this.head = run;
    if (run === undefined) {
      this.tail = undefined;
      return;
    }
    run.previous = undefined;
    const n = seqDiff(una, run.start);
    if (n <= 0) return;
    if (run.state !== HELD) arrivals.arrived(run, una);
    this.settle(run, n);
    run.start = una;
  }

  /** The peer holds `start` to `end`; returns how many bytes of that are news. */
  hold(start: Seq, end: Seq, arrivals: Arrivals): number {
    let news = 0;
    let run = this.head;
    while (run !== undefined && seqLe(run.end, start)) run = run.next;
    while (run !== undefined && seqLt(run.start, end)) {
      if (run.state !== HELD) {
        const part = this.cut(run, seqMax(run.start, start), seqMin(run.end, end), false);
        if (part === undefined) return news;
        news += part.length;
        arrivals.arrived(part, part.end);
        run = this.become(part, HELD);
      }
      run = run.next;
    }
    return news;
  }

  /** Takes the whole run for lost. */
  lose(run: Run): void {
    this.become(run, LOST);
  }

  /** Takes the first `length` bytes for lost, if they are out. */
  loseFirst(length: number): void {
    const { head } = this;
    if (head?.state !== OUT) return;
    this.lose(this.cut(head, head.start, seqMin(head.end, ((head.start + length) | 0) as Seq), true)!);
  }

  /** Takes for lost everything that the peer does not hold. */
  loseAll(): void {
    for (let run = this.head; run !== undefined; run = run.next) if (run.state === OUT) this.lose(run);
  }

  /** Nothing is lost after all. */
  found(): void {
    for (let run = this.firstLost; run !== undefined; run = run.next) if (run.state === LOST) run.state = OUT;
    this.lost = 0;
    this.firstLost = undefined;
  }

  /** The peer is no longer believed to hold anything (RFC 2018 section 8): all that is lost. */
  renege(): void {
    for (let run = this.head; run !== undefined; run = run.next)
      if (run.state === HELD) {
        this.heldRanges--;
        this.become(run, LOST);
      }
  }

  /** `length` bytes from `from` on leave again; they lie in `run`. */
  resend(run: Run, from: Seq, length: number, now: Millis): void {
    const part = this.cut(run, from, ((from + length) | 0) as Seq, true)!;
    if (part.state === LOST) {
      this.settle(part, part.length);
      part.state = OUT;
      if (part === this.firstLost) this.firstLost = nextLost(part.next);
    }
    part.often = part.again;
    part.again = true;
    const { previous } = part;
    if (
      previous?.state === OUT &&
      previous.again &&
      previous.often === part.often &&
      this.joins(previous, now)
    ) {
      this.join(previous, part);
      return;
    }
    part.sentAt = now;
    part.order = ++this.order;
  }

  /** May what leaves now be told together with a run? It may if that was the last to leave, or when there are too many. */
  private joins(run: Run, now: Millis): boolean {
    if (run.order === this.order && run.sentAt === now) return true;
    if (this.runs < MAX_RUNS) return false;
    run.sentAt = now;
    run.order = ++this.order;
    return true;
  }

  /** Cuts `from` to `to` out of a run that holds them; undefined when there are too many already. */
  private cut(run: Run, from: Seq, to: Seq, must: boolean): Run | undefined {
    if (run.start === from && run.end === to) return run;
    if (!must && this.runs >= MAX_RUNS) return undefined;
    let part = run;
    if (seqGt(from, run.start)) part = this.split(run, from);
    if (seqLt(to, part.end)) this.split(part, to);
    return part;
  }

  /** Cuts a run in two at `at`; returns the second. */
  private split(run: Run, at: Seq): Run {
    const rest = spares.take(at, run.end, run.sentAt, run.order);
    rest.state = run.state;
    rest.again = run.again;
    rest.often = run.often;
    run.end = at;
    this.insertAfter(run, rest);
    return rest;
  }

  /** Changes what a run is; held neighbours become one. Returns the run that it is part of then. */
  private become(run: Run, state: typeof HELD | typeof LOST): Run {
    this.settle(run, run.length);
    if (run === this.firstLost) this.firstLost = nextLost(run.next);
    run.state = state;
    if (state === LOST) {
      this.lost += run.length;
      if (this.firstLost === undefined || seqLt(run.start, this.firstLost.start)) this.firstLost = run;
      return run;
    }
    this.held += run.length;
    this.heldRanges++;
    const { previous, next } = run;
    if (next?.state === HELD) this.joinHeld(run, next);
    if (previous?.state !== HELD) return run;
    this.joinHeld(previous, run);
    return previous;
  }

  private joinHeld(a: Run, b: Run): void {
    this.heldRanges--;
    this.join(a, b);
  }

  /** Makes one run of two neighbours. */
  private join(a: Run, b: Run): void {
    a.end = b.end;
    a.next = b.next;
    if (b.next === undefined) this.tail = a;
    else b.next.previous = a;
    this.runs--;
  }

  private insertAfter(before: Run | undefined, run: Run): void {
    run.previous = before;
    run.next = before?.next;
    if (before === undefined) this.head = run;
    else before.next = run;
    if (run.next === undefined) this.tail = run;
    else run.next.previous = run;
    this.runs++;
  }

  /** `n` bytes of the run are no longer what they were. */
  private settle(run: Run, n: number): void {
    if (run.state === HELD) this.held -= n;
    else if (run.state === LOST) this.lost -= n;
  }
}

function nextLost(from: Run | undefined): Run | undefined {
  let run = from;
  while (run !== undefined && run.state !== LOST) run = run.next;
  return run;
}
