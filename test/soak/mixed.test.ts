/**
 * Everything at once, for long: bulk both ways, short flows, aborts, refusals, dials into black holes, datagrams, names,
 * published ports, a guest that sends rubbish, guests that come and go. Afterwards all is where it began.
 * NETPROXY_SOAK_SECONDS says how long; default 600.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOf } from '../netns/bytes.mjs';
import { iperf, iperfServer } from '../netns/iperf.js';
import { Lab, blackHole } from '../netns/lab.js';
import { LibraryNetwork, type Look } from '../netns/library.js';
import { GATEWAY, GUEST, scenarioReady } from '../netns/scenario.js';
import type { Servers } from '../netns/servers.js';

const ready = scenarioReady('soak', 'curl', 'iperf3', 'dig', 'dnsmasq');
const SECONDS = Number(process.env['NETPROXY_SOAK_SECONDS'] ?? 600);
const NETNS = join(dirname(dirname(fileURLToPath(import.meta.url))), 'netns');

describe.runIf(ready)('everything at once', () => {
  let lab: Lab;
  let other: Lab;
  let library: LibraryNetwork;
  let servers: Servers;

  beforeAll(async () => {
    lab = await Lab.create();
    other = await Lab.create();
    await lab.dns(['--host-record=www.lab.test,198.18.0.2']);
    library = await LibraryNetwork.start(lab.host, {
      config: { limits: { udpIdle: 2_000, dialTimeout: 5_000 }, publish: ['198.18.0.1:8080:80'] },
      taps: [
        { name: 'tap0', netns: `/run/netns/${lab.guest}` },
        { name: 'tap0', netns: `/run/netns/${other.guest}` },
      ],
      qemu: `unix:${lab.path('qemu.sock')}`,
    });
    await lab.dhcp();
    await other.dhcp();
    servers = await lab.serve({
      web: { kind: 'http', quiet: true },
      echo: { kind: 'tcp-echo', quiet: true },
      hold: { kind: 'tcp-hold', quiet: true },
      stall: { kind: 'tcp-stall', quiet: true },
      reset: { kind: 'tcp-reset', bytes: 1000, quiet: true },
      datagrams: { kind: 'udp-echo', quiet: true },
    });
    await lab.serve({ inside: { kind: 'http', address: '0.0.0.0', port: 80, quiet: true } }, lab.guest);
    await iperfServer(lab);
  });

  afterAll(async () => {
    await library?.stop();
    await other?.destroy();
    await lab?.destroy();
  });

  /** What goes on all the time; each is one round of some seconds. */
  const activities: Readonly<Record<string, () => Promise<void>>> = {
    bulk: async () => {
      for (const reverse of [false, true]) {
        const { flows } = await iperf(lab, { flows: 8, seconds: 5, reverse });
        expect(flows.every((bytes) => bytes > 0)).toBe(true);
      }
    },
    files: async () => {
      const pipe = `curl -sS ${servers.url('web', '/20MB?offset=7')} | sha256sum`;
      expect(await other.check(other.guest, ['sh', '-c', pipe], { timeoutMs: 120_000 })).toContain(
        digestOf(20_000_000, 7),
      );
    },
    short: async () => {
      const flows = {
        mode: 'flows',
        targets: [servers.at('echo')],
        flows: 500,
        bytes: 3_000,
        concurrency: 20,
      } as const;
      expect(await other.client(flows, 120_000)).toMatchObject({ ok: 500, failed: 0 });
    },
    ends: async () => {
      await lab.client({ mode: 'abort', ...servers.at('hold'), bytes: 100_000, holdMs: 100 });
      await lab.client({ mode: 'hold', ...servers.at('reset'), bytes: 1000 });
      const refused = { mode: 'connect', targets: [{ address: lab.address(), port: 9 }], count: 50 } as const;
      expect((await lab.client(refused)).errors).toEqual({ ECONNREFUSED: 50 });
    },
    holes: async () => {
      const targets = Array.from({ length: 300 }, (_, n) => ({ address: blackHole(n + 1), port: 443 }));
      await lab.client({ mode: 'connect', targets, count: 300, timeoutMs: 2_000 });
    },
    stalled: async () => {
      const client = other.startClient({ mode: 'upload', ...servers.at('stall'), bytes: 20_000_000 });
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      // Nobody would ever read what is under way; the server says so.
      await servers.reset('stall');
      await client.waitExit(60_000);
    },
    datagrams: async () => {
      const result = await other.client({ mode: 'udp', ...servers.at('datagrams'), count: 300, bytes: 1200 });
      expect(result.wrong).toBe(0);
    },
    names: async () => {
      const dig = ['dig', '+time=5', '+tries=3', '+short', `@${GATEWAY}`];
      expect(await other.check(other.guest, [...dig, 'www.lab.test'])).toBe('198.18.0.2\n');
      expect(await other.check(other.guest, [...dig, '+tcp', 'host.docker.internal'])).not.toBe('');
    },
    published: async () => {
      const page = [
        'curl',
        '-sS',
        '-m',
        '60',
        '-o',
        '/dev/null',
        '-w',
        '%{size_download}',
        'http://198.18.0.1:8080/2MB',
      ];
      expect(await lab.check(lab.host, page, { timeoutMs: 70_000 })).toBe('2000000');
    },
    rubbish: async () => {
      const request = {
        path: lab.path('qemu.sock'),
        frames: 20_000,
        seed: (Date.now() & 0x7fffffff) | 1,
        gateway: GATEWAY,
        guest: '192.168.127.99',
        peer: lab.address(),
      };
      const argv = [process.execPath, join(NETNS, 'garbage.mjs'), JSON.stringify(request)];
      await lab.check(lab.host, argv, { timeoutMs: 120_000 });
    },
    coming: async () => {
      // A guest that comes, gets its lease and goes, over the qemu link.
      const visitor = await Lab.create();
      try {
        const stream = { connect: lab.path('qemu.sock') };
        const request = { tap: 'tap0', netns: `/run/netns/${visitor.guest}`, framing: 'qemu', stream };
        const shim = lab.spawn(lab.host, [
          process.execPath,
          join(NETNS, 'shim.mjs'),
          JSON.stringify(request),
        ]);
        await shim.waitFor(/"attached"/, 30_000);
        const mac = ['ip', 'link', 'set', 'tap0', 'address', '02:00:00:00:77:77'];
        await visitor.check(visitor.guest, mac);
        expect((await visitor.dhcp())['ip']).toMatch(/^192\.168\.127\./);
        await visitor.check(visitor.guest, ['ping', '-c', '2', '-W', '5', GUEST]);
        await shim.kill('SIGKILL');
      } finally {
        await visitor.destroy();
      }
    },
  };

  const atRest = (): Promise<Look> =>
    library.lookUntil(
      'rest',
      ({ stats, flows }) =>
        stats.memory.tcpFlows === 0 &&
        flows === stats.memory.udpMappings &&
        Object.keys(stats.guests).length === 2,
      60_000,
    );

  it(
    `holds for ${SECONDS} s and leaves nothing behind`,
    async () => {
      for (const round of Object.values(activities)) await round();
      const before = await atRest();
      const end = Date.now() + SECONDS * 1000;
      const rounds: Record<string, number> = {};
      await Promise.all(
        Object.entries(activities).map(async ([name, round]) => {
          while (Date.now() < end) {
            await round();
            rounds[name] = (rounds[name] ?? 0) + 1;
          }
        }),
      );
      process.stdout.write(`soak: rounds ${JSON.stringify(rounds)}\n`);
      const after = await atRest();
      expect(after.uncaught, library.proc.stderr).toBe(0);
      expect(after.fds).toBeLessThanOrEqual(before.fds + after.stats.memory.udpMappings);
      expect(after.memory.heapUsed).toBeLessThan(before.memory.heapUsed + 16_000_000);
      expect(after.memory.arrayBuffers).toBeLessThan(before.memory.arrayBuffers + 64_000_000);
      expect(after.stats.memory.blocksOut).toBeLessThanOrEqual(before.stats.memory.blocksOut + 8_000_000);
    },
    (SECONDS + 600) * 1000,
  );
});
