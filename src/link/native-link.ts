/**
 * A link whose descriptor the native layer owns: a TAP, or a stream that was turned into frames. One wake-up takes at most
 * BATCHES_PER_WAKE batches, and no more frames than its handler has time for; epoll is level-triggered and reports the rest
 * after the other descriptors had their turn.
 */
import { constants } from 'node:os';
import { FrameBatch, META_STRIDE, NetproxyError } from '../core/index.js';
import type { Block, LinkHandler } from '../core/index.js';
import { BATCH_FRAMES } from './framing.js';
import { nativeError } from './native-error.js';
import { READY } from './native-hub.js';
import type { LinkPoller, NativeHub } from './native-hub.js';
import { NativeOutput } from './native-output.js';
import type { LinkDeps, OwnedLink } from './types.js';

export const BATCHES_PER_WAKE = 4;
/** The peer broke the framing. */
const EPROTO = -constants.errno.EPROTO;
/** The native layer wants room for the longest frame of a stream, bytes. */
const ROOM = 131_076;
/** A batch of fewer bytes emptied the descriptor: asking again would be a system call for nothing. */
const FULL_ENOUGH = 64 * 1024;

export interface NativeLinkOptions {
  readonly kind: string;
  readonly name: string;
  /** MTU of the interface, bytes; 0 or absent: not known. */
  readonly mtu?: number;
}

export class NativeLink implements OwnedLink {
  readonly kind: string;
  readonly name: string;
  readonly mtu: number | undefined;
  readonly output: NativeOutput;
  private readonly hub: NativeHub;
  private readonly poller: LinkPoller;
  private readonly handle: number;
  private readonly deps: LinkDeps;
  private readonly meta = new Int32Array(BATCH_FRAMES * META_STRIDE);
  private readonly metaId: number;
  /** The block that is filled further, because slices of it are kept, and how much of it is used. */
  private block: Block | undefined;
  private used = 0;
  private batch: FrameBatch | undefined;
  private handler: LinkHandler | undefined;
  private end: { readonly reason: Error | undefined } | undefined;
  private lastStats: Readonly<Record<string, number>> = {};
  private rxBatches = 0;
  /** Frames that the last batch had. */
  private batchFrames = 0;
  private readonly whenEnded: (() => void)[] = [];

  /** Takes the handle over. The pool's memory must be the hub's. */
  constructor(hub: NativeHub, handle: number, options: NativeLinkOptions, deps: LinkDeps) {
    if (deps.pool.memory !== hub.memory) {
      hub.poller.closeHandle(handle);
      throw new NetproxyError('ERR_NETPROXY_STATE', 'a native link needs a pool of native memory');
    }
    this.kind = options.kind;
    this.name = options.name;
    this.hub = hub;
    this.poller = hub.poller;
    this.handle = handle;
    this.deps = deps;
    const { mtu = 0 } = options;
    this.mtu = mtu > 0 ? mtu : undefined;
    this.metaId = hub.poller.register(this.meta);
    this.output = new NativeOutput(hub, handle, (result) => {
      this.broke(result);
    });
    // Silent until `start`.
    this.poller.interest(handle, 0);
  }

  get stats(): Readonly<Record<string, number>> {
    if (this.end !== undefined) return this.lastStats;
    const native = this.poller.linkStats(this.handle);
    return { ...native, rxBatches: this.rxBatches, txWrites: this.output.batches };
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
  }

  close(): void {
    this.finish(undefined);
  }

  pause(): void {
    this.output.reading = false;
  }

  resume(): void {
    this.output.reading = true;
  }

  onEnd(callback: () => void): void {
    if (this.end !== undefined) queueMicrotask(callback);
    else this.whenEnded.push(callback);
  }

  private ready(events: number): void {
    if ((events & READY.write) !== 0 && this.output.drained()) this.handler?.writable();
    if ((events & ~READY.write) === 0) return;
    let left = this.handler?.quota?.() ?? BATCH_FRAMES * BATCHES_PER_WAKE;
    for (let i = 0; i < BATCHES_PER_WAKE && left > 0 && this.end === undefined; i++) {
      if (!this.receive(Math.min(left, BATCH_FRAMES)) || !this.output.reading) return;
      left -= this.batchFrames;
    }
  }

  /** Reads a batch of at most `most` frames; false when there is nothing more for now. */
  private receive(most: number): boolean {
    const block = (this.block ??= this.deps.pool.take());
    const { id, bytes } = block.region;
    const count = this.poller.rxBatch(this.handle, id, this.used, bytes.length, this.metaId, most);
    if (count <= 0) {
      this.letGo(block);
      if (count < 0) this.broke(count);
      return false;
    }
    const batch = (this.batch ??= new FrameBatch(block, this.meta));
    batch.over(block, count);
    this.rxBatches++;
    this.batchFrames = count;
    const last = (count - 1) * META_STRIDE;
    const start = this.used;
    const end = this.meta[last]! + this.meta[last + 1]!;
    // The next batch begins at an address that is fit for a TAP's alignment.
    this.used = (end + 15) & ~15;
    this.handler?.frames(batch);
    if (this.end === undefined) this.letGo(block);
    return end - start >= FULL_ENOUGH || count >= most;
  }

  /** Keeps a block only while somebody has slices of it and it has room. */
  private letGo(block: Block): void {
    if (block.refs > 1 && block.region.bytes.length - this.used >= ROOM) return;
    block.release();
    this.block = undefined;
    this.used = 0;
  }

  private broke(result: number): void {
    if (this.end !== undefined) return;
    const broken = result === EPROTO;
    const error = nativeError(broken ? 'ERR_NETPROXY_PROTOCOL' : 'ERR_NETPROXY_LINK', '', result);
    if (broken) {
      this.deps.logger.warn(`link ${this.name}: ${error.message}; connection closed`, { kind: this.kind });
    }
    this.finish(error);
  }

  private finish(reason: Error | undefined): void {
    if (this.end !== undefined) return;
    this.lastStats = this.stats;
    this.end = { reason };
    this.hub.unwatch(this.handle);
    this.poller.closeHandle(this.handle);
    this.poller.unregister(this.metaId);
    this.output.close();
    this.block?.release();
    this.block = undefined;
    // Never from inside the owner's own call: `close` may stand in the middle of a batch.
    queueMicrotask(() => {
      this.handler?.closed(reason);
      for (const callback of this.whenEnded) callback();
    });
  }
}
