/** A hundred thousand datagram flows within a minute: caps hold, nothing is left behind, names work all the while. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { Lab } from './lab.js';
import { LibraryNetwork } from './library.js';
import { probeResult, startProbe } from './probe.js';
import { scenarioReady } from './scenario.js';
import type { Servers } from './servers.js';

const ready = scenarioReady('many datagram flows', 'dig', 'dnsmasq');

const FLOWS = count(8_000, 100_000);
const PER_SECOND = 1_700;
const CAP = 1_000;

describe.runIf(ready)('many datagram flows', () => {
  let lab: Lab;
  let library: LibraryNetwork;
  let servers: Servers;

  beforeAll(async () => {
    lab = await Lab.create();
    await lab.dns(['--host-record=www.lab.test,198.18.0.2']);
    library = await LibraryNetwork.start(lab.host, {
      config: { limits: { udpPerGuest: CAP, udpIdle: 3_000, udpStreamIdle: 3_000 } },
      taps: [{ name: 'tap0', netns: `/run/netns/${lab.guest}` }],
    });
    await lab.dhcp();
    servers = await lab.serve({ echo: { kind: 'udp-echo', quiet: true } });
  });

  afterAll(async () => {
    await library?.stop();
    await lab?.destroy();
  });

  it(
    `${FLOWS} of them`,
    async () => {
      const look = (): Promise<boolean> =>
        lab
          .exec(lab.guest, ['dig', '+short', '+tries=3', '+time=3', 'www.lab.test'], { timeoutMs: 15_000 })
          .then(({ stdout }) => stdout.trim() === '198.18.0.2');
      expect(await look()).toBe(true);
      const before = await library.look();
      const flood = startProbe(lab, {
        mode: 'manyPorts',
        ...servers.at('echo'),
        count: FLOWS,
        perSecond: PER_SECOND,
      });
      let [names, answered, most, descriptors] = [0, 0, 0, 0];
      let ended = false;
      const done = probeResult(flood, 300_000).finally(() => (ended = true));
      while (!ended) {
        names++;
        if (await look()) answered++;
        // A look collects garbage, which holds everything up.
        await sleep(1_000);
        const { stats, fds } = await library.look();
        most = Math.max(most, stats.memory.udpMappings);
        descriptors = Math.max(descriptors, fds);
      }
      const result = await done;
      const { stats, uncaught } = await library.look();
      const rate = Math.round((FLOWS / Number(result['ms'])) * 60_000);
      process.stdout.write(
        `${FLOWS} flows at ${rate} a minute: ${String(result['answered'])} answered, most at once ${most}, names ${answered}/${names}\n`,
      );
      expect(result).toMatchObject({ failed: 0 });
      // How many are answered before they are pushed out is up to the machine: on an idle one nearly all.
      expect(Number(result['answered'])).toBeGreaterThan(CAP);
      expect(stats.udp.mappings - before.stats.udp.mappings).toBeGreaterThan(FLOWS * 0.9);
      expect(stats.udp.evicted).toBeGreaterThan(FLOWS / 2);
      expect(most).toBeGreaterThan(CAP / 2);
      expect(most).toBeLessThanOrEqual(CAP);
      expect(descriptors).toBeLessThan(before.fds + CAP + 50);
      expect(answered).toBe(names);
      expect(uncaught).toBe(0);
      // The sockets that ask name servers are kept for a while.
      await library.lookUntil(
        'mappings, descriptors and handles that went',
        ({ stats: { memory }, fds, handles }) =>
          memory.udpMappings === 0 && fds <= before.fds && handles <= before.handles,
        50_000,
      );
    },
    count(90_000, 300_000),
  );
});
