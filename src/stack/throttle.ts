/**
 * The rates of one guest: bytes a second from it and to it.
 *
 * Theory of operation. What comes from the guest is charged by the batch; while more was had than the rate allows, its link is not
 * read, so that frames wait where they were made and nothing is lost. A link that cannot wait has its frames dropped. What
 * goes to the guest is charged by the frame; while more is owed, TCP holds its data back, as with a link that takes no more, and
 * frames of UDP and of other guests are dropped once a burst more is owed; while TCP waits they have half of the rate. One timer for the port, armed when somebody waits.
 */
import { Bucket, type Link, type Millis, Timer } from '../core/index.js';
import type { StackPort } from './port.js';
import type { Stack } from './stack.js';

/** What comes at once, whatever the rate: time's worth of it, ms, and at least so many bytes. */
const BURST_MILLIS = 50;
const BURST_BYTES = 64 * 1024;
/** What one connection may send while others wait, ms of the rate, and at least so many bytes. */
const SHARE_MILLIS = 10;
const SHARE_BYTES = 16 * 1024;
/** Bursts that may be owed at most: replies that nobody holds back must not shut a guest out for long. */
const MOST_BURSTS = 4;

/** Bits per second; undefined: as fast as it goes. */
export interface Rates {
  readonly up?: number | undefined;
  readonly down?: number | undefined;
}

/** The side of a link that can be told to wait. */
export type Pausable = Pick<Link, 'pause' | 'resume'>;

export class Throttle {
  /** The most that one connection may send at a time, bytes. */
  readonly share: number;
  private readonly stack: Stack;
  private readonly port: StackPort;
  private readonly up: Bucket | undefined;
  private readonly down: Bucket | undefined;
  /** What frames that nobody holds back may have while TCP waits. */
  private readonly datagrams: Bucket | undefined;
  private readonly link: Pausable | undefined;
  private paused = false;
  private readonly timer = new Timer(() => {
    this.again();
  });

  constructor(stack: Stack, port: StackPort, rates: Rates, link: Pausable | undefined) {
    this.stack = stack;
    this.port = port;
    this.link = link?.pause === undefined || link.resume === undefined ? undefined : link;
    this.up = bucketOf(rates.up);
    this.down = bucketOf(rates.down, MOST_BURSTS);
    this.datagrams = bucketOf(rates.down === undefined ? undefined : rates.down / 2);
    this.share =
      this.down === undefined
        ? Number.POSITIVE_INFINITY
        : Math.max(SHARE_BYTES, (this.down.rate * SHARE_MILLIS) / 1000);
  }

  /** May this frame of the guest come in? Only a link that cannot wait is asked. */
  admits(now: Millis, length: number): boolean {
    if (this.link !== undefined || this.up === undefined || this.up.take(now, length)) return true;
    this.port.counters.rateDroppedIn++;
    return false;
  }

  /** A batch came in. */
  received(now: Millis, bytes: number): void {
    const { up, link } = this;
    if (up === undefined || link === undefined) return;
    up.spend(now, bytes);
    if (this.paused || !up.inDebt(now)) return;
    this.paused = true;
    this.port.counters.ratePauses++;
    link.pause?.();
    this.arm(now);
  }

  /** A frame stands in the output. */
  sent(now: Millis, length: number): void {
    this.down?.spend(now, length);
  }

  /** TCP data has to wait. */
  holds(now: Millis): boolean {
    return this.down?.inDebt(now) === true;
  }

  /** A frame of `length` bytes that nobody holds back is dropped: so much is owed, or TCP has to get its half. */
  drops(now: Millis, length: number): boolean {
    const { down, datagrams, port } = this;
    if (down === undefined) return false;
    const fits = port.held.length === 0 || datagrams?.take(now, length) === true;
    if (fits && !down.inDebt(now, down.burst)) return false;
    this.port.counters.rateDroppedOut++;
    return true;
  }

  /** Somebody waits: the timer comes when something may go again. */
  arm(now: Millis): void {
    const up = this.paused ? this.up!.wait(now) : Number.POSITIVE_INFINITY;
    const down = this.port.held.length > 0 && this.down !== undefined ? this.down.wait(now) : up;
    const at = now + Math.max(1, Math.min(up, down));
    if (at < this.timer.at) this.stack.timers.set(this.timer, at);
    this.stack.rearm();
  }

  stop(): void {
    this.stack.timers.cancel(this.timer);
  }

  private again(): void {
    const now = this.stack.now();
    if (this.paused && !this.up!.inDebt(now)) {
      this.paused = false;
      this.link?.resume?.();
    }
    const { held, output } = this.port;
    if (!this.holds(now) && !output.blocked) {
      // Whoever was first the last time, and had it all, comes last.
      const first = held.shift();
      if (first !== undefined) held.push(first);
      this.stack.writable(this.port);
    }
    // While the link takes nothing it is the link that wakes whoever waits, and time changes nothing.
    if (this.paused || (held.length > 0 && this.down !== undefined && !output.blocked)) this.arm(now);
  }
}

function bucketOf(bits: number | undefined, bursts?: number): Bucket | undefined {
  if (bits === undefined) return undefined;
  const rate = bits / 8;
  const burst = Math.max(BURST_BYTES, Math.floor((rate * BURST_MILLIS) / 1000));
  return new Bucket(rate, burst, bursts === undefined ? undefined : burst * bursts);
}
