import { describe, expect, it } from 'vitest';
import { type Faults, type HostSocket, type TestNetwork, testNetwork } from './index.js';
import { count, digestAll, payload } from './testing.testutil.js';

const MIB = 1024 * 1024;

/** Sends the bytes both ways at once over one connection and compares what arrives. */
async function transfer(lab: TestNetwork, size: number, port = 80): Promise<number> {
  const up = payload(size, 1);
  const down = payload(size, 2);
  let server: HostSocket | undefined;
  lab.host.accept(`*:${port}`, (socket) => (server = socket));
  const before = lab.clock.now();
  const client = await lab.run(lab.guest.connect('198.51.100.1', port));
  const sums = [digestAll(client), digestAll(server!)];
  client.end(up.bytes);
  server!.end(down.bytes);
  const [gotDown, gotUp] = await lab.run(Promise.all(sums), 3_600_000);
  expect(gotUp).toEqual({ bytes: size, sha256: up.sha256 });
  expect(gotDown).toEqual({ bytes: size, sha256: down.sha256 });
  return lab.clock.now() - before;
}

describe('a bad cable', () => {
  const cables: [string, Faults][] = [
    ['2 % loss, 2 % reordering, 1 % duplicates', { loss: 0.02, reorder: 0.02, duplicate: 0.01 }],
    ['the same with 10 ms each way', { loss: 0.02, reorder: 0.02, duplicate: 0.01, delay: 10 }],
    ['damaged frames', { corrupt: 0.01, delay: 1 }],
  ];
  it.each(cables)('carries 10 MiB each way whole: %s', async (_name, faults) => {
    for (const seed of Array.from({ length: count(1, 5) }, (_, i) => i + 1)) {
      await using lab = await testNetwork({}, { faults, seed });
      // At 2 % loss the mathematics of NewReno allow some 100 KB/s over 20 ms; far below is a stall.
      expect(await transfer(lab, 10 * MIB)).toBeLessThan(600_000);
      await lab.clock.advance(300_000);
      expect(lab.network.stats().memory).toMatchObject({ tcpFlows: 0, blocksOut: 0 });
    }
  });

  it('carries jumbo packets whole', async () => {
    await using lab = await testNetwork(
      { mtu: 65_520 },
      { faults: { loss: 0.02, reorder: 0.02, duplicate: 0.01 } },
    );
    await transfer(lab, 10 * MIB);
  });

  it('at 30 % loss still gets a lease, a name and a page', async () => {
    await using lab = await testNetwork({}, { faults: { loss: 0.3 }, guest: { lease: false }, seed: 3 });
    await lab.run(lab.guest.dhcp({ timeout: 120_000 }));
    expect(await lab.run(lab.guest.resolve('gateway.netproxy.internal', 'A', { timeout: 60_000 }))).toEqual([
      lab.gateway,
    ]);
    await transfer(lab, 20_000);
  });

  it('slow as a modem holds all back without losing anything', async () => {
    await using lab = await testNetwork({}, { faults: { rate: 2_000_000, delay: 30 } });
    const ms = await transfer(lab, MIB);
    expect(ms).toBeGreaterThan(4000);
    expect(ms).toBeLessThan(20_000);
  });
});
