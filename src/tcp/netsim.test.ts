import { describe, expect, it } from 'vitest';
import { NetSim, type SimSettings } from './netsim.testutil.js';

const MIB = 1024 * 1024;

function transfer(settings: SimSettings): NetSim {
  const sim = new NetSim(settings);
  sim.run();
  return sim;
}

function expectComplete(sim: NetSim, up: number, down: number): void {
  expect({
    client: sim.client.end,
    server: sim.server.end,
    up: sim.server.got,
    down: sim.client.got,
  }).toEqual({
    client: 'closed',
    server: 'closed',
    up,
    down,
  });
  expect(sim.client.fin && sim.server.fin).toBe(true);
  expect(sim.pool.bytesOut).toBe(0);
}

describe('transfers over a channel that loses', () => {
  for (const loss of [0, 0.01, 0.05, 0.1]) {
    for (const options of ['all', 'no sack', 'none'] as const) {
      it(`2 MiB up and 1 MiB down at ${loss * 100} % loss, options: ${options}`, () => {
        const tcp =
          options === 'all'
            ? {}
            : options === 'no sack'
              ? { sack: false }
              : { sack: false, timestamps: false, windowScaling: false };
        const sim = transfer({
          seed: 42,
          client: { send: 2 * MIB, tcp },
          server: { send: MIB },
          channel: { loss, delay: 5, jitter: 1, rate: 12_500 },
        });
        console.log(loss, options, sim.now, JSON.stringify(sim.client.counters), [...sim.notes]);
        expectComplete(sim, 2 * MIB, MIB);
      });
    }
  }
});
