/**
 * Attacks on TCP from one guest while another one works: netproxy lives, its memory stays within its budget, and the other
 * guest's transfers go on, byte-exact. What the other guest keeps of its speed is measured by `npm run bench -- attacks`.
 */
import { afterEach, beforeEach, describe, it } from 'vitest';
import { count } from '../support/counts.js';
import { type Attack, AttackedNetwork, LONG } from './attack.js';
import { scenarioReady } from './scenario.js';

const ready = scenarioReady('attacks', 'curl');

const ATTACKS: readonly Attack[] = [
  { attack: 'syn-flood', count: count(5000, 100_000), each: 4096 },
  { attack: 'zero-window', count: count(500, 10_000), each: 16_384, established: count(400, 5000) },
  { attack: 'spoof', count: count(20_000, 500_000) },
];

describe.runIf(ready)('attacks by many connections, from another guest', () => {
  let network: AttackedNetwork;

  beforeEach(async () => {
    network = await AttackedNetwork.start();
  });

  afterEach(async () => {
    await network?.stop();
  });

  for (const attack of ATTACKS)
    it(`${attack.attack}: ${attack.count}`, () => network.underAttack(attack), LONG);
});
