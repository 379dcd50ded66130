/** The one timer that a stack has of its scheduler: set to the earliest deadline, moved only when that comes nearer. */
import type { Cancel, Millis, Scheduler, Timers } from '../core/index.js';

const NEVER = Number.POSITIVE_INFINITY;

export class Alarm {
  private readonly scheduler: Scheduler;
  private readonly timers: Timers;
  private readonly ring: () => void;
  private cancel: Cancel | undefined;

  constructor(scheduler: Scheduler, timers: Timers, ring: () => void) {
    this.scheduler = scheduler;
    this.timers = timers;
    this.ring = () => {
      this.timers.promised = NEVER;
      this.cancel = undefined;
      ring();
    };
  }

  /** Makes sure that it rings when the earliest timer is due. */
  set(now: Millis): void {
    if (!this.timers.sooner()) return;
    const next = this.timers.next();
    this.cancel?.();
    this.timers.promised = next;
    this.cancel = this.scheduler.after(Math.max(0, next - now), this.ring);
  }

  stop(): void {
    this.cancel?.();
    this.cancel = undefined;
  }
}
