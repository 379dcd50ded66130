import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exec } from '../support/process.js';
import { requireNamespaces, requireTool, requirements } from '../support/requirements.js';
import { digestOf, matches, parseSize, pieces } from './bytes.mjs';
import { isFin, isRst, isSyn, parsePacket } from './capture.js';
import { HOST_UNREACHABLE, Lab, NET_UNREACHABLE, PROHIBITED, blackHole } from './lab.js';
import type { Servers } from './servers.js';

const tools = ['curl', 'dig', 'dnsmasq', 'tcpdump', 'ping', 'udhcpc', 'dhclient'].map(requireTool);
const ready = requirements('namespaces', requireNamespaces(), ...tools);

describe('test stream', () => {
  it('is the same however it is cut, and differs at every place', () => {
    const whole = Buffer.concat([...pieces(3_000_000)]);
    expect(Buffer.concat([...pieces(1_000_000, 2_000_000)]).equals(whole.subarray(2_000_000))).toBe(true);
    expect(createHash('sha256').update(whole).digest('hex')).toBe(digestOf(3_000_000));
    expect(matches(whole.subarray(77, 900_000), 77)).toBe(true);
    expect(matches(whole.subarray(77, 900_000), 76)).toBe(false);
    expect(['1500', '10K', '100MB', '1GiB', '1GB', 'x', ''].map(parseSize)).toEqual([
      ...[1500, 10_240, 100_000_000, 1_073_741_824, 1_000_000_000, undefined, undefined],
    ]);
  });
});

describe('capture lines', () => {
  it('parses what tcpdump prints', () => {
    const syn =
      '1763719.25 IP 198.18.0.1.40000 > 198.18.0.2.7: Flags [S], seq 5, win 65495, options [mss 65495], length 0';
    expect(parsePacket(syn)).toMatchObject({
      time: 1763719.25,
      src: '198.18.0.1',
      sport: 40000,
      dport: 7,
      flags: 'S',
      seq: 5,
    });
    expect(parsePacket('1.0 IP 1.2.3.4.5 > 6.7.8.9.53: 4660+ A? a.test. (24)')).toMatchObject({
      proto: 'udp',
      flags: '',
    });
    expect(parsePacket('1.0 IP 1.2.3.4 > 6.7.8.9: ICMP echo request, id 1, seq 2, length 64')).toMatchObject({
      proto: 'icmp',
      length: 64,
    });
    expect(parsePacket('tcpdump: listening on lo')).toBeUndefined();
  });
});

