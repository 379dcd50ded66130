/**
 * Flow sockets owned by the crate: bytes go from the batches they landed in straight to `writev`, and from `readv` straight
 * into the send ring.
 */
import type { HostStream, HostStreamHandler, SendRing, SliceQueue } from '../core/index.js';
import { EAGAIN, ERR, HUP, READ, SLICE_STRIDE, WRITE, errnoName } from './constants.js';
import type { Hub, Watcher } from './hub.js';

/** Slices per `writev` (the kernel takes 1024). */
const MAX_SLICES = 256;
/** Bytes read for one flow in one turn before others get theirs. */
const READ_BUDGET = 256 * 1024;
/** The ring is grown by at least this much before a read, bytes: at first, and for a stream that brings much. */
const LEAST_STEP = 16 * 1024;
const MOST_STEP = 256 * 1024;

/** Source ports below this are never chosen by a kernel. */
const LEAST_SOURCE_PORT = 1024;

/** Scratch that all streams of a hub share: the slices of one `writev`. */
export class StreamScratch {
  readonly slices = new Int32Array(MAX_SLICES * SLICE_STRIDE);
  readonly id: number;
  private endings: NativeStream[] = [];
  private readonly tellEndings = (): void => {
    const { endings } = this;
    this.endings = [];
    for (const stream of endings) stream.tellEnd();
  };

  constructor(hub: Hub) {
    this.id = hub.poller.register(this.slices);
  }

  /** Tells that a stream ended, after the current call; all those of a turn by one microtask, as each costs Node a resource. */
  ended(stream: NativeStream): void {
    if (this.endings.push(stream) === 1) queueMicrotask(this.tellEndings);
  }
}

export class NativeStream implements HostStream, Watcher {
  readonly remote: { readonly host: string; readonly port: number } | undefined;
  private readonly hub: Hub;
  private readonly scratch: StreamScratch;
  private readonly handle: number;
  private handler: HostStreamHandler | undefined;
  /** Where a connect that is under way goes to; 0: connected. */
  private connecting: number;
  private mask = 0;
  /** All that there was is read; epoll tells when there is more. */
  private drained = false;
  private hostEnded = false;
  private shut = false;
  /** What a guest sends in one turn is often less than the ring could take: reads adapt to what came last. */
  private step = LEAST_STEP;

  constructor(
    hub: Hub,
    scratch: StreamScratch,
    handle: number,
    connecting: number,
    remote?: { readonly host: string; readonly port: number },
  ) {
    this.hub = hub;
    this.scratch = scratch;
    this.handle = handle;
    this.connecting = connecting;
    this.remote = remote;
    hub.watchBy(handle, this);
  }

  get local(): { readonly host: string; readonly port: number } | undefined {
    const own = this.hub.poller.address(this.handle, false);
    return own === null ? undefined : { host: own.address, port: own.port };
  }

  /** For people. */
  get what(): string {
    return this.remote === undefined
      ? "a flow's socket"
      : `a connection from ${this.remote.host}:${this.remote.port}`;
  }

  /** Names the owner; before anything can happen. */
  attach(handler: HostStreamHandler): void {
    this.handler = handler;
  }

  send(queue: SliceQueue): number {
    const { hub, scratch, handle } = this;
    let total = 0;
    while (queue.count > 0 && this.handler !== undefined) {
      const count = queue.count < MAX_SLICES ? queue.count : MAX_SLICES;
      let asked = 0;
      for (let i = 0; i < count; i++) {
        const at = i * SLICE_STRIDE;
        const length = queue.lengthAt(i);
        scratch.slices[at] = queue.blockAt(i).region.id;
        scratch.slices[at + 1] = queue.offsetAt(i);
        scratch.slices[at + 2] = length;
        asked += length;
      }
      const n = hub.poller.writev(handle, scratch.id, 0, count);
      if (n < 0 && n !== EAGAIN) {
        this.breaks(n);
        return total;
      }
      const taken = n < 0 ? 0 : n;
      queue.consume(taken);
      total += taken;
      if (taken < asked) {
        this.want(this.mask | WRITE);
        return total;
      }
    }
    if ((this.mask & WRITE) !== 0) this.want(this.mask & ~WRITE);
    return total;
  }

