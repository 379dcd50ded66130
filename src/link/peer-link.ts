/** The link of one peer of a datagram port. */
import { constants } from 'node:os';
import { META_STRIDE } from '../core/index.js';
import type { Block, FrameBatch, LinkHandler } from '../core/index.js';
import type { DatagramPort } from './datagram-port.js';
import { batchOver } from './framing.js';
import { nativeError } from './native-error.js';
import { READY } from './native-hub.js';
import type { NativeHub } from './native-hub.js';
import { NativeOutput } from './native-output.js';
import type { OwnedLink } from './types.js';

/** Batches that are kept for a link that is not started yet; frames beyond are dropped and counted. */
const MAX_WAITING = 16;
const ECONNREFUSED = -constants.errno.ECONNREFUSED;

interface Waiting {
  readonly block: Block;
  readonly meta: Int32Array;
}

export class PeerLink implements OwnedLink {
  readonly kind = 'vfkit';
  readonly name: string;
  readonly output: NativeOutput;
  /** When it was heard of, by the port's count. */
  seen = 0;
  private readonly hub: NativeHub;
  private readonly handle: number;
  private readonly port: DatagramPort;
  private readonly waiting: Waiting[] = [];
  private dropped = 0;
  private rxBatches = 0;
  private handler: LinkHandler | undefined;
  private end: { readonly reason: Error | undefined } | undefined;
  private lastStats: Readonly<Record<string, number>> = {};
  private readonly whenEnded: (() => void)[] = [];

  constructor(hub: NativeHub, handle: number, name: string, port: DatagramPort) {
    this.hub = hub;
    this.handle = handle;
    this.name = name;
    this.port = port;
    this.output = new NativeOutput(hub, handle, (result) => {
      this.broke(result);
    });
  }

  get stats(): Readonly<Record<string, number>> {
    if (this.end !== undefined) return this.lastStats;
    const native = this.hub.poller.linkStats(this.handle);
    const { dropped, rxBatches } = this;
    return { ...native, rxDropped: dropped, rxBatches, txWrites: this.output.batches };
  }

  start(handler: LinkHandler): void {
    this.handler = handler;
    if (this.end !== undefined) {
      const { reason } = this.end;
      queueMicrotask(() => {
        handler.closed(reason);
      });
      return;
    }
    this.hub.watch(
      this.handle,
      (events) => {
        this.ready(events);
      },
      `link ${this.name}`,
    );
    this.output.wake();
    if (this.waiting.length > 0) {
      queueMicrotask(() => {
        this.catchUp();
      });
    }
  }

  close(): void {
    this.finish(undefined);
  }

  onEnd(callback: () => void): void {
    if (this.end !== undefined) queueMicrotask(callback);
    else this.whenEnded.push(callback);
  }

  /** Frames of this peer (none: news only). `seen` grows with every call of the port. */
  deliver(batch: FrameBatch, seen: number): void {
    this.seen = seen;
    if (batch.count === 0 || this.end !== undefined) return;
    if (this.handler !== undefined && this.waiting.length === 0) {
      this.rxBatches++;
      this.handler.frames(batch);
    } else if (this.waiting.length < MAX_WAITING) {
      batch.block.retain();
      this.waiting.push({ block: batch.block, meta: batch.meta.slice(0, batch.count * META_STRIDE) });
    } else {
      this.dropped += batch.count;
    }
  }

  /** A call on the peer failed with a result that ends it. */
  broke(result: number): void {
    this.finish(nativeError('ERR_NETPROXY_LINK', 'the peer is gone', result));
  }

  finish(reason: Error | undefined): void {
    if (this.end !== undefined) return;
    this.lastStats = this.stats;
    this.end = { reason };
    for (const { block } of this.waiting.splice(0)) block.release();
    this.output.close();
    this.port.forget(this.handle);
    // Never from inside the owner's own call: `close` may stand in the middle of a batch.
    queueMicrotask(() => {
      this.handler?.closed(reason);
      for (const callback of this.whenEnded) callback();
    });
  }

  private ready(events: number): void {
    if ((events & READY.error) !== 0) this.broke(ECONNREFUSED);
    else if ((events & READY.write) !== 0 && this.output.drained()) this.handler?.writable();
  }

  private catchUp(): void {
    for (let next = this.waiting[0]; next !== undefined; next = this.waiting[0]) {
      const batch = batchOver(next.block);
      batch.meta.set(next.meta);
      batch.count = next.meta.length / META_STRIDE;
      this.rxBatches++;
      this.handler?.frames(batch);
      // `close` inside has let go of all of them.
      if (this.waiting.shift() !== undefined) next.block.release();
    }
  }
}
