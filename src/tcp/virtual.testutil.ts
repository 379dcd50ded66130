/** What simulations are made of: seeded randomness, a recognisable stream, events on virtual time. */

/** A seeded generator (mulberry32), 0 to 1. */
export function seeded(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 0x100000000;
  };
}

/** What every test stream repeats; its length is prime, so that no wrap hides in it. */
export const PATTERN = new Uint8Array(65_521);
{
  const random = seeded(7);
  for (let i = 0; i < PATTERN.length; i++) PATTERN[i] = random() * 256;
}

/** The byte at a stream offset of every test stream. */
export function patternAt(offset: number): number {
  return PATTERN[offset % PATTERN.length]!;
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** A binary heap of events; those of one time come in the order they were added. */
export class EventQueue {
  private readonly heap: Event[] = [];
  private order = 0;

  /** When the next event is; Infinity when there is none. */
  next(): number {
    return this.heap[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  add(at: number, run: () => void): void {
    const { heap } = this;
    const event: Event = { at, order: this.order++, run };
    let i = heap.length;
    heap.push(event);
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!before(event, heap[up]!)) break;
      heap[i] = heap[up]!;
      i = up;
    }
    heap[i] = event;
  }

  pop(): Event | undefined {
    const { heap } = this;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
