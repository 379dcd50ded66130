/** The HTTP proxy under load: gigabytes, thousands of tunnels, thousands of requests that are given up. */
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { until } from '../support/deadline.js';
import type { Proc } from '../support/process.js';
import { digestOf } from './bytes.mjs';
import { Lab } from './lab.js';
import type { Netproxy } from './netproxy.js';
import { GATEWAY, scenarioReady, serveTap } from './scenario.js';

const ready = scenarioReady('HTTP proxy under load', 'curl', 'ss');

const PEER = path.join(import.meta.dirname, 'proxy-peer.mjs');
const BYTES = count(100_000_000, 10_000_000_000);
const TUNNELS = count(50, 5_000);
const PROXY = `${GATEWAY}:3128`;
const LONG = count(100_000, 1_700_000);
const ABORTS = count(200, 20_000);
/** KiB above idle. A short run ends before V8 has found its size. */
const ROOM = count(60, 30) * 1024;

describe.runIf(ready)('the HTTP proxy under load', () => {
  let lab: Lab;
  let netproxy: Netproxy;

  afterEach(async () => {
    await lab?.destroy();
  });

  async function begin(): Promise<void> {
    lab = await Lab.create();
    netproxy = await serveTap(lab);
    await lab.dhcp();
  }

  const peer = (netns: string, ...args: readonly string[]): Proc =>
    lab.spawn(netns, [process.execPath, PEER, ...args]);

  const said = async (proc: Proc, what: RegExp, limit = LONG): Promise<Record<string, number>> => {
    await until(
      limit,
      `${String(what)} of ${proc.describe()}`,
      () => what.test(proc.stdout) || proc.ended !== undefined,
    );
    const line = proc.stdout.split('\n').find((one) => what.test(one));
    expect(line, proc.describe()).toBeDefined();
    return JSON.parse(line!) as Record<string, number>;
  };

  /** TCP connections of the host that netproxy has. */
  const sockets = async (): Promise<number> =>
    (await lab.check(lab.host, ['ss', '-Htnp']))
      .split('\n')
      .filter((line) => line.includes(`pid=${netproxy.pid},`)).length;

  /** Back where it began: no sockets, no more descriptors. */
  async function rests(fds: number): Promise<void> {
    await until(60_000, 'netproxy rests', async () => (await sockets()) === 0 && netproxy.fds() <= fds);
  }

  it(
    `carries ${BYTES} bytes each way, by requests and by CONNECT, in constant memory`,
    async () => {
      await begin();
      const servers = await lab.serve({ web: { kind: 'http', port: 80, quiet: true } });
      const run = (script: string, ...argv: readonly string[]): Promise<string> =>
        lab.check(lab.guest, ['bash', '-c', `set -o pipefail; ${script}`, 'bash', ...argv], {
          timeoutMs: LONG,
        });
      const both = async (bytes: number): Promise<void> => {
        const digest = digestOf(bytes);
        const source = `import { pieces } from '${path.join(import.meta.dirname, 'bytes.mjs')}';
          import { Readable } from 'node:stream'; Readable.from(pieces(${bytes})).pipe(process.stdout);`;
        for (const flags of ['', '-p']) {
          const down = `curl -sS -f ${flags} -x ${PROXY} "$1" | sha256sum`;
          expect(await run(down, servers.url('web', `/${bytes}`))).toBe(`${digest}  -\n`);
          const up = `"$1" --input-type=module -e "$2" | curl -sS -f ${flags} -x ${PROXY} -T - "$3"`;
          const said = await run(up, process.execPath, source, servers.url('web', '/'));
          expect(said).toBe(`${bytes} ${digest}\n`);
        }
      };
      // Code is compiled, buffers are there.
      await both(20_000_000);
      await rests(Number.POSITIVE_INFINITY);
      const idle = netproxy.rssKiB();
      let peak = 0;
      const watch = setInterval(() => (peak = Math.max(peak, netproxy.rssKiB())), 50);
      await both(BYTES);
      clearInterval(watch);
      console.log(`HTTP proxy: ${BYTES} bytes 4 times, ${peak - idle} KiB above idle (${idle} KiB)`);
      expect(peak - idle).toBeLessThan(ROOM);
    },
    LONG,
  );

  it(
    `holds ${TUNNELS} WebSocket tunnels at once`,
    async () => {
      await begin();
      await said(peer(lab.host, 'origin', lab.address(), '80'), /"ready"/);
      const fds = netproxy.fds();
      const idle = netproxy.rssKiB();
      const client = peer(lab.guest, 'tunnels', PROXY, `http://${lab.address()}/ws`, String(TUNNELS));
      expect(await said(client, /"open"/)).toEqual({ open: TUNNELS, failed: 0 });
      expect(await sockets()).toBe(TUNNELS);
      console.log(`HTTP proxy: ${TUNNELS} tunnels, ${netproxy.rssKiB() - idle} KiB above idle (${idle} KiB)`);
      client.end();
      expect(await said(client, /"done"/)).toEqual({ done: TUNNELS, failed: 0 });
      await rests(fds);
    },
    LONG,
  );

  it(
    `is left without a socket by ${ABORTS} requests that are given up`,
    async () => {
      await begin();
      await said(peer(lab.host, 'origin', lab.address(), '80'), /"ready"/);
      const url = `http://${lab.address()}:80/hold`;
      expect(await said(peer(lab.guest, 'aborts', PROXY, url, '50'), /"done"/)).toEqual({
        done: 50,
        failed: 0,
      });
      await rests(Number.POSITIVE_INFINITY);
      const fds = netproxy.fds();
      const client = peer(lab.guest, 'aborts', PROXY, url, String(ABORTS));
      expect(await said(client, /"done"/)).toEqual({ done: ABORTS, failed: 0 });
      await rests(fds);
      expect(netproxy.proc.ended).toBeUndefined();
    },
    LONG,
  );
});
