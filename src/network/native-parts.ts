/** What a network gets from the native addon, when it is there. */
import type { HostIo, Scheduler } from '../core/index.js';
import { nodeScheduler } from '../host/index.js';
import { Hub, NativeLookups, loadNative, nativeIo } from '../native/index.js';

export interface NativeParts {
  readonly hub: Hub | undefined;
  readonly io: HostIo | undefined;
  /** The event loop: with the addon, what is deferred within a wake-up runs at its end. */
  readonly scheduler: Scheduler;
  /** The C library's lookups on threads of their own. */
  readonly lookups: NativeLookups | undefined;
  /** Why there is no addon. */
  readonly reason: string | undefined;
  close(): void;
}

/** `busyPoll`: see `Hub`; `bindHelper`: see `nativeIo`. */
export function nativeParts(
  wanted: boolean,
  busyPoll: number | undefined,
  bindHelper: string | undefined,
): NativeParts {
  const { addon, reason } = wanted ? loadNative() : { addon: undefined, reason: 'it was not asked for' };
  if (addon === undefined)
    return {
      hub: undefined,
      io: undefined,
      scheduler: nodeScheduler,
      lookups: undefined,
      reason,
      close: () => undefined,
    };
  const hub = new Hub(addon, busyPoll);
  const lookups = new NativeLookups(hub);
  return {
    hub,
    io: nativeIo(hub, bindHelper),
    scheduler: {
      ...nodeScheduler,
      // Whole milliseconds: a fraction would be put on the heap at every look at the clock.
      now: () => hub.now(),
      defer: (callback) => {
        hub.defer(callback);
      },
      wakeup: (ring) => hub.wakeup(ring),
    },
    lookups,
    reason: undefined,
    close: () => {
      lookups.close();
      hub.close();
    },
  };
}
