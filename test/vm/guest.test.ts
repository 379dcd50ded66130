import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Lab } from '../netns/lab.js';
import { requireBuild, requireGuest, requireNamespaces, requirements } from '../support/requirements.js';
import { Guest, bootGuest, guestImage } from './guest.js';

const ready = requirements('QEMU guest', requireGuest(), requireNamespaces());
// QEMU's own user network, cut off from the host, in a namespace that leads nowhere.
const netdev = 'user,id=n0,restrict=on';

const isAlive = (pid: number) => existsSync(`/proc/${pid}`);

describe.runIf(ready)('QEMU guest', () => {
  let lab: Lab;
  let netns: string;
  let guest: Guest;

  beforeAll(async () => {
    lab = await Lab.create();
    netns = lab.guest;
    await guestImage();
    guest = await Guest.boot({ netdev, netns });
  }, 300_000);

  afterAll(async () => {
    await guest?.kill();
    await lab?.destroy();
  }, 20_000);

  it('runs commands and returns their codes and output', async () => {
    expect(await guest.run('echo out; echo err >&2; exit 7')).toMatchObject({
      code: 7,
      output: 'out\nerr\n',
    });
    expect(await guest.run('true')).toMatchObject({ code: 0, output: '' });
    expect(await guest.run('printf "END 1 0 5\\nEND 2 0 99"')).toMatchObject({
      output: 'END 1 0 5\nEND 2 0 99',
    });
    await expect(guest.check('echo no; false')).rejects.toThrow(/exit code 1\nno/);
  });

  it('passes any bytes, large output and files both ways', async () => {
    const data = randomBytes(300_000);
    await guest.writeFile('/tmp/a folder/data', data);
    expect(await guest.check(`sha256sum < '/tmp/a folder/data'`)).toBe(
      `${createHash('sha256').update(data).digest('hex')}  -`,
    );
    expect((await guest.readFile('/tmp/a folder/data')).equals(data)).toBe(true);
    expect((await guest.run('seq 200000')).raw.length).toBe(1_288_895);
    await guest.writeFile('/tmp/empty', '');
    expect((await guest.readFile('/tmp/empty')).length).toBe(0);
    await expect(guest.readFile('/tmp/nothing')).rejects.toThrow(/No such file/);
  });

  it('runs many scripts at once and is not held up by what they leave behind', async () => {
    const slow = guest.start('sleep 100');
    await guest.check('sleep 100 & echo started');
    const all = await Promise.all([1, 2, 3, 4, 5].map((n) => guest.check(`sleep 0.$n; echo ${n}`)));
    expect(all).toEqual(['1', '2', '3', '4', '5']);
    slow.kill();
    expect((await slow.done).code).toBe(137);
  });

  it('ends a script that takes too long and says what it had printed', async () => {
    await expect(guest.run('echo begun; sleep 100; echo over', 500)).rejects.toThrow(
      /not done within 500 ms\nbegun\n$/,
    );
    expect(await guest.check('ps | grep -c "[s]leep 100" || true')).toBe('1');
  });

  it('gets a lease over its NIC and has the programs that scenario tests use', async () => {
    // Restricted, QEMU offers neither router nor DNS.
    expect(await guest.dhcp()).toMatchObject({ ip: '10.0.2.15', mask: '24', serverid: '10.0.2.2' });
    expect(await guest.check('ip -4 -o addr show eth0')).toContain('10.0.2.15/24');
    await guest.check('ping -c 1 -W 2 10.0.2.2');
    await guest.check(
      'ip addr flush dev eth0; dhclient -1 eth0 && ip -4 -o addr show eth0 | grep -q 10.0.2.15',
      40_000,
    );
    const programs = [
      'iperf3 --version',
      'curl --version',
      'dig -v',
      'socat -V',
      'tcpdump --version',
      'traceroute --version',
    ];
    await guest.check(
      [...programs, 'ethtool eth0', 'ss -tln', 'wget -O /dev/null http://127.0.0.1:9/ || true'].join(' && '),
    );
  });

  it('dies by SIGKILL at once and boots again', async () => {
    const { pid } = guest;
    const pending = guest.start('sleep 100').done;
    await guest.kill();
    expect(isAlive(pid)).toBe(false);
    await expect(pending).rejects.toThrow(/the guest is gone/);
    await expect(guest.run('true')).rejects.toThrow(/the guest is gone/);

    guest = await Guest.boot({ netdev, netns });
    expect((await guest.dhcp())['ip']).toBe('10.0.2.15');
    const second = guest.pid;
    await guest.stop();
    expect(isAlive(second)).toBe(false);
  }, 40_000);

  it('has no NIC unless told, and a loopback for AF_VSOCK inside', async () => {
    const result = await bootGuest({
      modules: ['tun', 'vsock_loopback'],
      script: 'ls /sys/class/net /dev/vsock /dev/net/tun; uname -m; exit 3',
    });
    expect(result).toMatchObject({
      code: 3,
      output: '/dev/net/tun\n/dev/vsock\n\n/sys/class/net:\nlo\nx86_64\n',
    });
    expect(result.bootMs).toBeGreaterThan(0);
  }, 40_000);

  it('says why it did not boot', async () => {
    await expect(Guest.boot({ qemuArgs: ['-no-such-option'] })).rejects.toThrow(/no-such-option/);
  }, 20_000);
});

const packed = requirements('netproxy in a QEMU guest', requireGuest(), requireBuild());

describe.runIf(packed)('QEMU guest with netproxy inside', () => {
  it('runs netproxy, Node and the tests’ own peers', async () => {
    await using guest = await Guest.boot({ withNetproxy: true, modules: ['tun', 'vsock_loopback'] });
    expect(await guest.check('node --version')).toBe(process.version);
    expect(await guest.check('netproxy --version')).toMatch(/^\d+\.\d+/);
    const servers = JSON.stringify({ echo: { kind: 'tcp-echo', address: '127.0.0.1', port: 7 } });
    const peer = guest.start(
      `exec node /opt/netproxy/test/netns/peer.mjs '${servers}' --stay >/tmp/peer 2>&1`,
    );
    await guest.check('until grep -q ready /tmp/peer; do sleep 0.1; done');
    const request = { mode: 'flows', targets: [{ address: '127.0.0.1', port: 7 }], flows: 5 };
    const lines = await guest.check(`node /opt/netproxy/test/netns/client.mjs '${JSON.stringify(request)}'`);
    expect(JSON.parse(lines)).toMatchObject({ ok: 5, failed: 0 });
    peer.kill();
  }, 180_000);
});
