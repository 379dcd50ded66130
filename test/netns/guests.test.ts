/** Several guests on one network, and kernel guests that come over stream links by a shim (shim.mjs). */
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../support/deadline.js';
import type { Proc } from '../support/process.js';
import { digestOf } from './bytes.mjs';
import { Lab } from './lab.js';
import { GATEWAY, GUEST, scenarioReady } from './scenario.js';

const ready = scenarioReady('several guests', 'curl', 'ping', 'dig');
const SHIM = join(dirname(fileURLToPath(import.meta.url)), 'shim.mjs');

interface ShimRequest {
  readonly framing: 'qemu' | 'connect' | 'vpnkit';
  readonly stream: { readonly connect: string } | { readonly listen: string } | { readonly fd: number };
  readonly uuid?: string;
}

/** The guest's address outlives the shim, and so the TAP: it is the same machine that comes back. */
function setMac(lab: Lab, mac: string): Promise<string> {
  return lab.check(lab.guest, ['ip', 'link', 'set', 'tap0', 'address', mac]);
}

/** Gives a lab's guest a TAP whose frames go over a stream. */
function startShim(lab: Lab, request: ShimRequest, extra: readonly number[] = []): Proc {
  const argv = [
    process.execPath,
    SHIM,
    JSON.stringify({ tap: 'tap0', netns: `/run/netns/${lab.guest}`, ...request }),
  ];
  return lab.spawn(lab.host, argv, { stdin: 'ignore', label: 'shim', extra });
}

async function attach(lab: Lab, request: ShimRequest): Promise<Proc> {
  const shim = startShim(lab, request);
  await shim.waitFor(/"attached"/, 20_000);
  return shim;
}

