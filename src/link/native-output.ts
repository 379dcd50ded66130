/**
 * The sending side of a native link: headers stand in a registered arena, payload stays where it is, one call sends all
 * frames of a flush, filling checksums and cutting super-segments on the way. What the socket does not take waits
 * natively, up to the native limit (1 MiB); then frames are dropped and counted there.
 */
import { MAX_FRAME, MIN_FRAME, NetproxyError } from '../core/index.js';
import type { FrameOutput, Offloads, Region } from '../core/index.js';
import { NATIVE_STRIDE, READY } from './native-hub.js';
import type { NativeHub } from './native-hub.js';

/** Frames per call at most. */
const BATCH = 256;
const ARENA_SIZE = 2 * MAX_FRAME;
/** An IPv4 packet of the largest size in its Ethernet frame. */
const SUPER_SEGMENT = 65_535 + 14;

export class NativeOutput implements FrameOutput {
  readonly offloads: Offloads = { tsoMax: SUPER_SEGMENT };
  batches = 0;
  /** Frames that no link could carry. */
  refused = 0;
  private readonly hub: NativeHub;
  private readonly handle: number;
  private readonly broke: (result: number) => void;
  private readonly arena: Region;
  private readonly descriptors = new Int32Array(BATCH * NATIVE_STRIDE.tx);
  private readonly descriptorsId: number;
  private used = 0;
  private count = 0;
  private pieces = 0;
  private length = 0;
  private isBlocked = false;
  private awake = false;
  private isReading = true;
  private closed = false;

  constructor(hub: NativeHub, handle: number, broke: (result: number) => void) {
    this.hub = hub;
    this.handle = handle;
    this.broke = broke;
    this.arena = hub.memory.allocate(ARENA_SIZE);
    this.descriptorsId = hub.poller.register(this.descriptors);
  }

  get bytes(): Uint8Array {
    return this.arena.bytes;
  }

  get view(): DataView {
    return this.arena.view;
  }

  get blocked(): boolean {
    return this.isBlocked;
  }

  begin(length: number): number {
    if (length > MAX_FRAME) {
      throw new NetproxyError('ERR_NETPROXY_STATE', `a header of ${length} bytes does not fit a frame`);
    }
    // Payload in memory that the native layer does not know is copied behind the header: keep room for it.
    if (this.count === BATCH || this.used + MAX_FRAME > ARENA_SIZE) this.flush();
    const at = this.count * NATIVE_STRIDE.tx;
    const offset = this.used;
    const d = this.descriptors;
    d.fill(0, at + 3, at + NATIVE_STRIDE.tx);
    d[at] = this.arena.id;
    d[at + 1] = offset;
    d[at + 2] = length;
    this.used += length;
    this.length = length;
    this.pieces = 0;
    return offset;
  }

  payload(region: Region, offset: number, length: number): void {
    if (length === 0) return;
    this.length += length;
    if (this.pieces > 1 || this.length > MAX_FRAME) {
      this.length = MAX_FRAME + 1;
      return;
    }
    const at = this.count * NATIVE_STRIDE.tx + 5 + this.pieces * 3;
    this.pieces++;
    const d = this.descriptors;
    d[at + 2] = length;
    if (region.id !== 0) {
      d[at] = region.id;
      d[at + 1] = offset;
      return;
    }
    this.arena.bytes.set(region.bytes.subarray(offset, offset + length), this.used);
    d[at] = this.arena.id;
    d[at + 1] = this.used;
    this.used += length;
  }

  end(flags: number, gsoSize: number): void {
    if (this.length < MIN_FRAME || this.length > MAX_FRAME) {
      this.refused++;
      return;
    }
    const at = this.count * NATIVE_STRIDE.tx;
    this.descriptors[at + 3] = flags;
    this.descriptors[at + 4] = gsoSize;
    this.used = (this.used + 3) & ~3;
    this.count++;
  }

  flush(): void {
    const { count } = this;
    this.count = 0;
    this.used = 0;
    if (count === 0 || this.closed) return;
    this.batches++;
    const waiting = this.hub.poller.txBatch(this.handle, this.descriptorsId, count);
    if (waiting < 0) {
      this.broke(waiting);
    } else if (waiting > 0 && !this.isBlocked) {
      this.isBlocked = true;
      if (this.awake) this.wake();
    }
  }

  /** The link is started: what is asked for from now on. */
  wake(): void {
    this.awake = true;
    const read = this.isReading ? READY.read : 0;
    this.hub.poller.interest(this.handle, this.isBlocked ? read | READY.write : read);
  }

  /** Whether frames of the guest are asked for. */
  set reading(on: boolean) {
    this.isReading = on;
    if (this.awake && !this.closed) this.wake();
  }

  get reading(): boolean {
    return this.isReading;
  }

  /** All that waited is gone; true when senders were held back. */
  drained(): boolean {
    if (!this.isBlocked) return false;
    this.isBlocked = false;
    this.wake();
    return true;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.hub.poller.unregister(this.descriptorsId);
    this.hub.memory.free(this.arena);
  }
}
