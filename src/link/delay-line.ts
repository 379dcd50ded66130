/** Frames that are on their way: a wire with a rate, and a queue ordered by the time of arrival. */
import type { Clock, Millis } from '../core/index.js';

export interface DelayedFrame {
  readonly bytes: Uint8Array;
  readonly flags: number;
  readonly gsoSize: number;
}

export interface DelayLineOptions {
  /** Bits per second, 0: unlimited. */
  readonly rate: number;
  /** Bytes on their way at most. */
  readonly limit: number;
  readonly clock: Clock;
  readonly schedule: ((run: () => void, ms: number) => () => void) | undefined;
}

interface Entry {
  readonly due: Millis;
  readonly serial: number;
  readonly frame: DelayedFrame;
}

/** Preamble, frame check sequence and gap: what a frame takes on an Ethernet wire besides its bytes. */
const WIRE_OVERHEAD = 24;

const later = (run: () => void, ms: number): (() => void) => {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
};

export class DelayLine {
  private readonly options: DelayLineOptions;
  private readonly arrive: (frames: readonly DelayedFrame[]) => void;
  /** A binary heap by due time, then order of sending. */
  private readonly heap: Entry[] = [];
  private serial = 0;
  private waiting = 0;
  /** When the wire is free again. */
  private wireFree = 0;
  private cancel: (() => void) | undefined;
  private armedFor = Number.POSITIVE_INFINITY;
  private closed = false;

  constructor(options: DelayLineOptions, arrive: (frames: readonly DelayedFrame[]) => void) {
    this.options = options;
    this.arrive = arrive;
  }

  /** Bytes on their way. */
  get bytes(): number {
    return this.waiting;
  }

  /** A frame without delay may pass by: there is no rate that it would have to obey. */
  get free(): boolean {
    return this.options.rate === 0;
  }

  /** Sends a frame that arrives `delay` ms after its last bit left; false: the queue is full, it is dropped. */
  add(frame: DelayedFrame, delay: Millis): boolean {
    const { rate, limit, clock } = this.options;
    if (this.closed || this.waiting + frame.bytes.length > limit) return false;
    const now = clock.now();
    if (rate > 0) {
      const time = ((frame.bytes.length + WIRE_OVERHEAD) * 8000) / rate;
      this.wireFree = Math.max(this.wireFree, now) + time;
    }
    this.waiting += frame.bytes.length;
    this.push({ due: (rate > 0 ? this.wireFree : now) + delay, serial: this.serial++, frame });
    this.arm(now);
    return true;
  }

  close(): void {
    this.closed = true;
    this.cancel?.();
    this.cancel = undefined;
    this.heap.length = 0;
    this.waiting = 0;
  }

  private arm(now: Millis): void {
    const first = this.heap[0];
    if (first === undefined || this.closed || first.due >= this.armedFor) return;
    this.cancel?.();
    this.armedFor = first.due;
    this.cancel = (this.options.schedule ?? later)(
      () => {
        this.run();
      },
      Math.max(0, first.due - now),
    );
  }

  private run(): void {
    this.cancel = undefined;
    this.armedFor = Number.POSITIVE_INFINITY;
    const now = this.options.clock.now();
    const due: DelayedFrame[] = [];
    while (this.heap.length > 0 && this.heap[0]!.due <= now) {
      const { frame } = this.pop();
      this.waiting -= frame.bytes.length;
      due.push(frame);
    }
    if (due.length > 0) this.arrive(due);
    this.arm(now);
  }

  private push(entry: Entry): void {
    const { heap } = this;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (before(heap[parent]!, entry)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  private pop(): Entry {
    const { heap } = this;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (before(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.due < b.due || (a.due === b.due && a.serial < b.serial);
}
