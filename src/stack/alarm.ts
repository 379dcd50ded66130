/** The one timer that a stack has of its scheduler: set to the earliest deadline, moved only when that comes nearer. */
import type { Cancel, Millis, Scheduler } from '../core/index.js';

const NEVER = Number.POSITIVE_INFINITY;

export class Alarm {
  private readonly scheduler: Scheduler;
  private readonly ring: () => void;
  private at: Millis = NEVER;
  private cancel: Cancel | undefined;

  constructor(scheduler: Scheduler, ring: () => void) {
    this.scheduler = scheduler;
    this.ring = () => {
      this.at = NEVER;
      this.cancel = undefined;
      ring();
    };
  }

  /** Makes sure that it rings at `next` at the latest. */
  set(next: Millis, now: Millis): void {
    if (next >= this.at) return;
    this.cancel?.();
    this.at = next;
    this.cancel = this.scheduler.after(Math.max(0, next - now), this.ring);
  }

  stop(): void {
    this.cancel?.();
    this.cancel = undefined;
    this.at = NEVER;
  }
}
