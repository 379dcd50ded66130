/** A guest on a bad cable: what arrives is what was sent. How fast that goes is the bench's business (`npm run bench -- faults`). */
import { describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { kernelGuest, scenarioReady } from './scenario.js';
import { download, upload } from './transfer.js';

const ready = scenarioReady('faults', 'curl');
const MIB = 1024 * 1024;
const LONG = count(100_000, 600_000);

describe.runIf(ready)('a bad cable', () => {
  for (const [faults, bytes] of [
    ['loss=5%', count(5, 100) * MIB],
    ['loss=1%,delay=20ms', count(1, 4) * MIB],
  ] as const) {
    it(
      `${faults}: ${bytes / MIB} MiB down and up, byte-exact`,
      async () => {
        const { lab, netproxy } = await kernelGuest(['--faults', faults]);
        try {
          const servers = await lab.serve({ web: { kind: 'http' }, discard: { kind: 'tcp-discard' } });
          await download(lab, servers, bytes, LONG / 2);
          await upload(lab, servers, bytes, LONG / 2);
          expect(netproxy.proc.ended).toBeUndefined();
          expect(netproxy.proc.stderr).not.toMatch(/ error | warn /);
        } finally {
          await lab.destroy();
        }
      },
      LONG,
    );
  }
});