describe.runIf(ready)('guests', () => {
  let lab: Lab;
  let other: Lab;

  beforeEach(async () => {
    lab = await Lab.create();
    other = await Lab.create();
  });

  afterEach(async () => {
    await other?.destroy();
    await lab?.destroy();
  });

  /** Each reaches the other by ping and TCP, and the host side as well; with distinct addresses. */
  async function expectNeighbours(): Promise<void> {
    const ip = { first: (await lab.dhcp())['ip'] ?? '', second: (await other.dhcp())['ip'] ?? '' };
    expect(ip.first).toBe(GUEST);
    expect(ip.second).not.toBe(ip.first);
    await lab.check(lab.guest, ['ping', '-c', '2', '-i', '0.2', '-W', '5', ip.second]);
    await other.check(other.guest, ['ping', '-c', '2', '-i', '0.2', '-W', '5', ip.first]);
    const inside = await other.serve({ web: { kind: 'http', address: '0.0.0.0', port: 80 } }, other.guest);
    const url = `http://${ip.second}/5MB?offset=2`;
    const pipe = `curl -sS -m 60 '${url}' | sha256sum`;
    expect(await lab.check(lab.guest, ['sh', '-c', pipe], { timeoutMs: 70_000 })).toContain(
      digestOf(5_000_000, 2),
    );
    await inside.stop();
    const servers = await lab.serve({ echo: { kind: 'tcp-echo' } });
    const flows = { mode: 'flows', targets: [servers.at('echo')], flows: 10, bytes: 50_000 } as const;
    for (const one of [lab, other]) expect(await one.client(flows)).toMatchObject({ ok: 10, failed: 0 });
  }

  /** Publishes port 80 of each guest by its name. */
  const published = ['--publish', 'one@198.18.0.1:8001:80', '--publish', 'two@198.18.0.1:8002:80'];

  it('on TAPs of two namespaces, named in a configuration file, see each other and are published by name', async () => {
    const file = lab.path('netproxy.yaml');
    const link = (one: Lab, name: string) =>
      `  - { kind: tap, interface: tap0, netns: ${one.guest}, guest: { name: ${name} } }\n`;
    writeFileSync(file, `version: 1\nlinks:\n${link(lab, 'one')}${link(other, 'two')}`);
    await lab.startNetproxy(['serve', '--config', file, ...published]);
    await expectNeighbours();
    for (const [one, name] of [
      [lab, 'one'],
      [other, 'two'],
    ] as const) {
      await one.serve(
        { banner: { kind: 'tcp-banner', address: '0.0.0.0', port: 80, text: `I am ${name}\n` } },
        one.guest,
      );
    }
    for (const [port, name] of [
      [8001, 'one'],
      [8002, 'two'],
    ] as const) {
      const page = await lab.check(lab.host, ['sh', '-c', `echo | nc -N -w 5 198.18.0.1 ${port}`]);
      expect(page).toBe(`I am ${name}\n`);
    }
  });

  it('over the qemu link see each other, go away and come back', async () => {
    const path = lab.path('qemu.sock');
    await lab.startNetproxy(['serve', '--qemu', `unix:${path}`]);
    const request = { framing: 'qemu', stream: { connect: path } } as const;
    const mac = '02:00:00:00:00:01';
    const first = await attach(lab, request);
    await setMac(lab, mac);
    await attach(other, request);
    await expectNeighbours();
    await first.kill('SIGKILL');
    await attach(lab, request);
    await setMac(lab, mac);
    expect(await lab.dhcp()).toMatchObject({ ip: GUEST });
    await lab.check(lab.guest, ['ping', '-c', '2', '-i', '0.2', '-W', '5', GATEWAY]);
  });

  it('of different links are on one network', async () => {
    const paths = { connect: lab.path('api.sock'), vpnkit: lab.path('vpnkit.sock') };
    const args = ['serve', '--listen', `unix:${paths.connect}`, '--vpnkit', `unix:${paths.vpnkit}`];
    await lab.startNetproxy(args);
    await attach(lab, { framing: 'connect', stream: { connect: paths.connect } });
    const uuid = 'd3a8a4c1-0000-4000-8000-00000000000a';
    const vpnkit = await attach(other, { framing: 'vpnkit', uuid, stream: { connect: paths.vpnkit } });
    // The MAC and the MTU are the server's to say.
    const told = JSON.parse(vpnkit.stdout.trimEnd()) as { mtu: number; mac: string };
    expect(told).toMatchObject({ mtu: 1500, mac: expect.stringMatching(/^02:50:/) });
    await setMac(other, told.mac);
    await expectNeighbours();
    // The control API answers on the same socket.
    const health = ['curl', '-sS', '--unix-socket', paths.connect, 'http://localhost/v1/health'];
    expect(JSON.parse(await lab.check(lab.host, health))).toMatchObject({ status: 'ok', guests: 2 });
  });

  it('of vpnkit have their MAC address and their lease again after netproxy was killed, whoever comes first', async () => {
    const path = lab.path('vpnkit.sock');
    const args = ['serve', '--vpnkit', `unix:${path}`, '--state-file', lab.path('state')];
    const come = async (n: 0 | 1) => {
      const one = n === 0 ? lab : other;
      const uuid = `d3a8a4c1-0000-4000-8000-00000000000${n}`;
      const shim = await attach(one, { framing: 'vpnkit', uuid, stream: { connect: path } });
      const { mac } = JSON.parse(shim.stdout.trimEnd()) as { mac: string };
      await setMac(one, mac);
      return { shim, mac, ip: (await one.dhcp())['ip'] };
    };
    const netproxy = await lab.startNetproxy(args);
    const before = [await come(0), await come(1)] as const;
    expect(before[0].mac).not.toBe(before[1].mac);
    await netproxy.proc.kill('SIGKILL');
    for (const { shim } of before) await shim.kill('SIGKILL');
    await lab.startNetproxy(args);
    for (const n of [1, 0] as const) {
      const { mac, ip } = await come(n);
      expect({ mac, ip }).toEqual({ mac: before[n].mac, ip: before[n].ip });
    }
  });

  it('are dialled where they listen (--qemu connect:)', async () => {
    const path = lab.path('vm.sock');
    const shim = startShim(lab, { framing: 'qemu', stream: { listen: path } });
    await shim.waitFor(/"listening"/, 20_000);
    await lab.startNetproxy(['serve', '--qemu', `connect:unix:${path}`]);
    await shim.waitFor(/"attached"/, 20_000);
    await setMac(lab, '02:00:00:00:00:02');
    expect(await lab.dhcp()).toMatchObject({ ip: GUEST });
    // The guest's end goes and another listens there: it is dialled again.
    await shim.kill('SIGKILL');
    const again = startShim(lab, { framing: 'qemu', stream: { listen: path } });
    await again.waitFor(/"attached"/, 30_000).catch(async () => {
      throw new Error(again.describe());
    });
    await setMac(lab, '02:00:00:00:00:02');
    expect(await lab.dhcp()).toMatchObject({ ip: GUEST });
  });

  it('come by a connected descriptor of the parent (--fd), and their end is the end', async () => {
    // A socket pair: one end goes to netproxy, the other to the shim.
    const path = lab.path('pair.sock');
    const server = createServer({ pauseOnConnect: true });
    await new Promise<void>((resolve) => void server.listen(path, resolve));
    const accepted = new Promise<number>((resolve) => {
      server.once('connection', (socket) => {
        const { _handle: handle } = socket as unknown as { _handle: { fd: number } };
        resolve(handle.fd);
      });
    });
    const shim = startShim(lab, { framing: 'qemu', stream: { connect: path } });
    const fd = await accepted;
    const netproxy = await lab.startNetproxy(['serve', '--fd', '4', '--framing', 'qemu'], { extra: [fd] });
    await shim.waitFor(/"attached"/, 20_000);
    server.close();
    expect(await lab.dhcp()).toMatchObject({ ip: GUEST });
    await lab.check(lab.guest, ['ping', '-c', '2', '-i', '0.2', '-W', '5', GATEWAY]);
    await shim.kill('SIGKILL');
    // We hold the other end of the pair too, so it is closed here.
    expect((await netproxy.proc.waitExit(20_000)).code).toBe(0);
  });

  it('on a network that ends by SIGTERM end with it, within a second, exit code 0', async () => {
    const path = lab.path('qemu.sock');
    const netproxy = await lab.startNetproxy(['serve', '--qemu', `unix:${path}`]);
    const shim = await attach(lab, { framing: 'qemu', stream: { connect: path } });
    await lab.dhcp();
    const servers = await lab.serve({ hold: { kind: 'tcp-hold' } });
    const held = lab.startClient({ mode: 'hold', ...servers.at('hold'), bytes: 1000 });
    await held.waitFor(/connected/);
    const exit = await netproxy.stop();
    expect(exit).toMatchObject({ code: 0, signal: null });
    // A second by its own clock; what a busy machine adds to that is not its own.
    expect(exit.ms).toBeLessThan(2_500);
    await servers.event('end at the server', ({ event, server }) => event === 'close' && server === 'hold');
    expect((await shim.waitExit(10_000)).code).toBe(0);
    // The socket's path is free again.
    await until(
      5_000,
      'socket path removed',
      async () => (await lab.exec(lab.host, ['test', '-e', path])).code !== 0,
    );
    await held.kill('SIGKILL');
  });

  it('find a socket path of a dead netproxy reclaimed, and that of a live one taken', async () => {
    const path = lab.path('qemu.sock');
    const args = ['serve', '--qemu', `unix:${path}`];
    const first = await lab.startNetproxy(args);
    await expect(lab.startNetproxy(args)).rejects.toThrow(new RegExp(`pid ${first.pid}`));
    await first.stop('SIGKILL');
    await lab.startNetproxy(args);
    await attach(lab, { framing: 'qemu', stream: { connect: path } });
    expect(await lab.dhcp()).toMatchObject({ ip: GUEST });
  });
});
