/**
 * Two links of one process, joined back to back: what one sends, the other receives, copied into blocks and delivered
 * later, as from a kernel. Bounded as a stream link is; `pause` plays a peer that does not read.
 */
import { MAX_FRAME, MIN_FRAME, NetproxyError, TX_CHECKSUM } from '../core/index.js';
import type { BlockPool, FrameBatch, LinkHandler } from '../core/index.js';
import { AssemblingOutput } from './assemble.js';
import { batchOver } from './framing.js';
import { HIGH_WATER, LOW_WATER } from './stream-output.js';
import { fillChecksum } from './tx-checksum.js';
import type { OwnedLink } from './types.js';

/** Bytes that wait for a memory link's reader at most; what comes on top is dropped and counted. */
export const MEMORY_QUEUE = 2 * 1024 * 1024;

/** Runs a function soon, but not inside the caller: `setImmediate`, or a test's own loop. */
export type Schedule = (run: () => void) => void;

/** One end of a pair. */
export interface MemoryLink extends OwnedLink {
  /** Stops taking frames from the other end, which is blocked when HIGH_WATER bytes wait. */
  pause(): void;
  resume(): void;
}

export interface MemoryLinkOptions {
  readonly schedule?: Schedule;
  /** Names of the two ends. */
  readonly names?: readonly [string, string];
}

/** Makes the pair. Both ends may use the same pool or not: frames land in the receiver's. */
export function memoryLinkPair(
  pool: BlockPool,
  otherPool: BlockPool = pool,
  options: MemoryLinkOptions = {},
): readonly [MemoryLink, MemoryLink] {
  const schedule = options.schedule ?? setImmediate;
  const [name, otherName] = options.names ?? ['memory a', 'memory b'];
  const a = new End(name, pool, schedule);
  const b = new End(otherName, otherPool, schedule);
  a.peer = b;
  b.peer = a;
  return [a, b];
}

class MemoryOutput extends AssemblingOutput {
  blocked = false;
  readonly owner: End;

  constructor(owner: End, pool: BlockPool) {
    super(pool.memory);
    this.owner = owner;
  }

  protected override frame(length: number, flags: number, gsoSize: number): void {
    if (length < MIN_FRAME || length > MAX_FRAME || gsoSize > 0) {
      this.owner.counters.txRefused++;
      return;
    }
    if ((flags & TX_CHECKSUM) !== 0) fillChecksum(this.bytes, this.view, 0, length);
    this.owner.send(this.bytes, length);
  }

  flush(): void {
    this.owner.peer.wake();
  }
}

class End implements MemoryLink {
  readonly kind = 'memory';
  readonly name: string;
  readonly output: MemoryOutput;
  readonly counters = { rxFrames: 0, rxBatches: 0, txFrames: 0, txBytes: 0, txDropped: 0, txRefused: 0 };
  peer!: End;
  private readonly pool: BlockPool;
  private readonly schedule: Schedule;
  private handler: LinkHandler | undefined;
  /** Frames that wait for this end, and how much of the last block is used. */
  private readonly inbox: FrameBatch[] = [];
  private used = 0;
  private inboxBytes = 0;
  private awake = false;
  private paused = false;
  private ended: { readonly reason: Error | undefined } | undefined;
  private readonly whenEnded: (() => void)[] = [];

  constructor(name: string, pool: BlockPool, schedule: Schedule) {
    this.name = name;
    this.pool = pool;
    this.schedule = schedule;
    this.output = new MemoryOutput(this, pool);
  }

  get stats(): Readonly<Record<string, number>> {
    return { ...this.counters };
  }

  start(handler: LinkHandler): void {
    this.handler = handler;
    if (this.ended === undefined) this.wake();
    else this.schedule(() => this.tellEnd());
  }

  close(): void {
    this.finish(undefined);
    this.schedule(() => this.peer.peerClosed());
  }

  onEnd(callback: () => void): void {
    if (this.ended !== undefined) this.schedule(callback);
    else this.whenEnded.push(callback);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.wake();
  }

  /** Puts a frame into the other end's inbox. */
  send(bytes: Uint8Array, length: number): void {
    const { peer, counters } = this;
    if (this.ended !== undefined) return;
    if (peer.inboxBytes + length > MEMORY_QUEUE) {
      counters.txDropped++;
      return;
    }
    counters.txFrames++;
    counters.txBytes += length;
    peer.take(bytes, length);
    if (peer.inboxBytes >= HIGH_WATER) this.output.blocked = true;
  }

  wake(): void {
    if (this.awake || this.paused || this.inbox.length === 0 || this.handler === undefined) return;
    this.awake = true;
    this.schedule(() => {
      this.awake = false;
      this.deliver();
    });
  }

  private take(bytes: Uint8Array, length: number): void {
    let batch = this.inbox.at(-1);
    const room = batch === undefined ? 0 : batch.block.region.bytes.length - this.used;
    if (batch === undefined || room < length || !batch.add(this.used, length)) {
      const block = this.pool.take();
      batch = batchOver(block);
      this.inbox.push(batch);
      this.used = 0;
      batch.add(0, length);
    }
    batch.bytes.set(bytes.subarray(0, length), this.used);
    this.used += length;
    this.inboxBytes += length;
  }

  private deliver(): void {
    const batches = this.inbox.splice(0);
    for (const batch of batches) {
      for (let i = 0; i < batch.count; i++) this.inboxBytes -= batch.meta[i * 4 + 1]!;
      this.counters.rxFrames += batch.count;
      this.counters.rxBatches++;
      if (this.ended === undefined) this.handler?.frames(batch);
      batch.block.release();
    }
    const { output } = this.peer;
    if (output.blocked && this.inboxBytes <= LOW_WATER) {
      output.blocked = false;
      this.peer.handler?.writable();
    }
  }

  /** What was sent before the other end closed still arrives. */
  private peerClosed(): void {
    if (this.handler !== undefined) this.deliver();
    this.finish(new NetproxyError('ERR_NETPROXY_LINK', 'the peer closed the connection'));
  }

  private finish(reason: Error | undefined): void {
    if (this.ended !== undefined) return;
    this.ended = { reason };
    for (const batch of this.inbox.splice(0)) batch.block.release();
    this.inboxBytes = 0;
    this.output.dispose();
    this.schedule(() => {
      this.tellEnd();
      for (const callback of this.whenEnded) callback();
    });
  }

  private tellEnd(): void {
    const { handler } = this;
    this.handler = undefined;
    handler?.closed(this.ended?.reason);
  }
}
