/** 100,000 short flows, and aborted ones between them: descriptors, timers and memory are back where they began. */
import { describe, expect, it } from 'vitest';
import { Lab } from '../netns/lab.js';
import { LibraryNetwork } from '../netns/library.js';
import { scenarioReady } from '../netns/scenario.js';

const ready = scenarioReady('leaks');

const FLOWS = Number(process.env['NETPROXY_SOAK_FLOWS'] ?? 100_000);
const PORTS = 8;
const ROUND = 5_000;
const ABORTS = 50;

describe.runIf(ready)('short flows', () => {
  it(`by the ${FLOWS} leave nothing behind`, async () => {
    const lab = await Lab.create();
    const library = await LibraryNetwork.start(lab.host, {
      taps: [{ name: 'tap0', netns: `/run/netns/${lab.guest}` }],
    });
    try {
      await lab.dhcp();
      const names = Array.from({ length: PORTS }, (_, n) => `echo${n}`);
      const servers = await lab.serve({
        ...Object.fromEntries(names.map((name) => [name, { kind: 'tcp-echo', quiet: true } as const])),
        hold: { kind: 'tcp-hold', quiet: true },
      });
      const targets = names.map((name) => servers.at(name));
      const round = async (flows: number) => {
        const all = { mode: 'flows', targets, flows, bytes: 500, concurrency: 64 } as const;
        expect(await lab.client(all, 600_000)).toMatchObject({ ok: flows, failed: 0 });
        const abort = { mode: 'abort', ...servers.at('hold'), bytes: 30_000, holdMs: 100 } as const;
        await Promise.all(Array.from({ length: ABORTS }, () => lab.client(abort)));
      };
      const atRest = () =>
        library.lookUntil(
          'rest',
          ({ stats }) => stats.memory.tcpFlows === 0 && stats.memory.blocksOut === 0,
          60_000,
        );
      await round(2_000);
      const before = await atRest();
      for (let done = 0; done < FLOWS; done += ROUND) await round(ROUND);
      const after = await atRest();
      expect(after.fds).toBe(before.fds);
      expect(after.handles).toBe(before.handles);
      expect(after.resources).toEqual(before.resources);
      expect(after.stats.memory.timers).toBeLessThanOrEqual(before.stats.memory.timers);
      expect(after.memory.heapUsed).toBeLessThan(before.memory.heapUsed + 4_000_000);
      expect(after.memory.arrayBuffers).toBeLessThan(before.memory.arrayBuffers + 16_000_000);
      expect(after.uncaught).toBe(0);
    } finally {
      await library.stop();
      await lab.destroy();
    }
  }, 1_700_000);
});
