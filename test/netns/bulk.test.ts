/** Much data at once: large files with digests at both MTUs, many flows side by side, a bad cable. */
import { describe, expect, it } from 'vitest';
import { FULL, count } from '../support/counts.js';
import { iperf, iperfServer } from './iperf.js';
import { kernelGuest, scenarioReady } from './scenario.js';
import { download, upload } from './transfer.js';

const ready = scenarioReady('bulk', 'curl', 'iperf3', 'nstat');

const BYTES = count(50_000_000, 1_073_741_824);
const SECONDS = count(2, 10);
const LONG = count(120_000, 900_000);

describe.runIf(ready)('bulk', () => {
  for (const mtu of [1500, 65_520]) {
    it(
      `moves ${FULL ? '1 GiB' : '50 MB'} up and down, and 8 flows at once both ways, at MTU ${mtu}`,
      async () => {
        const { lab, netproxy, lease } = await kernelGuest(['--mtu', String(mtu)]);
        try {
          expect(lease['mtu']).toBe(String(mtu));
          const link = await lab.check(lab.guest, ['ip', 'link', 'show', 'tap0']);
          expect(link).toContain(`mtu ${mtu}`);
          const servers = await lab.serve({ web: { kind: 'http' }, discard: { kind: 'tcp-discard' } });
          await download(lab, servers, BYTES, LONG);
          await upload(lab, servers, BYTES, LONG);
          const server = await iperfServer(lab);
          for (const reverse of [false, true]) {
            const { flows } = await iperf(lab, { flows: 8, seconds: SECONDS, reverse });
            expect(flows).toHaveLength(8);
            // None starves: each moves its share, within wide bounds.
            for (const bytes of flows) expect(bytes).toBeGreaterThan(1_000_000);
          }
          await server.kill();
          expect(netproxy.proc.ended).toBeUndefined();
          expect(netproxy.proc.stderr).not.toMatch(/ error | warn /);
        } finally {
          await lab.destroy();
        }
      },
      LONG,
    );
  }

  it('moves 10 MiB up and down over a cable that loses, reorders and doubles frames', async () => {
    const { lab } = await kernelGuest(['--faults', 'loss=2%,reorder=2%,duplicate=1%']);
    try {
      const servers = await lab.serve({ web: { kind: 'http' }, discard: { kind: 'tcp-discard' } });
      const bytes = 10 * 1_048_576;
      await download(lab, servers, bytes, 110_000);
      await upload(lab, servers, bytes, 110_000);
      // The cable was as bad as it was told to be: the guest's kernel counted both ways.
      const counters = await lab.check(lab.guest, ['nstat', '-az']);
      const counter = (name: string) => Number(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(counters)?.[1]);
      expect(counter('TcpRetransSegs')).toBeGreaterThan(20);
      expect(counter('TcpExtTCPOFOQueue')).toBeGreaterThan(20);
    } finally {
      await lab.destroy();
    }
  }, 240_000);
});
