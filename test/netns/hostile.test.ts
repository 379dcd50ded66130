/**
 * One guest that floods (ARP, DHCP, MAC addresses, fragments, SYNs, UDP to all ports, spoofed sources) as fast as its link takes it,
 * beside three that work: they keep their throughput and their DNS, and hear nothing of it.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import type { Proc } from '../support/process.js';
import { digestOf } from './bytes.mjs';
import { Lab } from './lab.js';
import { LibraryNetwork } from './library.js';
import { probeResult, startProbe } from './probe.js';
import { GATEWAY, scenarioReady } from './scenario.js';
import type { Servers } from './servers.js';

const ready = scenarioReady('a hostile guest', 'curl');
const GARBAGE = join(dirname(fileURLToPath(import.meta.url)), 'garbage.mjs');
const SECONDS = count(3, 10);
const ROUNDS = count(1, 5);
const HOSTILE_MAC = '02:00:00:00:66:66';

interface Figures {
  /** Bytes that each of the three got. */
  readonly bytes: readonly number[];
  /** ms of the first one's DNS queries. */
  readonly p99: number;
  readonly lost: number;
}

describe.runIf(ready)('a hostile guest', () => {
  let labs: readonly Lab[] = [];
  let library: LibraryNetwork;
  let servers: Servers;
  const victims: { readonly ip: string; readonly mac: string }[] = [];

  beforeAll(async () => {
    labs = [await Lab.create(), await Lab.create(), await Lab.create(), await Lab.create()];
    const [first] = labs as readonly [Lab];
    library = await LibraryNetwork.start(first.host, {
      taps: labs.map((lab) => ({ name: 'tap0', netns: `/run/netns/${lab.guest}` })),
      qemu: `unix:${first.path('qemu.sock')}`,
    });
    for (const lab of labs) {
      const ip = (await lab.dhcp())['ip'] ?? '';
      const mac = await lab.check(lab.guest, ['cat', '/sys/class/net/tap0/address']);
      victims.push({ ip, mac: mac.trim() });
    }
    servers = await first.serve({ web: { kind: 'http', port: 80 }, udp: { kind: 'udp-discard', port: 9 } });
  }, 120_000);

  afterAll(async () => {
    await library?.stop();
    for (const lab of labs) await lab.destroy();
  });

  function download(lab: Lab): Proc {
    const url = servers.url('web', '/1GiB');
    const write = '%{size_download}\n';
    const argv = ['curl', '-sS', '-m', String(SECONDS), '-o', '/dev/null', '-w', write, url];
    return lab.spawn(lab.guest, argv, { stdin: 'ignore', label: 'download' });
  }

  function flood(): Proc {
    const [first] = labs as readonly [Lab];
    const request = {
      path: first.path('qemu.sock'),
      seconds: SECONDS + 1,
      seed: 7,
      mac: HOSTILE_MAC,
      gateway: GATEWAY,
      guest: '192.168.127.99',
      peer: first.address(),
      victims,
    };
    return first.spawn(first.host, [process.execPath, GARBAGE, JSON.stringify(request)], {
      stdin: 'ignore',
      label: 'flood',
    });
  }

  /** Three download while the first asks DNS; the fourth is well-behaved and busy, or floods. */
  async function round(hostile: boolean): Promise<Figures> {
    const [first, second, third, fourth] = labs as readonly [Lab, Lab, Lab, Lab];
    const other = hostile ? flood() : download(fourth);
    const loads = [first, second, third].map(download);
    const dns = await probeResult(
      startProbe(first, { mode: 'dns', address: GATEWAY, millis: SECONDS * 900, interval: 5 }),
    );
    const bytes: number[] = [];
    for (const load of loads) {
      await load.waitExit((SECONDS + 30) * 1000);
      bytes.push(Number(load.stdout.trim()));
    }
    await other.waitExit((SECONDS + 30) * 1000);
    return { bytes, p99: Number(dns['p99']), lost: Number(dns['lost']) };
  }

  const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1]!;

  it(
    'leaves the others their throughput and their DNS',
    async () => {
      const before = await library.look();
      const shares: number[] = [];
      const delays: number[] = [];
      for (let i = 0; i < ROUNDS; i++) {
        const calm = await round(false);
        const stormy = await round(true);
        const fair = median(calm.bytes);
        for (const got of stormy.bytes) shares.push(got / fair);
        delays.push(stormy.p99 / calm.p99);
        // Progress, not speed: this machine is not ours alone. The figures are printed.
        for (const got of [...calm.bytes, ...stormy.bytes]) expect(got).toBeGreaterThan(1_000_000);
        expect(calm.lost + stormy.lost).toBeLessThan(5);
        process.stderr.write(`hostile: ${JSON.stringify({ calm, stormy })}\n`);
      }
      process.stderr.write(
        `hostile: share ${median(shares).toFixed(2)}, DNS p99 ratio ${median(delays).toFixed(2)}\n`,
      );
      const { stats, memory, uncaught } = await library.look();
      process.stderr.write(
        `${JSON.stringify({ stack: stats.stack, switch: stats.switch, udp: stats.udp, outbound: stats.outbound, memory })}\n`,
      );
      expect(uncaught).toBe(0);
      for (const counter of ['spoofedSource', 'arpLimited', 'dhcpLimited', 'floodLimited'] as const)
        expect(stats.stack[counter], counter).toBeGreaterThan(0);
      expect(memory.heapUsed).toBeLessThan(before.memory.heapUsed + 100_000_000);
    },
    ROUNDS * 100_000,
  );

  it('reaches no address of another guest, and transfers beside it arrive whole', async () => {
    const [first, second] = labs as readonly [Lab, Lab];
    const capture = await first.capture(first.guest, 'tap0', 'udp port 6666');
    const storm = flood();
    const size = 10_000_000;
    for (const lab of [first, second]) {
      const pipe = `curl -sS -m 60 '${servers.url('web', `/${size}?offset=3`)}' | sha256sum`;
      expect(await lab.check(lab.guest, ['sh', '-c', pipe], { timeoutMs: 70_000 })).toContain(
        digestOf(size, 3),
      );
    }
    await storm.waitExit((SECONDS + 30) * 1000);
    expect(capture.packets).toEqual([]);
    await capture.stop();
  }, 120_000);
});
