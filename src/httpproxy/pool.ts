/**
 * Connections that stay open between two requests. node:http's own Agent connects for itself and knows sockets only, so this is
 * one that is handed a stream with each request and gets it back.
 *
 * Limits: MAX_FREE_PER_KEY and MAX_FREE connections wait; each for FREE_MILLIS at most.
 */
import { Agent, type ClientRequest } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Cancel, Millis, Scheduler } from '../core/index.js';

export const MAX_FREE_PER_KEY = 32;
export const MAX_FREE = 512;
/** Shorter than servers usually wait: the race for the last moment is lost seldom. */
export const FREE_MILLIS: Millis = 4000;

/** A stream with a request's options on its way to the request. */
interface Handed {
  readonly handed: Duplex;
}

/** Any Duplex does, whatever the types say. */
interface TakesStream {
  onSocket(stream: Duplex): void;
}

/** The Agent of all requests: takes what it is handed. */
class HandOver extends Agent {
  addRequest(request: ClientRequest, options: Handed): void {
    (request as unknown as TakesStream).onSocket(options.handed);
    // Its listeners are there then; whoever had the stream before may have paused it.
    request.once('socket', () => options.handed.resume());
  }
}

interface Free {
  readonly key: string;
  readonly stream: Duplex;
  readonly cancel: Cancel;
  readonly gone: () => void;
}

export class Pool {
  /** For `http.request`, with `handed`. */
  readonly agent: Agent = new HandOver({ keepAlive: true });
  private readonly scheduler: Scheduler;
  private readonly free = new Map<string, Free[]>();
  private count = 0;
  private closed = false;

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
  }

  /** Connections that wait. */
  get size(): number {
    return this.count;
  }

  /** The connection that was used last; undefined where none waits. */
  take(key: string): Duplex | undefined {
    for (;;) {
      const free = this.free.get(key)?.at(-1);
      if (free === undefined) return undefined;
      this.remove(free);
      if (free.stream.destroyed || free.stream.readableEnded) continue;
      return free.stream;
    }
  }

  /** Takes a connection back whose answer was read to its end. */
  put(key: string, stream: Duplex): void {
    if (stream.destroyed || this.closed) {
      stream.destroy();
      return;
    }
    const list = this.free.get(key) ?? [];
    const oldest = list.length >= MAX_FREE_PER_KEY ? list[0] : undefined;
    if (oldest !== undefined) this.drop(oldest);
    if (this.count >= MAX_FREE) this.drop([...this.free.values()][0]![0]!);
    const free: Free = {
      key,
      stream,
      cancel: this.scheduler.after(FREE_MILLIS, () => {
        this.drop(free);
      }),
      // Also bytes that nobody asked for: what they answer is not known.
      gone: () => {
        this.drop(free);
      },
    };
    this.free.set(key, [...(this.free.get(key) ?? []), free]);
    this.count++;
    stream.on('data', free.gone).on('end', free.gone).on('close', free.gone);
    stream.resume();
  }

  /** Closes what waits, and all that comes back. */
  close(): void {
    this.closed = true;
    for (const list of [...this.free.values()]) for (const free of list) this.drop(free);
  }

  private drop(free: Free): void {
    this.remove(free);
    const { stream } = free;
    stream.end(() => void stream.destroy());
  }

  private remove(free: Free): void {
    const list = this.free.get(free.key);
    const rest = list?.filter((one) => one !== free) ?? [];
    if (list === undefined || rest.length === list.length) return;
    this.count--;
    free.cancel();
    free.stream.off('data', free.gone).off('end', free.gone).off('close', free.gone);
    free.stream.pause();
    if (rest.length === 0) this.free.delete(free.key);
    else this.free.set(free.key, rest);
  }
}
