/** Guests of one network among each other, with real kernels: neighbours, and isolated clones with one address. */
import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { digestOf } from './bytes.mjs';
import { Lab } from './lab.js';
import { GATEWAY, scenarioReady } from './scenario.js';

const ready = scenarioReady('isolation', 'curl', 'ping', 'dig');
const MAC = '02:00:00:00:00:77';
const CLONE = '192.168.127.50';
const GROUP = '239.1.2.3';
const BYTES = count(20_000_000, 500_000_000);

/** Prints the first datagram to a port: to all, or to a multicast group. */
const HEAR = `
const socket = require('node:dgram').createSocket({ type: 'udp4', reuseAddr: true });
socket.on('message', (data, from) => { console.log(data + ' from ' + from.address); process.exit(0); });
socket.bind(7000, () => { socket.addMembership('${GROUP}', process.argv[1]); console.log('listening'); });`;
/** Says something to an address every now and then. */
const SAY = `
const socket = require('node:dgram').createSocket('udp4');
socket.bind(0, process.argv[1], () => {
  socket.setBroadcast(true);
  socket.setMulticastInterface(process.argv[1]);
  setInterval(() => socket.send('hello', 7000, process.argv[2]), 100);
});`;

describe.runIf(ready)('guests among each other', () => {
  let labs: readonly Lab[] = [];

  beforeEach(async () => {
    labs = [await Lab.create(), await Lab.create()];
  });

  afterEach(async () => {
    for (const lab of labs) await lab.destroy();
  });

  /** netproxy in the first lab's host namespace, with a TAP in each guest namespace. */
  async function serve(extra = ''): Promise<readonly [Lab, Lab]> {
    const [lab, other] = labs as readonly [Lab, Lab];
    const file = lab.path('netproxy.yaml');
    const link = (one: Lab, name: string) =>
      `  - { kind: tap, interface: tap0, netns: ${one.guest}, guest: { name: ${name} } }\n`;
    writeFileSync(file, `version: 1\nlinks:\n${link(lab, 'one')}${link(other, 'two')}${extra}`);
    await lab.startNetproxy(['serve', '--config', file]);
    return [lab, other];
  }

  const node = (script: string, ...args: string[]) => [process.execPath, '-e', script, ...args];

  it('hear broadcasts and multicasts of each other', async () => {
    const [lab, other] = await serve();
    const first = (await lab.dhcp())['ip'] ?? '';
    const second = (await other.dhcp())['ip'] ?? '';
    for (const to of ['192.168.127.255', '255.255.255.255', GROUP]) {
      const hear = other.spawn(other.guest, node(HEAR, second), { stdin: 'ignore' });
      await hear.waitFor(/listening/, 20_000);
      const say = lab.spawn(lab.guest, node(SAY, first, to), { stdin: 'ignore' });
      await hear.waitFor(new RegExp(`hello from ${first}`), 20_000);
      await say.kill('SIGKILL');
    }
  });

  it('that are isolated see the gateway and not each other', async () => {
    const [lab, other] = await serve('switch: { isolation: true }\n');
    const ips = [(await lab.dhcp())['ip'] ?? '', (await other.dhcp())['ip'] ?? ''] as const;
    expect(ips[0]).not.toBe(ips[1]);
    for (const [one, peer] of [
      [lab, ips[1]],
      [other, ips[0]],
    ] as const) {
      await one.check(one.guest, ['ping', '-c', '1', '-W', '5', GATEWAY]);
      const ping = await one.exec(one.guest, ['ping', '-c', '2', '-i', '0.2', '-W', '1', peer]);
      expect(ping.code).not.toBe(0);
    }
    const hear = other.spawn(other.guest, node(HEAR, ips[1]), { stdin: 'ignore' });
    await hear.waitFor(/listening/, 20_000);
    const says = ['192.168.127.255', GROUP, ips[1]].map((to) =>
      lab.spawn(lab.guest, node(SAY, ips[0], to), { stdin: 'ignore' }),
    );
    // The other guest's own words on the gateway's side come through meanwhile.
    await other.check(other.guest, ['ping', '-c', '10', '-i', '0.2', '-W', '5', GATEWAY]);
    expect(hear.stdout).not.toContain('hello');
    for (const say of says) await say.kill('SIGKILL');
  });

  it('with one MAC address and one IP address work side by side when isolated', async () => {
    const [lab, other] = await serve('switch: { isolation: true }\n');
    for (const one of [lab, other]) {
      const ip = (...args: string[]) => one.check(one.guest, ['ip', ...args]);
      await ip('link', 'set', 'tap0', 'down');
      await ip('link', 'set', 'tap0', 'address', MAC);
      await ip('addr', 'add', `${CLONE}/24`, 'dev', 'tap0');
      await ip('link', 'set', 'tap0', 'up');
      await ip('route', 'add', 'default', 'via', GATEWAY);
    }
    const servers = await lab.serve({ web: { kind: 'http', port: 80 }, echo: { kind: 'tcp-echo' } });
    const down = async (one: Lab, offset: number): Promise<void> => {
      // One source port for both: the flows differ in nothing but the port of the switch.
      const path = `/${BYTES}?offset=${offset}`;
      const pipe = `curl -sS -m 100 --local-port 40000 '${servers.url('web', path)}' | sha256sum`;
      const answer = await one.check(one.guest, ['sh', '-c', pipe], { timeoutMs: 110_000 });
      expect(answer).toContain(digestOf(BYTES, offset));
    };
    await Promise.all([down(lab, 1), down(other, 2)]);
    const flows = { mode: 'flows', targets: [servers.at('echo')], flows: 20, bytes: 50_000 } as const;
    for (const result of await Promise.all([lab, other].map((one) => one.client(flows))))
      expect(result).toMatchObject({ ok: 20, failed: 0 });
    const names = await Promise.all(
      [lab, other].map((one) =>
        one.check(one.guest, ['dig', '+short', `@${GATEWAY}`, 'gateway.netproxy.internal']),
      ),
    );
    expect(names.map((name) => name.trim())).toEqual([GATEWAY, GATEWAY]);
  });
});
