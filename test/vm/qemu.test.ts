/** The main job with a machine: a QEMU guest on `netproxy serve --qemu`. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOf } from '../netns/bytes.mjs';
import { Lab } from '../netns/lab.js';
import type { Netproxy } from '../netns/netproxy.js';
import type { Servers } from '../netns/servers.js';
import { FULL, count } from '../support/counts.js';
import { until } from '../support/deadline.js';
import {
  requireBuild,
  requireGuest,
  requireNamespaces,
  requireTool,
  requirements,
} from '../support/requirements.js';
import { Guest, guestImage, qemuStream } from './guest.js';

const ready = requirements(
  'QEMU guest on netproxy',
  requireGuest(),
  requireNamespaces(),
  requireBuild(),
  requireTool('curl'),
  requireTool('dnsmasq'),
);

const GATEWAY = '192.168.127.1';
const GUEST = '192.168.127.2';
const HOST_ALIAS = '192.168.127.254';
const WEB = '198.18.0.1:10080';

const BYTES = count(10_000_000, 100_000_000);
/** TCG is slow, and this machine may be busy. */
const LONG = count(90_000, 300_000);

describe.runIf(ready)('a QEMU guest on netproxy', () => {
  let lab: Lab;
  let netproxy: Netproxy;
  let servers: Servers;
  let guest: Guest;

  const boot = (): Promise<Guest> =>
    Guest.boot({ netdev: qemuStream(lab.path('qemu.sock')), netns: lab.guest });

  beforeAll(async () => {
    lab = await Lab.create();
    await lab.dns(['--host-record=www.lab.test,198.18.0.2']);
    servers = await lab.serve({
      web: { kind: 'http', address: lab.address(1), port: 80 },
      echo: { kind: 'tcp-echo' },
      hold: { kind: 'tcp-hold' },
    });
    await guestImage();
    const publish = ['--publish', `${WEB}:80`, '--publish', '198.18.0.1:10090:90/udp'];
    netproxy = await lab.startNetproxy(['serve', '--qemu', `unix:${lab.path('qemu.sock')}`, ...publish]);
    guest = await boot();
  }, 300_000);

  afterAll(async () => {
    await guest?.kill();
    await lab?.destroy();
  }, 30_000);

  /** A guest that has just booted gets its address, and what else it needs. */
  async function expectNetwork(): Promise<void> {
    expect(await guest.dhcp()).toMatchObject({
      ip: GUEST,
      mask: '24',
      router: GATEWAY,
      dns: GATEWAY,
      mtu: '1500',
    });
    await guest.check(`ping -c 3 -i 0.3 -W 5 ${GATEWAY}`);
  }

  it('gets a lease and pings the gateway, the host alias and the host side', async () => {
    await expectNetwork();
    await guest.check(`ping -c 2 -W 5 ${HOST_ALIAS}`);
    await guest.check('ping -c 2 -W 5 198.18.0.2');
    // Another client, the same lease.
    await guest.check(
      `ip addr flush dev eth0; dhclient -1 eth0 && ip -4 -o addr show eth0 | grep -q ${GUEST}/24`,
      60_000,
    );
    await guest.dhcp();
  });

  it('resolves', async () => {
    expect(await guest.check('dig +short host.docker.internal')).toBe(HOST_ALIAS);
    expect(await guest.check('dig +tcp +short www.lab.test')).toBe('198.18.0.2');
    expect(await guest.check('dig none.lab.test')).toMatch(/status: NXDOMAIN/);
    expect(await guest.check('wget -q -O - http://www.lab.test/')).toContain('hello');
  });

  it('is refused at once where nobody listens', async () => {
    const { code, output } = await guest.run('time nc -w 20 198.18.0.1 9 </dev/null');
    expect(code).not.toBe(0);
    expect(output).toMatch(/refused/i);
  });

  it(
    `moves ${FULL ? '100 MB' : '10 MB'} up and down with the right digests`,
    async () => {
      const url = `http://www.lab.test/${BYTES}?offset=7`;
      await guest.check(`curl -sS -o /tmp/file '${url}'`, LONG);
      expect(await guest.check('sha256sum < /tmp/file', LONG)).toBe(`${digestOf(BYTES, 7)}  -`);
      expect(await guest.check('curl -sS -T /tmp/file http://www.lab.test/up', LONG)).toBe(
        `${BYTES} ${digestOf(BYTES, 7)}`,
      );
      const wget = `wget -q -O - 'http://www.lab.test/${BYTES}' | sha256sum`;
      expect(await guest.check(wget, LONG)).toBe(`${digestOf(BYTES)}  -`);
    },
    4 * LONG,
  );

  it(
    'serves ports that the host reaches',
    async () => {
      await guest.check(
        'mkdir -p /tmp/www && mv /tmp/file /tmp/www/file && echo a guest > /tmp/www/index.html',
      );
      await guest.check('httpd -p 80 -h /tmp/www');
      const curl = (...args: string[]) => lab.check(lab.host, ['curl', '-sS', ...args], { timeoutMs: LONG });
      expect(await curl(`http://${WEB}/`)).toBe('a guest\n');
      const pipe = `curl -sS http://${WEB}/file | sha256sum`;
      expect(await lab.check(lab.host, ['sh', '-c', pipe], { timeoutMs: LONG })).toContain(
        digestOf(BYTES, 7),
      );
      const echo = guest.start('exec socat UDP4-RECVFROM:90,fork EXEC:cat');
      const udp = 'echo ping-pong | socat -t 3 - UDP4:198.18.0.1:10090';
      await until(20_000, 'the published datagram port', async () =>
        (await lab.exec(lab.host, ['sh', '-c', udp])).stdout.includes('ping-pong'),
      );
      echo.kill();
    },
    3 * LONG,
  );

  it('holds many flows at once', async () => {
    const { address, port } = servers.at('echo');
    const one = `head -c 20000 /dev/zero | socat -t 20 - TCP4:${address}:${port} | wc -c`;
    const script = `for n in $(seq 10); do { ${one} >/tmp/n$n; } & done; wait; cat /tmp/n*`;
    expect((await guest.check(script, 60_000)).split('\n')).toEqual(
      Array.from({ length: 10 }, () => '20000'),
    );
  });

  it('may be killed and boot again on the same netproxy', async () => {
    const { port } = servers.at('hold');
    const held = guest.start(`sleep 1000 | nc 198.18.0.1 ${port}`);
    held.done.catch(() => undefined);
    await servers.event('open', ({ event, server }) => event === 'open' && server === 'hold', 20_000);
    await guest.kill();
    // What it had open is reset at the other side.
    const closed = await servers.event(
      'end',
      ({ event, server }) => event === 'close' && server === 'hold',
      20_000,
    );
    expect(closed.how).toBe('reset');
    guest = await boot();
    await expectNetwork();
    await guest.check('mkdir -p /tmp/www && echo again > /tmp/www/index.html && httpd -p 80 -h /tmp/www');
    expect(await lab.check(lab.host, ['curl', '-sS', '-m', '30', `http://${WEB}/`])).toBe('again\n');
    expect(netproxy.proc.ended).toBeUndefined();
  }, 180_000);

  it('is no reason to hang: SIGTERM ends netproxy within a second, exit code 0', async () => {
    const exit = await netproxy.stop();
    expect(exit).toMatchObject({ code: 0, signal: null });
    // A second by its own clock; what a busy machine adds to that is not its own.
    expect(exit.ms).toBeLessThan(2_500);
    expect(netproxy.proc.stderr).not.toMatch(/not everything ended/);
  });
});
