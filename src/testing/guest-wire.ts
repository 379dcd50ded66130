/** The guest's network card: frames to and from the link, and the timers of everything above. */
import {
  type Block,
  type Cancel,
  type FrameBatch,
  type Link,
  type LinkHandler,
  type Mac,
  META_STRIDE,
  MIN_FRAME,
  type Millis,
  type Scheduler,
  Timers,
  macHigh,
  macLow,
} from '../core/index.js';
import { ETH_DST } from '../ethernet/index.js';
import { FrameTap } from './frame-tap.js';

/** Who gets the frames that are for this guest. */
export interface WireUpper {
  /** A frame of at least an Ethernet header, to this guest or to a group. `flags`: RX_CHECKSUM_OK. */
  frame(block: Block, at: number, length: number, flags: number): void;
  /** All frames of a batch were delivered, or something is to be sent: say what there is to say. */
  turn(now: Millis): void;
  /** The link takes frames again. */
  writable(): void;
  /** The link is gone. */
  down(reason: Error | undefined): void;
}

export class GuestWire implements LinkHandler {
  readonly link: Link;
  readonly mac: Mac;
  readonly scheduler: Scheduler;
  readonly timers = new Timers();
  readonly tap: FrameTap;
  readonly counters = { framesIn: 0, bytesIn: 0, framesOut: 0, bytesOut: 0, notForUs: 0, shortFrame: 0 };
  upper!: WireUpper;
  down = false;
  private readonly high: number;
  private readonly low: number;
  private turnWanted = false;
  private armedAt = Number.POSITIVE_INFINITY;
  private cancelTimer: Cancel | undefined;

  constructor(link: Link, mac: Mac, scheduler: Scheduler) {
    this.link = link;
    this.mac = mac;
    this.scheduler = scheduler;
    this.high = macHigh(mac);
    this.low = macLow(mac);
    this.tap = new FrameTap(scheduler);
  }

  now(): Millis {
    return this.scheduler.now();
  }

  /** Sends a whole frame; it is copied. */
  send(frame: Uint8Array): void {
    if (this.down) return;
    const { output } = this.link;
    const at = output.begin(frame.length);
    output.bytes.set(frame, at);
    output.end(0, 0);
    this.sent(frame.length);
  }

  /** Counts a frame that was put into the link's output; it leaves at the end of the turn. */
  sent(length: number): void {
    this.counters.framesOut++;
    this.counters.bytesOut += length;
    this.wake();
  }

  /** Makes sure that the upper side gets its turn soon. */
  wake(): void {
    if (this.turnWanted || this.down) return;
    this.turnWanted = true;
    this.scheduler.defer(() => {
      if (this.turnWanted) this.turn();
    });
  }

  frames(batch: FrameBatch): void {
    const { meta, view, block, count } = batch;
    const { counters } = this;
    for (let i = 0; i < count && !this.down; i++) {
      const at = meta[i * META_STRIDE]!;
      const length = meta[i * META_STRIDE + 1]!;
      counters.framesIn++;
      counters.bytesIn += length;
      if (this.tap.active) this.tap.push(batch.bytes.subarray(at, at + length));
      if (length < MIN_FRAME) {
        counters.shortFrame++;
        continue;
      }
      const high = view.getUint16(at + ETH_DST);
      const mine = high === this.high && view.getUint32(at + ETH_DST + 2) === this.low;
      if (mine || (high & 0x100) !== 0) this.upper.frame(block, at, length, meta[i * META_STRIDE + 2]!);
      else counters.notForUs++;
    }
    this.turn();
  }

  writable(): void {
    this.upper.writable();
  }

  closed(reason?: Error): void {
    if (this.down) return;
    this.down = true;
    this.cancelTimer?.();
    this.cancelTimer = undefined;
    this.tap.close();
    this.upper.down(reason);
  }

  /** Makes sure that the timers are looked at in time. */
  rearm(): void {
    const next = this.timers.next();
    if (this.down || next >= this.armedAt) return;
    this.cancelTimer?.();
    this.armedAt = next;
    this.cancelTimer = this.scheduler.after(Math.max(0, next - this.now()), () => {
      this.armedAt = Number.POSITIVE_INFINITY;
      this.cancelTimer = undefined;
      this.timers.run(this.now());
      this.turn();
    });
  }

  private turn(): void {
    this.turnWanted = false;
    if (this.down) return;
    this.upper.turn(this.now());
    this.link.output.flush();
    this.rearm();
  }
}
