/** The one timer that a stack has of its scheduler: set to the earliest deadline, moved only when that comes nearer. */
import { type Millis, type Scheduler, type Timers, type Wakeup, wakeupOf } from '../core/index.js';

const NEVER = Number.POSITIVE_INFINITY;

export class Alarm {
  private readonly timers: Timers;
  private readonly wakeup: Wakeup;

  constructor(scheduler: Scheduler, timers: Timers, ring: () => void) {
    this.timers = timers;
    this.wakeup = wakeupOf(scheduler, () => {
      timers.promised = NEVER;
      ring();
    });
  }

  /** Makes sure that it rings when the earliest timer is due. */
  set(now: Millis): void {
    if (!this.timers.sooner()) return;
    const next = this.timers.next();
    this.timers.promised = next;
    this.wakeup.set(next > now ? Math.ceil(next - now) : 0);
  }

  stop(): void {
    this.wakeup.stop();
  }
}
