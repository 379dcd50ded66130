/** kill -9 under traffic with a kernel guest: what was set live is there again before the guest says a word to DHCP. */
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { CLI } from '../support/requirements.js';
import { exec } from '../support/process.js';
import { Lab } from './lab.js';
import type { Netproxy } from './netproxy.js';
import { GATEWAY, GUEST, scenarioReady, serveTap } from './scenario.js';

const ready = scenarioReady('state file', 'curl', 'dig');
const ROUNDS = count(2, 20);
const SOURCE = { address: '0.0.0.0', port: 82 };
const DENIED = '198.18.0.3';

describe.runIf(ready)(`${ROUNDS} kills under traffic`, () => {
  let lab: Lab;
  let netproxy: Netproxy;

  const start = (): Promise<Netproxy> =>
    serveTap(lab, ['--state-file', lab.path('state'), '--services', `unix:${lab.path('api')}`]);
  const ask = (...words: string[]): Promise<string> =>
    lab.check(lab.host, [process.execPath, CLI, ...words, '--api', `unix:${lab.path('api')}`]);
  const leases = async (): Promise<unknown> => {
    const lines = (await ask('leases', '--json')).trim().split('\n');
    return lines.map((line) => {
      // Whose it is becomes known when the guest speaks.
      const { ip, mac } = JSON.parse(line) as Record<string, string>;
      return { ip, mac };
    });
  };

  beforeAll(async () => {
    lab = await Lab.create();
    // A TAP that outlives who holds it keeps the guest's configuration: netproxy comes back to it.
    await exec(['ip', '-n', lab.guest, 'tuntap', 'add', 'dev', 'tap0', 'mode', 'tap'], { check: true });
    netproxy = await start();
    await lab.dhcp();
    await lab.serve(
      {
        web: { kind: 'http', address: '0.0.0.0', port: 80 },
        source: { kind: 'tcp-source', ...SOURCE, bytes: 1_000_000_000_000, offset: 0 },
        udp: { kind: 'udp-echo', address: '0.0.0.0', port: 90 },
      },
      lab.guest,
    );
    await lab.serve({ denied: { kind: 'http', address: DENIED, port: 80 } });
    await ask(
      'publish',
      '198.18.0.1:10080:80,preserve-source',
      '198.18.0.1:10082:82',
      '198.18.0.1:10090:90/udp',
    );
    writeFileSync(
      lab.path('zone.yaml'),
      '[{ name: corp.test, records: [{ name: www, type: A, value: 10.9.8.7 }] }]\n',
    );
    await ask('dns', 'zones', 'set', lab.path('zone.yaml'));
    await ask('policy', 'deny', `tcp:${DENIED}:80`);
  });

  afterAll(async () => {
    await lab?.destroy();
  });

  it('leases, ports, zones and rules are back, and new flows work at once', async () => {
    const before = await leases();
    for (let round = 0; round < ROUNDS; round++) {
      const busy = lab.startClient({ mode: 'download', address: '198.18.0.1', port: 10_082 }, lab.host);
      await lab.check(lab.host, [
        'curl',
        '-sS',
        '-m',
        '30',
        '-o',
        lab.path('out'),
        'http://198.18.0.1:10080/100K',
      ]);
      await netproxy.proc.kill('SIGKILL');
      const cut = await lab.clientResult(busy);
      expect(cut.error ?? cut.how).not.toBe('fin');

      netproxy = await start();
      expect(await leases()).toEqual(before);
      expect(await lab.check(lab.host, ['curl', '-sS', '-m', '30', 'http://198.18.0.1:10080/'])).toContain(
        'hello',
      );
      const udp = { mode: 'udp', address: '198.18.0.1', port: 10_090, count: 3, bytes: 100 } as const;
      expect(await lab.client(udp, 30_000, lab.host)).toMatchObject({ received: 3, wrong: 0 });
      const dig = ['dig', '+short', '+tries=1', '+time=20', `@${GATEWAY}`, 'www.corp.test'];
      expect((await lab.check(lab.guest, dig)).trim()).toBe('10.9.8.7');
      const denied = await lab.exec(lab.guest, ['curl', '-sS', '-m', '30', `http://${DENIED}/`]);
      expect(denied.code).not.toBe(0);
      // The guest said nothing to DHCP all the while: its address is what it was.
      expect(await lab.check(lab.guest, ['ip', '-4', 'addr', 'show', 'tap0'])).toContain(GUEST);
    }
    expect(await ask('policy', 'list')).toContain(`deny tcp:${DENIED}:80`);
  });
});
