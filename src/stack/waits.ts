/** Endpoints of one port that wait to be served, in two queues. */
import type { TcpEndpoint } from './tcp-endpoint.js';

/** First in, first out; its memory is kept. */
export class Queue<T extends object> {
  private slots: (T | undefined)[] = new Array<T | undefined>(16).fill(undefined);
  private head = 0;
  size = 0;

  push(entry: T): void {
    if (this.size === this.slots.length) this.grow();
    this.slots[(this.head + this.size) & (this.slots.length - 1)] = entry;
    this.size++;
  }

  shift(): T {
    const entry = this.slots[this.head]!;
    this.slots[this.head] = undefined;
    this.head = (this.head + 1) & (this.slots.length - 1);
    this.size--;
    return entry;
  }

  private grow(): void {
    const { slots, head } = this;
    this.slots = [...slots.slice(head), ...slots.slice(0, head), ...slots.map(() => undefined)];
    this.head = 0;
  }
}

export class Waits {
  /** Something happened to them. */
  readonly fresh = new Queue<TcpEndpoint>();
  /** They used up their share and have more to do. */
  readonly rest = new Queue<TcpEndpoint>();
  /** The port stands in the line of those that wait. */
  inLine = false;

  get size(): number {
    return this.fresh.size + this.rest.size;
  }
}
