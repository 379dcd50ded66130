/** What a network gets from the native addon, when it is there. */
import type { HostIo, Scheduler } from '../core/index.js';
import { nodeScheduler } from '../host/index.js';
import { Hub, NativeLookups, loadNative, nativeIo, nativePinger } from '../native/index.js';
import type { Stack } from '../stack/index.js';
import type { Pinger } from './upper.js';

export interface NativeParts {
  readonly hub: Hub | undefined;
  readonly io: HostIo | undefined;
  /** The event loop: with the addon, what is deferred within a wake-up runs at its end. */
  readonly scheduler: Scheduler;
  readonly pinger: ((stack: Stack) => Pinger | undefined) | undefined;
  /** The C library's lookups on threads of their own. */
  readonly lookups: NativeLookups | undefined;
  /** Why there is no addon. */
  readonly reason: string | undefined;
  close(): void;
}

export function nativeParts(wanted: boolean): NativeParts {
  const { addon, reason } = wanted ? loadNative() : { addon: undefined, reason: 'it was not asked for' };
  if (addon === undefined)
    return {
      hub: undefined,
      io: undefined,
      scheduler: nodeScheduler,
      pinger: undefined,
      lookups: undefined,
      reason,
      close: () => undefined,
    };
  const hub = new Hub(addon);
  const lookups = new NativeLookups(hub);
  return {
    hub,
    io: nativeIo(hub),
    scheduler: {
      ...nodeScheduler,
      // Whole milliseconds: a fraction would be put on the heap at every look at the clock.
      now: () => hub.poller.now(),
      defer: (callback) => {
        hub.defer(callback);
      },
    },
    pinger: (stack) => pingerOf(hub, stack),
    lookups,
    reason: undefined,
    close: () => {
      lookups.close();
      hub.close();
    },
  };
}

/** Guests' pings by the host's ping sockets, one for each guest and echo id. */
function pingerOf(hub: Hub, stack: Stack): Pinger | undefined {
  const pinger = nativePinger(hub);
  if (pinger === undefined) return undefined;
  return {
    send: ({ neighbour, destination, bytes, offset, length }) => {
      const rest = bytes.slice(offset, offset + length);
      const key = `${neighbour.port}/${neighbour.ip}/${rest[0]}.${rest[1]}`;
      const sent = pinger.send(key, destination, rest, stack.now(), (from, answer) => {
        stack.packets.echoReply(neighbour, from, answer, 0, answer.length);
      });
      if (!sent) stack.counters.pingUnavailable++;
    },
  };
}