describe.runIf(ready)('lab', () => {
  let lab: Lab;
  let servers: Servers;

  beforeAll(async () => {
    lab = await Lab.create({ addresses: 3 });
    servers = await lab.serve({
      echo: { kind: 'tcp-echo' },
      discard: { kind: 'tcp-discard' },
      slow: { kind: 'tcp-discard', rate: 200_000 },
      source: { kind: 'tcp-source', bytes: 5_000_000, offset: 17 },
      banner: { kind: 'tcp-banner', text: 'SSH-2.0-test\r\n' },
      hold: { kind: 'tcp-hold' },
      reset: { kind: 'tcp-reset', bytes: 10 },
      web: { kind: 'http', address: '198.18.0.2', port: 80 },
      udp: { kind: 'udp-echo' },
      third: { kind: 'udp-third-party', replyAddress: '198.18.0.3' },
    });
  });

  afterAll(async () => {
    await lab?.destroy();
  });

  it('has no way out, its own files and addresses', async () => {
    for (const netns of [lab.host, lab.guest]) {
      expect(await lab.check(netns, ['ip', 'route', 'show', 'default'])).toBe('');
      expect(await lab.check(netns, ['ip', '-6', 'route', 'show', 'default'])).toBe('');
    }
    expect(await lab.check(lab.host, ['cat', '/etc/resolv.conf'])).toContain('nameserver 127.0.0.1');
    expect(await lab.check(lab.host, ['cat', '/proc/sys/net/ipv4/ping_group_range'])).toMatch(
      /^0\s+2147483647$/m,
    );
    expect(await lab.check(lab.guest, ['ls', '/sys/class/net'])).toBe('lo\n');
    lab.setResolver('192.168.127.1');
    expect(await lab.check(lab.guest, ['cat', '/etc/resolv.conf'])).toContain('nameserver 192.168.127.1');
    expect((await lab.exec(lab.guest, ['ping', '-c', '1', '-W', '1', '198.18.0.1'])).code).not.toBe(0);
    await lab.check(lab.host, ['ping', '-c', '1', '-W', '1', '198.18.0.3']);
  });

  it('serves HTTP with bodies of any size, up and down', async () => {
    const curl = (...args: string[]) => lab.check(lab.host, ['curl', '-sS', '-m', '20', ...args]);
    const file = lab.path('down');
    await curl('-o', file, servers.url('web', '/20MB?offset=3'));
    expect((await exec(['sha256sum', file])).stdout).toContain(digestOf(20_000_000, 3));
    expect(await curl('-T', file, servers.url('web', '/up'))).toBe(`20000000 ${digestOf(20_000_000, 3)}\n`);
    expect(await curl('-o', '/dev/null', '-w', '%{http_code}', servers.url('web', '/status/418'))).toBe(
      '418',
    );
    expect(await curl(servers.url('web'))).toContain('hello');
    expect(
      await servers.event('web', ({ event, server }) => event === 'close' && server === 'web'),
    ).toBeDefined();
  });

  it('moves bytes both ways over TCP and knows how connections end', async () => {
    const host = lab.host;
    const up = await lab.client({ mode: 'upload', ...servers.at('discard'), bytes: 3_000_000 }, 20_000, host);
    expect(up).toMatchObject({ text: `3000000 ${digestOf(3_000_000)}\n`, how: 'fin' });
    const down = await lab.client({ mode: 'download', ...servers.at('source') }, 20_000, host);
    expect(down).toMatchObject({ bytes: 5_000_000, sha256: digestOf(5_000_000, 17), how: 'fin' });
    const slow = await lab.client({ mode: 'upload', ...servers.at('slow'), bytes: 100_000 }, 20_000, host);
    expect(slow.text).toBe(`100000 ${digestOf(100_000)}\n`);
    const reset = await lab.client({ mode: 'hold', ...servers.at('reset'), bytes: 10 }, 20_000, host);
    expect(reset.how).toBe('reset');
    const banner = lab.startClient({ mode: 'hold', ...servers.at('banner') }, host);
    await servers.event('banner', ({ event, server }) => event === 'open' && server === 'banner');
    // libuv takes a reset behind unread bytes for the end: the client has to have read them.
    await banner.waitFor(/"receiving":true/);
    await servers.reset('banner');
    expect(await lab.clientResult(banner)).toMatchObject({ text: 'SSH-2.0-test\r\n', how: 'reset' });
  });

  it('sees RST and FIN on the wire and at the server', async () => {
    const { port } = servers.at('hold');
    const capture = await lab.capture(lab.host, 'lo', `tcp port ${port}`);
    await lab.client({ mode: 'abort', ...servers.at('hold'), bytes: 100 }, 20_000, lab.host);
    const closed = await servers.event(
      'abort',
      ({ event, server }) => event === 'close' && server === 'hold',
    );
    expect(closed).toMatchObject({ how: 'reset', bytes: 100 });
    const rst = await capture.packet('RST to the server', (packet) => packet.dport === port && isRst(packet));
    await capture.stop();
    expect(capture.packets.filter(isSyn)).toHaveLength(1);
    expect(capture.packets.some((packet) => isFin(packet))).toBe(false);
    expect(rst.proto).toBe('tcp');
    expect((await servers.stats('hold')).resets).toBe(1);
  });

  it('refuses, swallows and cannot reach', async () => {
    const probe = (address: string, port = 9) =>
      lab.client({ mode: 'connect', targets: [{ address, port }], timeoutMs: 1500 }, 20_000, lab.host);
    expect((await probe(lab.address())).errors).toEqual({ ECONNREFUSED: 1 });
    expect((await probe(blackHole(4711))).errors).toEqual({ ETIMEOUT: 1 });
    expect((await probe(HOST_UNREACHABLE)).errors).toEqual({ EHOSTUNREACH: 1 });
    expect((await probe(PROHIBITED)).errors).toEqual({ EACCES: 1 });
    expect((await probe(NET_UNREACHABLE)).errors).toEqual({ ENETUNREACH: 1 });
  });

  it('makes many flows, and datagrams whose answers come from where they should', async () => {
    const targets = [servers.at('echo')];
    const many = await lab.client(
      { mode: 'flows', targets, flows: 200, bytes: 5_000, concurrency: 20 },
      30_000,
      lab.host,
    );
    expect(many).toMatchObject({ ok: 200, failed: 0, errors: {} });
    const together = await lab.client(
      { mode: 'flows', targets, flows: 200, bytes: 5_000, together: true },
      30_000,
      lab.host,
    );
    expect(together).toMatchObject({ ok: 200, failed: 0 });
    expect(await servers.stats('echo')).toMatchObject({ opened: 400, open: 0, bytesIn: 2_000_000 });
    const udp = await lab.client(
      { mode: 'udp', ...servers.at('udp'), count: 50, bytes: 1200 },
      20_000,
      lab.host,
    );
    expect(udp).toMatchObject({ received: 50, wrong: 0, errors: {} });
    const third = await lab.client(
      { mode: 'udp', ...servers.at('third'), count: 5, anyPeer: true },
      20_000,
      lab.host,
    );
    expect(third.received).toBe(5);
    expect(third.from?.[0]).toMatch(/^198\.18\.0\.3:/);
  });

  it('resolves names by its own server', async () => {
    const dns = await lab.dns(['--host-record=www.lab.test,198.18.0.2', '--txt-record=note.lab.test,hi']);
    const dig = (...args: string[]) => lab.check(lab.host, ['dig', '+time=1', '+tries=2', ...args]);
    expect(await dig('+short', 'www.lab.test')).toBe('198.18.0.2\n');
    expect(await dig('+short', 'TXT', 'note.lab.test')).toBe('"hi"\n');
    expect(await dig('none.lab.test')).toContain('NXDOMAIN');
    expect(await dig('elsewhere.test')).toContain('REFUSED');
    expect(await lab.check(lab.host, ['curl', '-sS', '-m', '5', 'http://www.lab.test/'])).toContain('hello');
    await dns.kill();
  });

  it('gets leases with udhcpc and dhclient', async () => {
    // A bridge stands in for netproxy: a veth into the guest and dnsmasq as the server.
    await lab.check(lab.host, [
      'sh',
      '-c',
      `ip link add v0 type veth peer name tap0 netns ${lab.guest}; ip addr add 192.168.127.1/24 dev v0; ip link set v0 up`,
    ]);
    const range = '--dhcp-range=192.168.127.2,192.168.127.9,255.255.255.0,1h';
    const fixed = [
      '-k',
      '--conf-file=/dev/null',
      '--port=0',
      '--user=root',
      '--pid-file=',
      '--log-facility=-',
      '--interface=v0',
    ];
    const server = lab.spawn(lab.host, [
      'dnsmasq',
      ...fixed,
      `--dhcp-leasefile=${lab.path('leases')}`,
      '--dhcp-authoritative',
      '--no-ping',
      '--dhcp-option=6,192.168.127.1',
      '--dhcp-option=26,1400',
      range,
    ]);
    await server.waitFor(/started, version/, 10_000, 'stderr');
    const expected = {
      router: '192.168.127.1',
      dns: '192.168.127.1',
      mtu: '1400',
      lease: '3600',
      serverid: '192.168.127.1',
    };
    for (const client of ['udhcpc', 'dhclient', 'dhclient'] as const) {
      const lease = await lab.dhcp('tap0', { client });
      expect(lease).toMatchObject(expected);
      expect(await lab.check(lab.guest, ['ip', '-4', '-o', 'addr', 'show', 'tap0'])).toContain(
        `${lease['ip']}/24`,
      );
    }
    expect(await lab.check(lab.guest, ['cat', '/etc/resolv.conf'])).toContain('nameserver 192.168.127.1');
    await lab.check(lab.guest, ['ping', '-c', '1', '-W', '2', '192.168.127.1']);
    await server.kill();
  }, 40_000);

  it('leaves nothing behind', async () => {
    const other = await Lab.create();
    const child = other.spawn(other.guest, ['sh', '-c', 'sleep 1000 & echo $!; sleep 1000']);
    const [pid] = await child.waitFor(/\d+/);
    await other.destroy();
    await child.waitExit();
    const namespaces = (await exec(['ip', 'netns', 'list'])).stdout;
    expect(namespaces).not.toContain(other.guest);
    expect(namespaces).not.toContain(other.host);
    for (const path of [`/etc/netns/${other.host}`, `/etc/netns/${other.guest}`, other.dir])
      expect(existsSync(path)).toBe(false);
    expect(
      existsSync(`/proc/${pid}`) && !(await exec(['ps', '-o', 'stat=', '-p', pid])).stdout.startsWith('Z'),
    ).toBe(false);
  });

  it('sweeps up after a test process that was killed', async () => {
    // A process that has ended, so that its id is nobody's.
    const gone = spawn('true');
    await new Promise((resolve) => gone.once('exit', resolve));
    const stale = `np${gone.pid}-0h`;
    await exec(['ip', 'netns', 'add', stale], { check: true });
    Lab.sweep();
    expect((await exec(['ip', 'netns', 'list'])).stdout).not.toContain(stale);
    expect((await exec(['ip', 'netns', 'list'])).stdout).toContain(lab.host);
  });
});
