/** Captures that `--pcap` writes, read by tshark. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Lab } from './lab.js';
import { GATEWAY, GUEST, kernelGuest, scenarioReady } from './scenario.js';

const ready = scenarioReady('captures', 'tshark', 'curl', 'dig');

describe.runIf(ready)('--pcap', () => {
  for (const extension of ['pcap', 'pcapng']) {
    it(`writes a .${extension} that tshark reads without complaint`, async () => {
      const directory = mkdtempSync(join(tmpdir(), 'np-capture-'));
      const file = join(directory, `frames.${extension}`);
      const { lab, netproxy } = await kernelGuest(['--pcap', file]);
      try {
        const servers = await lab.serve({ web: { kind: 'http', port: 80 } });
        await lab.check(lab.guest, [
          'curl',
          '-sS',
          '-m',
          '20',
          '-o',
          '/dev/null',
          servers.url('web', '/100K'),
        ]);
        await lab.check(lab.guest, ['dig', 'host.docker.internal']);
        expect(await netproxy.stop()).toMatchObject({ code: 0 });
        const tshark = (...args: string[]) => read(lab, file, args);
        const fields = await tshark('-Y', 'dns.flags.response == 1', '-T', 'fields', '-e', 'dns.qry.name');
        expect(fields).toContain('host.docker.internal');
        expect(await tshark('-Y', 'dhcp.option.dhcp == 5', '-T', 'fields', '-e', 'ip.src')).toContain(
          GATEWAY,
        );
        // A whole flow: handshake both ways, all bytes of the page, both ends; nothing malformed, no bad checksum.
        const flow = await tshark('-z', 'conv,tcp', '-q');
        expect(flow).toMatch(new RegExp(`${GUEST}:\\d+ +<-> ${lab.address()}:80`));
        const sums = [
          '-o',
          'ip.check_checksum:TRUE',
          '-o',
          'tcp.check_checksum:TRUE',
          '-o',
          'udp.check_checksum:TRUE',
        ];
        const fromUs = `!(ip.src == ${GUEST})`;
        const bad = `(_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0) && ${fromUs}`;
        expect(await tshark(...sums, '-Y', bad)).toBe('');
        expect(await tshark('-Y', 'tcp.analysis.lost_segment')).toBe('');
      } finally {
        await lab.destroy();
        rmSync(directory, { recursive: true, force: true });
      }
    });
  }
});

async function read(lab: Lab, file: string, args: readonly string[]): Promise<string> {
  return lab.check(lab.host, ['tshark', '-n', '-r', file, ...args], { timeoutMs: 60_000 });
}
