/** What a guest sees on its link, for tests that look at frames. */
import type { Millis, Scheduler } from '../core/index.js';
import { type DecodedFrame, decodeFrame } from './decode.js';
import { GuestError } from './guest-error.js';
import { Inbox } from './inbox.js';

/** Frames that an iterator or a `record` keeps until they are taken; the oldest go beyond that. */
export const TAP_LIMIT = 16_384;

/**
 * The frames that a guest receives, all of them, whoever they are for. It costs nothing while nobody looks.
 *
 * @example
 * const reset = guest.frames.waitFor((frame) => frame.tcp !== undefined && (frame.tcp.flags & RST) !== 0);
 * for await (const frame of guest.frames) console.log(frame.ethernet.source);
 */
export class FrameTap {
  private readonly scheduler: Scheduler;
  private readonly inboxes = new Set<Inbox<DecodedFrame>>();
  private closed = false;

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
  }

  /** Somebody looks. */
  get active(): boolean {
    return this.inboxes.size > 0;
  }

  /** Shows a frame to all who look; the bytes are copied. */
  push(bytes: Uint8Array): void {
    const frame = decodeFrame(bytes.slice());
    if (frame === undefined) return;
    for (const inbox of this.inboxes) inbox.push(frame);
  }

  /**
   * The first frame from now on that fits.
   *
   * @param timeout ms
   * @throws GuestError ETIMEDOUT
   */
  async waitFor(
    predicate: (frame: DecodedFrame) => boolean,
    timeout: Millis = 10_000,
  ): Promise<DecodedFrame> {
    const inbox = this.open(0);
    try {
      return await inbox.take('waiting for a frame', timeout, predicate);
    } finally {
      this.inboxes.delete(inbox);
    }
  }

  /** Collects frames until `stop` is called, which returns them. */
  record(): { stop: () => DecodedFrame[] } {
    const inbox = this.open(TAP_LIMIT);
    return {
      stop: () => {
        this.inboxes.delete(inbox);
        return inbox.drain();
      },
    };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<DecodedFrame, void, undefined> {
    const inbox = this.open(TAP_LIMIT);
    try {
      while (!this.closed || inbox.size > 0) yield await inbox.take('frames', Number.POSITIVE_INFINITY);
    } catch (error) {
      if (!this.closed) throw error;
    } finally {
      this.inboxes.delete(inbox);
    }
  }

  /** Ends iterators; whoever waits for a frame gets ENETDOWN. */
  close(): void {
    this.closed = true;
    for (const inbox of this.inboxes) inbox.close(new GuestError('ENETDOWN', 'the link was closed'));
  }

  private open(limit: number): Inbox<DecodedFrame> {
    const inbox = new Inbox<DecodedFrame>(this.scheduler, limit);
    if (this.closed) inbox.close(new GuestError('ENETDOWN', 'the link was closed'));
    this.inboxes.add(inbox);
    return inbox;
  }
}
