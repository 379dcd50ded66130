/** A link in memory, and faults on any link. */
import { BlockPool, type Link, type Random, type Scheduler, plainMemory } from '../core/index.js';
import { type Faults, type MemoryLink, memoryLinkPair, withFaults } from '../link/index.js';

/** Both ends of a link in memory. */
export interface MemoryLinks {
  /** For `network.attach`. */
  readonly network: MemoryLink;
  /** For `new ScriptedGuest`. */
  readonly guest: MemoryLink;
}

/**
 * A link whose ends are joined in memory. Frames are delivered in a later turn of the scheduler, never inside the
 * sender's call; what a paused or slow end does not take is bounded, and dropped and counted beyond.
 *
 * @example
 * const link = memoryLink(clock);
 * await network.attach(link.network, { name: 'one' });
 * const guest = new ScriptedGuest(link.guest, { scheduler: clock });
 */
export function memoryLink(scheduler: Scheduler): MemoryLinks {
  const pool = (): BlockPool => new BlockPool(plainMemory);
  const [network, guest] = memoryLinkPair(pool(), pool(), {
    schedule: (run) => {
      scheduler.defer(run);
    },
    names: ['memory (network)', 'memory (guest)'],
  });
  return { network, guest };
}

/**
 * A bad cable around any link, on the scheduler's time: loss, reordering, duplication, delay, damage, a rate limit, in
 * both directions. The wrapper takes the link's place.
 *
 * @example
 * const bad = faultyLink(link.network, { loss: 0.02, delay: 20 }, clock, seededRandom(1));
 */
export function faultyLink(link: Link, faults: Faults, scheduler: Scheduler, random: Random): Link {
  return withFaults(link, faults, {
    random,
    clock: scheduler,
    schedule: (run, ms) => scheduler.after(ms, run),
    pool: new BlockPool(plainMemory),
  });
}
