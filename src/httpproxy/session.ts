/** One connection of a guest: its requests one after the other, and the upstream connections that belong to it alone. */
import type { Duplex } from 'node:stream';
import type { Cancel, Millis, Scheduler } from '../core/index.js';
import type { Host } from './host.js';
import { type Destination, type Standing, standingFor } from './connector.js';
import type { Problem } from './problem.js';
import type { Client } from './types.js';
import type { Upstream } from './upstream.js';

/** Requests that wait behind the first; a guest that sends more is not read meanwhile. */
export const MAX_PIPELINED = 16;

/** Where an intercepted connection wanted to go; the policy let it. */
export interface Original {
  readonly host: Host & { readonly kind: 'ipv4' };
  readonly port: number;
}

export class Session {
  readonly stream: Duplex;
  readonly client: Client;
  /** Undefined: the guest speaks to the proxy as such. */
  readonly original: Original | undefined;
  /** Upstream connections whose authentication is the connection's own (NTLM, Negotiate), by what they lead to. */
  private readonly pinned = new Map<string, Duplex>();
  /** Reached before the guest's connection was taken; for its first request. */
  standing: Standing | undefined;
  /** What came makes no sense: whatever is not wholly here never will be. */
  broken: Problem | undefined;
  /** Nothing is served any more: the answer that ends the connection was given. */
  over = false;
  private readonly watchers = new Set<(problem: Problem) => void>();
  private tail: Promise<void> = Promise.resolve();
  private waiting = 0;
  private lastUse: Millis;
  private cancelIdle: Cancel;
  private readonly scheduler: Scheduler;
  private readonly keepAlive: Millis;
  private readonly onIdle: () => void;

  constructor(
    stream: Duplex,
    client: Client,
    original: Original | undefined,
    time: { readonly scheduler: Scheduler; readonly keepAlive: Millis; readonly onIdle: () => void },
  ) {
    this.stream = stream;
    this.client = client;
    this.original = original;
    this.scheduler = time.scheduler;
    this.keepAlive = time.keepAlive;
    this.onIdle = time.onIdle;
    this.lastUse = this.scheduler.now();
    this.cancelIdle = this.scheduler.after(this.keepAlive, () => {
      this.look();
    });
    stream.once('close', () => {
      this.cancelIdle();
      this.unpin();
    });
  }

  /** Requests under way or waiting. */
  get busy(): boolean {
    return this.waiting > 0;
  }

  /** Runs when all before it are done. `work` must not reject. */
  enqueue(work: () => Promise<void>): void {
    this.waiting++;
    if (this.waiting > MAX_PIPELINED) this.stream.pause();
    this.tail = this.tail.then(work).then(() => {
      this.waiting--;
      this.lastUse = this.scheduler.now();
      if (this.waiting === MAX_PIPELINED && !this.stream.destroyed) this.stream.resume();
    });
  }

  /** Tells whoever waits for the rest of a request that there is none. */
  breaks(problem: Problem): void {
    this.broken = problem;
    for (const watcher of [...this.watchers]) watcher(problem);
  }

  /** Calls back when the rest of a request will not come; until the returned function is called. */
  onBroken(watcher: (problem: Problem) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /** No more for being idle: it is a tunnel now. */
  leave(): void {
    this.cancelIdle();
    this.unpin();
  }

  /** Keeps an upstream connection for this guest's connection alone. */
  pin(key: string, stream: Duplex): void {
    this.pinned.get(key)?.destroy();
    this.pinned.set(key, stream);
    stream.once('close', () => {
      if (this.pinned.get(key) === stream) this.pinned.delete(key);
    });
    if (this.stream.destroyed) this.unpin();
  }

  takePinned(key: string): Duplex | undefined {
    const stream = this.pinned.get(key);
    this.pinned.delete(key);
    return stream?.destroyed === true || stream?.readableEnded === true ? undefined : stream;
  }

  /** What stands already, where it leads there; otherwise nobody needs it any more. */
  takeStanding(upstream: Upstream, destination: Destination): Duplex | undefined {
    const { standing } = this;
    this.standing = undefined;
    return standing === undefined ? undefined : standingFor(standing, upstream, destination, this.original);
  }

  private unpin(): void {
    this.standing?.stream.destroy();
    this.standing = undefined;
    for (const stream of this.pinned.values()) stream.destroy();
    this.pinned.clear();
  }

  private look(): void {
    const left = this.lastUse + this.keepAlive - this.scheduler.now();
    if (!this.busy && left <= 0) {
      this.onIdle();
      this.stream.destroy();
      return;
    }
    this.cancelIdle = this.scheduler.after(Math.max(left, 1000), () => {
      this.look();
    });
  }
}
