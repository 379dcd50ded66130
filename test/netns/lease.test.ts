/** What a guest gets from the gateway itself: lease, ping, names, time. Real clients throughout. */
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/deadline.js';
import type { Proc } from '../support/process.js';
import { Lab } from './lab.js';
import type { Netproxy } from './netproxy.js';
import { probe } from './probe.js';
import { GATEWAY, GUEST, HOST_ALIAS, scenarioReady, serveTap } from './scenario.js';

const ready = scenarioReady('lease', 'dhclient', 'dig', 'dnsmasq', 'ping', 'curl', 'tcpdump');

const EXPECTED = {
  ip: GUEST,
  mask: '24',
  router: GATEWAY,
  dns: GATEWAY,
  serverid: GATEWAY,
  mtu: '1500',
  lease: '86400',
};

interface LeaseEvent {
  readonly event: string;
  readonly kind?: string;
  readonly ip?: string;
}

function leaseEvents(netproxy: Netproxy): string[] {
  const lines = netproxy.proc.stdout.split('\n').filter((line) => line.startsWith('{'));
  const events = lines.map((line) => JSON.parse(line) as LeaseEvent).filter(({ event }) => event === 'lease');
  return events.map(({ kind }) => kind ?? '');
}

describe.runIf(ready)('a guest and its gateway', () => {
  let lab: Lab;
  let netproxy: Netproxy;

  beforeAll(async () => {
    lab = await Lab.create();
    await lab.dns([
      '--host-record=www.lab.test,198.18.0.2',
      '--txt-record=note.lab.test,hello there',
      '--mx-host=lab.test,mail.lab.test,10',
      '--cname=alias.lab.test,www.lab.test',
    ]);
    await lab.serve({ web: { kind: 'http', address: '198.18.0.2', port: 80 } });
    netproxy = await serveTap(lab, ['--json']);
    await lab.dhcp();
  });

  afterAll(async () => {
    await lab?.destroy();
  });

  const dig = (...args: string[]): Promise<string> =>
    lab.check(lab.guest, ['dig', '+time=3', '+tries=2', ...args]);

  describe('DHCP', () => {
    it('leases with udhcpc', async () => {
      const lease = await lab.dhcp('tap0', { client: 'udhcpc' });
      expect({ ...lease, mask: '24' }).toMatchObject(EXPECTED);
      expect(await lab.check(lab.guest, ['ip', '-4', '-o', 'addr', 'show', 'tap0'])).toContain(`${GUEST}/24`);
      expect(await lab.check(lab.guest, ['ip', 'route', 'show', 'default'])).toContain(`via ${GATEWAY}`);
    });

    it('renews by unicast and releases, as udhcpc is told by signals', async () => {
      const capture = await lab.capture(lab.guest, 'tap0', 'udp port 67 or udp port 68');
      const client = lab.spawn(lab.guest, [
        'udhcpc',
        '-f',
        '-i',
        'tap0',
        '-s',
        '/bin/true',
        '-t',
        '5',
        '-T',
        '1',
      ]);
      const obtained = /lease of 192\.168\.127\.2 obtained/g;
      await client.waitFor(obtained, 20_000, 'stderr');
      const before = leaseEvents(netproxy).length;
      client.child.kill('SIGUSR1');
      await capture.packet(
        'a renewal by unicast',
        ({ src, dst, dport }) => src === GUEST && dst === GATEWAY && dport === 67,
        20_000,
      );
      await capture.packet('its answer', ({ src, dst }) => src === GATEWAY && dst === GUEST, 20_000);
      await until(10_000, 'event of the renewal', () => leaseEvents(netproxy).length > before);
      client.child.kill('SIGUSR2');
      await until(10_000, 'event of the release', () => /releas/.test(leaseEvents(netproxy).at(-1) ?? ''));
      await client.kill();
      await capture.stop();
    });

    it('leases the same address with dhclient, renews and releases', async () => {
      const lease = await lab.dhcp('tap0', { client: 'dhclient' });
      expect({ ...lease, mask: '24' }).toMatchObject(EXPECTED);
      const files = ['-lf', lab.path('dhclient.leases'), '-pf', lab.path('dhclient.pid')];
      const conf = ['-cf', lab.path('dhclient.conf'), '-sf', '/bin/true'];
      await lab.check(lab.guest, ['dhclient', '-r', '-v', ...files, ...conf, 'tap0']);
      await until(10_000, 'event of the release', () => /releas/.test(leaseEvents(netproxy).at(-1) ?? ''));
      expect(await lab.dhcp('tap0')).toMatchObject({ ip: GUEST });
    });

    it('refuses an address that a guest brings from another network (NAK), and the guest starts over', async () => {
      const leases = lab.path('dhclient.leases');
      const expiry = 'renew never; rebind never; expire never;';
      const stale = `lease { interface "tap0"; fixed-address 10.9.8.7; option subnet-mask 255.255.255.0; ${expiry} }\n`;
      writeFileSync(leases, stale);
      const files = ['-lf', leases, '-pf', lab.path('nak.pid'), '-cf', lab.path('dhclient.conf')];
      const argv = ['dhclient', '-1', '-d', '-v', ...files, '-sf', '/bin/true', 'tap0'];
      const client = lab.spawn(lab.guest, argv, { stdin: 'ignore' });
      await client.waitFor(/DHCPREQUEST for 10\.9\.8\.7/, 20_000, 'stderr');
      await client.waitFor(/DHCPNAK from 192\.168\.127\.1/, 20_000, 'stderr');
      await client.waitFor(/bound to 192\.168\.127\.2/, 20_000, 'stderr');
      await client.kill('SIGKILL');
    });
  });

  describe('ping', () => {
    const ping = (address: string, ...args: string[]): Promise<string> =>
      lab.check(lab.guest, ['ping', '-c', '3', '-i', '0.2', '-W', '5', ...args, address]);

    it('reaches the gateway and the host alias, with payloads up to the largest packet', async () => {
      expect(await ping(GATEWAY)).toContain(' 3 received');
      expect(await ping(HOST_ALIAS)).toContain(' 3 received');
      expect(await ping(GATEWAY, '-s', '1472', '-M', 'do')).toContain(' 3 received');
      expect(await ping(GATEWAY, '-s', '20000')).toContain(' 3 received');
    });

    it('reaches addresses of the host side', async () => {
      expect(await ping('198.18.0.2')).toContain(' 3 received');
    });
  });

  describe('DNS', () => {
    it('answers the built-in names over UDP and TCP', async () => {
      for (const transport of ['+notcp', '+tcp']) {
        for (const zone of ['netproxy.internal', 'docker.internal', 'containers.internal']) {
          expect(await dig(transport, '+short', `host.${zone}`)).toBe(`${HOST_ALIAS}\n`);
          expect(await dig(transport, '+short', `gateway.${zone}`)).toBe(`${GATEWAY}\n`);
        }
      }
      const nodata = await dig('AAAA', 'host.docker.internal');
      expect(nodata).toMatch(/status: NOERROR/);
      expect(nodata).toMatch(/ANSWER: 0/);
      expect(await dig('nobody.docker.internal')).toMatch(/status: NXDOMAIN/);
      expect(await dig('+short', '-x', GATEWAY)).toMatch(/^gateway\./);
    });

    it('resolves what the host resolves, every type, with its rcodes', async () => {
      for (const transport of ['+notcp', '+tcp']) {
        expect(await dig(transport, '+short', 'www.lab.test')).toBe('198.18.0.2\n');
        expect(await dig(transport, '+short', 'alias.lab.test')).toBe('www.lab.test.\n198.18.0.2\n');
        expect(await dig(transport, '+short', 'TXT', 'note.lab.test')).toBe('"hello there"\n');
        expect(await dig(transport, '+short', 'MX', 'lab.test')).toBe('10 mail.lab.test.\n');
        expect(await dig(transport, 'none.lab.test')).toMatch(/status: NXDOMAIN/);
        expect(await dig(transport, 'elsewhere.test')).toMatch(/status: REFUSED/);
      }
    });

    it('lets programs use names', async () => {
      const curl = ['curl', '-sS', '-m', '20', 'http://www.lab.test/'];
      expect(await lab.check(lab.guest, curl)).toContain('hello');
      expect(await lab.check(lab.guest, ['getent', 'hosts', 'host.docker.internal'])).toContain(HOST_ALIAS);
    });

    it('answers SERVFAIL by its deadline while the upstream is silent', async () => {
      // A port that takes queries and says nothing stands in for dnsmasq.
      const silent = await Lab.create();
      let mute: Proc | undefined;
      try {
        mute = silent.spawn(silent.host, ['socat', '-u', 'UDP4-RECV:53,bind=127.0.0.1', '/dev/null']);
        await serveTap(silent);
        await silent.dhcp();
        const answer = await silent.check(silent.guest, ['dig', '+time=15', '+tries=1', 'www.lab.test'], {
          timeoutMs: 40_000,
        });
        expect(answer).toMatch(/status: SERVFAIL/);
        // Built-in names do not wait for it.
        expect(await silent.check(silent.guest, ['dig', '+short', 'host.docker.internal'])).toContain(
          HOST_ALIAS,
        );
      } finally {
        await mute?.kill('SIGKILL');
        await silent.destroy();
      }
    });
  });

  it('tells the time (SNTP)', async () => {
    const answer = await probe(lab, { mode: 'ntp', address: GATEWAY });
    expect(answer).toMatchObject({ bytes: 48, mode: 4, version: 4, leap: 0, originate: '123456789abcdef0' });
    expect(answer['stratum']).toBeGreaterThan(0);
    expect(Math.abs(Number(answer['transmit']) - Number(answer['now']))).toBeLessThan(10);
  });

  it('serves nothing on other ports of the gateway, and says so', async () => {
    const refused = await lab.client({ mode: 'connect', targets: [{ address: GATEWAY, port: 8 }] });
    expect(refused.errors).toEqual({ ECONNREFUSED: 1 });
    const udp = await probe(lab, { mode: 'udpConnected', address: GATEWAY, port: 8 });
    expect(udp).toMatchObject({ error: 'ECONNREFUSED' });
  });
});
