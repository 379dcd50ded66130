/** A guest that sends rubbish hurts nobody: netproxy lives, its memory stays bounded, the guest next to it is served. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { Lab } from './lab.js';
import { LibraryNetwork } from './library.js';
import { GATEWAY, scenarioReady } from './scenario.js';

const ready = scenarioReady('garbage', 'ping');
const GARBAGE = join(dirname(fileURLToPath(import.meta.url)), 'garbage.mjs');

const FRAMES = count(40_000, 1_000_000);
const PING_INTERVAL_S = 0.05;

describe.runIf(ready)('a guest that sends rubbish', () => {
  let lab: Lab;
  let library: LibraryNetwork;

  beforeAll(async () => {
    lab = await Lab.create();
    library = await LibraryNetwork.start(lab.host, {
      taps: [{ name: 'tap0', netns: `/run/netns/${lab.guest}` }],
      qemu: `unix:${lab.path('qemu.sock')}`,
    });
    await lab.dhcp();
  });

  afterAll(async () => {
    await library?.stop();
    await lab?.destroy();
  });

  it(
    `by ${FRAMES} frames: no exception, bounded memory, its neighbour keeps pinging and transferring`,
    async () => {
      const servers = await lab.serve({ echo: { kind: 'tcp-echo', quiet: true } });
      const pinging = lab.spawn(lab.guest, ['ping', '-i', String(PING_INTERVAL_S), '-W', '5', GATEWAY], {
        stdin: 'ignore',
      });
      const before = await library.look();
      const seed = (Date.now() & 0x7fffffff) | 1;
      const request = {
        path: lab.path('qemu.sock'),
        frames: FRAMES,
        seed,
        gateway: GATEWAY,
        guest: '192.168.127.99',
        peer: lab.address(),
      };
      const rubbish = lab.spawn(lab.host, [process.execPath, GARBAGE, JSON.stringify(request)], {
        stdin: 'ignore',
      });
      let rounds = 0;
      while (rubbish.ended === undefined) {
        const flows = { mode: 'flows', targets: [servers.at('echo')], flows: 5, bytes: 20_000 } as const;
        expect(await lab.client(flows)).toMatchObject({ ok: 5, failed: 0 });
        rounds++;
      }
      if (rubbish.ended.code !== 0) throw new Error(`seed ${seed}: ${rubbish.describe()}`);
      const result = JSON.parse(rubbish.stdout.trimEnd().split('\n').at(-1) ?? '') as Record<string, number>;
      expect(result['sent']).toBeGreaterThanOrEqual(FRAMES);
      expect(rounds).toBeGreaterThan(0);

      await pinging.kill('SIGINT');
      const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(pinging.stdout) ?? [];
      expect(Number(sent)).toBeGreaterThan(5);
      // The last one may still have been under way.
      expect(Number(received), `seed ${seed}`).toBeGreaterThanOrEqual(Number(sent) - 1);

      const after = await library.look();
      expect(after.uncaught, `seed ${seed}: ${library.proc.stderr}`).toBe(0);
      expect(after.memory.heapUsed).toBeLessThan(before.memory.heapUsed + 64_000_000);
      expect(after.memory.rss).toBeLessThan(before.memory.rss + 400_000_000);
      // Every drop has a name: the sum of the counters is most of what was sent.
      const drops = Object.values(after.stats.stack).reduce((sum, value) => sum + value, 0);
      expect(drops).toBeGreaterThan(FRAMES / 10);
    },
    count(100_000, 900_000),
  );

  it('is forgotten when it is gone', async () => {
    const gone = await library.lookUntil('one guest', ({ stats }) => Object.keys(stats.guests).length === 1);
    expect(gone.stats.memory.tcpFlows).toBe(0);
  });
});