  receive(ring: SendRing): number {
    if (this.handler === undefined || this.hostEnded) return 0;
    if (this.drained) {
      this.want(this.mask | READ);
      return 0;
    }
    const { hub, handle } = this;
    let total = 0;
    while (total < READ_BUDGET) {
      if (ring.room === 0) {
        this.want(this.mask & ~READ);
        return total;
      }
      ring.reserve(this.step);
      const room = ring.writeRoom;
      const first = Math.min(ring.writeContiguous, room);
      const n = hub.poller.readv(handle, ring.region.id, ring.writeOffset, first, 0, room - first);
      if (n === EAGAIN) {
        this.drained = true;
        break;
      }
      if (n < 0) {
        this.breaks(n);
        return total;
      }
      if (n === 0) {
        this.hostEnded = true;
        // Of a stream that is shut already nothing is left: its owner closes it.
        if (!this.shut) this.want(this.mask & ~READ);
        this.scratch.ended(this);
        return total;
      }
      ring.wrote(n);
      total += n;
      if (n < this.step >> 2 && this.step > LEAST_STEP) this.step >>= 1;
      if (n < room) {
        this.drained = true;
        break;
      }
      this.step = Math.min(this.step << 1, MOST_STEP);
    }
    this.want(this.mask | READ);
    return total;
  }

  /** The host's end is told, by the scratch. */
  tellEnd(): void {
    this.handler?.ended();
  }

  shutdown(): void {
    this.shut = true;
    // Both directions have ended: its owner closes it, which says the same.
    if (!this.hostEnded) this.hub.poller.shutdownWrite(this.handle);
  }

  reset(): void {
    if (this.leave()) this.hub.poller.reset(this.handle);
  }

  close(): void {
    if (this.leave()) this.hub.poller.closeHandle(this.handle);
  }

  /** For the hub. */
  ready(events: number): void {
    const { handler } = this;
    if (handler === undefined) return;
    this.drained = false;
    if (this.connecting !== 0) {
      this.decided(events);
      return;
    }
    if ((events & ERR) !== 0) {
      const error = this.hub.poller.soError(this.handle);
      if (error < 0) {
        this.breaks(error);
        return;
      }
    }
    if ((events & WRITE) !== 0) handler.writable();
    if ((events & (READ | HUP)) !== 0 && (this.mask & READ) !== 0) handler.readable();
  }

  private decided(events: number): void {
    const { hub, handle, handler, connecting } = this;
    const error = (events & (ERR | HUP)) === 0 ? 0 : hub.poller.soError(handle);
    // Connected to ourselves: the source port happened to be the target, and nobody listens there.
    const self =
      error === 0 && connecting >= LEAST_SOURCE_PORT && hub.poller.isSelfConnected(handle, connecting) === 1;
    if (error < 0 || self) {
      this.leave();
      if (self) hub.poller.reset(handle);
      else hub.poller.closeHandle(handle);
      handler?.failed(self ? 'ECONNREFUSED' : errnoName(error));
      return;
    }
    this.connecting = 0;
    // What came already is reported when it is wanted.
    this.drained = true;
    handler?.connected();
  }

  /** The connection broke; told after the current call. */
  private breaks(result: number): void {
    const { handler } = this;
    if (!this.leave()) return;
    this.hub.poller.closeHandle(this.handle);
    queueMicrotask(() => handler?.broken(errnoName(result)));
  }

  private want(mask: number): void {
    if (mask === this.mask) return;
    this.mask = mask;
    this.hub.poller.interest(this.handle, mask);
  }

  private leave(): boolean {
    if (this.handler === undefined) return false;
    this.handler = undefined;
    this.hub.unwatch(this.handle);
    return true;
  }
}
