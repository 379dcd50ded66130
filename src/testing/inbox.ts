/** Things that arrive and people who wait for them, with deadlines on the network's scheduler. */
import type { Millis, Scheduler } from '../core/index.js';
import { GuestError } from './guest-error.js';

interface Waiter<T> {
  readonly wants: (item: T) => boolean;
  readonly resolve: (item: T) => void;
  readonly reject: (error: Error) => void;
  readonly cancel: () => void;
}

/** A bounded queue; when it is full the oldest item goes. */
export class Inbox<T> {
  private readonly scheduler: Scheduler;
  private readonly limit: number;
  private readonly items: T[] = [];
  private readonly waiters = new Set<Waiter<T>>();
  private failure: Error | undefined;
  /** Items that nobody took before the queue was full. */
  dropped = 0;

  /** @param limit most items that wait */
  constructor(scheduler: Scheduler, limit: number) {
    this.scheduler = scheduler;
    this.limit = limit;
  }

  /** Items that wait. */
  get size(): number {
    return this.items.length;
  }

  push(item: T): void {
    for (const waiter of this.waiters) {
      if (!waiter.wants(item)) continue;
      this.forget(waiter);
      waiter.resolve(item);
      return;
    }
    if (this.failure !== undefined || this.limit === 0) return;
    if (this.items.length >= this.limit) {
      this.items.shift();
      this.dropped++;
    }
    this.items.push(item);
  }

  /**
   * The first item that fits, now or later; it leaves the queue.
   *
   * @param timeout ms; Infinity for no limit
   * @throws GuestError ETIMEDOUT, saying `what` was waited for
   */
  take(what: string, timeout: Millis, wants: (item: T) => boolean = () => true): Promise<T> {
    const at = this.items.findIndex(wants);
    if (at >= 0) return Promise.resolve(this.items.splice(at, 1)[0]!);
    if (this.failure !== undefined) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      const timer =
        timeout === Number.POSITIVE_INFINITY
          ? (): void => undefined
          : this.scheduler.after(timeout, () => {
              this.waiters.delete(waiter);
              reject(new GuestError('ETIMEDOUT', `${what}: nothing came within ${timeout} ms`));
            });
      const waiter: Waiter<T> = { wants, resolve, reject, cancel: timer };
      this.waiters.add(waiter);
    });
  }

  /** Everything that waits; the queue is empty afterwards. */
  drain(): T[] {
    return this.items.splice(0);
  }

  /** Rejects everybody who waits for an item now. */
  interrupt(error: Error): boolean {
    const waiters = [...this.waiters];
    for (const waiter of waiters) {
      this.forget(waiter);
      waiter.reject(error);
    }
    return waiters.length > 0;
  }

  /** Nothing comes any more. What waits can still be taken. */
  close(error: Error): void {
    this.failure ??= error;
    this.interrupt(error);
  }

  private forget(waiter: Waiter<T>): void {
    this.waiters.delete(waiter);
    waiter.cancel();
  }
}
