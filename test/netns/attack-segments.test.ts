/** Attacks with the segments of a few connections, from another guest and from the same one (see attacks.test.ts). */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { type Attack, AttackedNetwork, LONG } from './attack.js';
import { scenarioReady } from './scenario.js';

const ready = scenarioReady('attacks with segments', 'curl');
const SHIM = join(dirname(fileURLToPath(import.meta.url)), 'shim.mjs');

const ATTACKS: readonly Attack[] = [
  { attack: 'tiny', count: count(20_000, 500_000), established: 1 },
  { attack: 'holes', count: count(20_000, 500_000), established: 1 },
  { attack: 'overlap', count: count(10_000, 300_000), established: 1 },
  { attack: 'acks', count: count(20_000, 500_000), established: 4 },
  { attack: 'sack', count: count(20_000, 500_000), established: 16 },
];

describe.runIf(ready)('attacks with segments', () => {
  let network: AttackedNetwork | undefined;

  afterEach(async () => {
    await network?.stop();
    network = undefined;
  });

  for (const attack of ATTACKS)
    it(
      `${attack.attack}: ${attack.count}`,
      async () => {
        network = await AttackedNetwork.start();
        await network.underAttack(attack);
      },
      LONG,
    );

  it(
    'blind resets, SYNs and data for running transfers, from the same guest (RFC 5961)',
    async () => {
      const frames = count(3000, 100_000);
      network = await AttackedNetwork.start(async (lab) => {
        const request = {
          tap: 'tap0',
          netns: `/run/netns/${lab.guest}`,
          framing: 'qemu',
          stream: { connect: lab.path('qemu.sock') },
          blind: { count: frames },
        };
        const shim = lab.spawn(lab.host, [process.execPath, SHIM, JSON.stringify(request)], {
          stdin: 'ignore',
        });
        await shim.waitFor(/"attached"/, 20_000);
      });
      const before = await network.library.look();
      await network.transfer(count(10, 200));
      const after = await network.library.look();
      network.check(before, after);
      const { droppedBlind, droppedBadAck, droppedOutsideWindow, challengeAcks } = after.stats.tcp;
      // A half are resets, a sixth each SYNs, data out of the window, data with an impossible acknowledgment.
      expect(droppedBlind).toBeGreaterThan(frames / 4);
      expect(droppedBadAck).toBeGreaterThan(frames / 20);
      expect(droppedOutsideWindow).toBeGreaterThan(frames / 20);
      // RFC 5961 section 7: rarely.
      expect(challengeAcks).toBeLessThan(frames / 4);
    },
    LONG,
  );
});
