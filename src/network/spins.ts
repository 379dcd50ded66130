/** What the watch for spins looks at in a network. */
import type { Logger, Scheduler } from '../core/index.js';
import type { UdpNat } from '../forwarder/index.js';
import { type Hub, SpinWatch } from '../native/index.js';
import type { Stack } from '../stack/index.js';

/** Undefined without the addon: what Node's own loop does is not seen. */
export function watchSpins(
  hub: Hub | undefined,
  scheduler: Scheduler,
  logger: Logger,
  stack: Stack,
  nat: UdpNat,
): SpinWatch | undefined {
  if (hub === undefined) return undefined;
  return new SpinWatch(hub, {
    scheduler,
    logger,
    cpu: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    },
    work: () => {
      let done = nat.counters.toHost + nat.counters.toGuest;
      for (const { counters } of stack.ports()) done += counters.framesIn + counters.framesOut;
      return done;
    },
  });
}
