/** Ping, traceroute and path MTU of a kernel guest, through a world of two routers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLI } from '../support/requirements.js';
import { digestOf } from './bytes.mjs';
import { Lab } from './lab.js';
import { LibraryNetwork } from './library.js';
import { probe } from './probe.js';
import { GATEWAY, HOST_ALIAS, scenarioReady } from './scenario.js';
import type { Servers } from './servers.js';
import { FAR, FAR_MTU, FAR_NOBODY, FAR_NO_ROUTE, ROUTERS, makeWorld } from './world.js';

const ready = scenarioReady('icmp', 'curl', 'ping', 'traceroute', 'tracepath', 'tcpdump');

describe.runIf(ready)('a guest and the way to the world', () => {
  let lab: Lab;
  let server: string;
  let servers: Servers;
  let library: LibraryNetwork;

  beforeAll(async () => {
    lab = await Lab.create();
    server = await makeWorld(lab);
    servers = await lab.serve({ echo: { kind: 'udp-echo', address: FAR } }, server);
    library = await LibraryNetwork.start(lab.host, {
      taps: [{ name: 'tap0', netns: `/run/netns/${lab.guest}` }],
    });
    await lab.dhcp();
  });

  afterAll(async () => {
    await library?.stop();
    await lab?.destroy();
  });

  const inGuest = async (...argv: string[]): Promise<string> =>
    (await lab.exec(lab.guest, argv, { timeoutMs: 40_000 })).stdout;

  /** The addresses of the hops, in order. */
  const hopsOf = (output: string): string[] =>
    output.split('\n').flatMap((line) => /^ *\d+:? +(\d+\.\d+\.\d+\.\d+)/.exec(line)?.[1] ?? []);

  it('pings it, with a TTL that says how far it is', async () => {
    const output = await inGuest('ping', '-n', '-c', '3', '-i', '0.2', '-W', '3', FAR);
    expect(output).toContain(' 0% packet loss');
    // 64 when it left the server, less two routers and netproxy.
    expect(output).toContain(`from ${FAR}: icmp_seq=1 ttl=61`);
  });

  it('pings with many ids at once, each gets its own answers', async () => {
    const one = (address: string): string => `ping -n -q -c 4 -i 0.2 -W 3 ${address} & p="$p $!"`;
    const all = Array.from({ length: 20 }, (_, n) => one(n % 2 === 0 ? FAR : ROUTERS[0])).join('\n');
    const script = `${all}\nfor i in $p; do wait $i || exit 1; done; echo all well`;
    expect(await inGuest('sh', '-c', script)).toContain('all well');
  });

  it('hears from the router where the TTL ended', async () => {
    expect(await inGuest('ping', '-n', '-c', '1', '-W', '3', '-t', '1', FAR)).toMatch(
      new RegExp(`From ${GATEWAY}.*Time to live exceeded`),
    );
    for (const [n, router] of ROUTERS.entries())
      expect(await inGuest('ping', '-n', '-c', '1', '-W', '3', '-t', `${n + 2}`, FAR)).toMatch(
        new RegExp(`From ${router}.*Time to live exceeded`),
      );
  });

  it.each([
    ['UDP', []],
    ['ICMP', ['-I']],
  ])('traceroute by %s shows netproxy, each router and the server', async (_, how) => {
    const output = await inGuest('traceroute', '-n', '-q', '1', '-w', '3', '-m', '6', ...how, FAR);
    expect(hopsOf(output)).toEqual([GATEWAY, ...ROUTERS, FAR]);
  });

  it('is told what routers say about addresses that are not there', async () => {
    expect(await inGuest('ping', '-n', '-c', '1', '-W', '5', FAR_NO_ROUTE)).toMatch(
      new RegExp(`From ${ROUTERS[0]}.*Net Unreachable`, 'i'),
    );
    expect(await inGuest('ping', '-n', '-c', '1', '-W', '8', FAR_NOBODY)).toMatch(
      new RegExp(`From ${ROUTERS[1]}.*Host Unreachable`, 'i'),
    );
  });

  it('finds the MTU of the path: ping with DF, tracepath, and a datagram that fits afterwards', async () => {
    const big = ['-n', '-c', '1', '-W', '3', '-M', 'do', '-s', '1400', FAR];
    expect(await inGuest('ping', ...big)).toMatch(new RegExp(`From ${ROUTERS[1]}.*mtu = ${FAR_MTU}`));
    await inGuest('ip', 'route', 'flush', 'cache');
    const path = await inGuest('tracepath', '-n', '-m', '6', FAR);
    expect(path).toMatch(new RegExp(`Resume: pmtu ${FAR_MTU} hops 4`));
    expect(new Set(hopsOf(path))).toEqual(new Set([GATEWAY, ...ROUTERS, FAR]));
    await inGuest('ip', 'route', 'flush', 'cache');
    // Linux sends the first one whole with DF, is told, and fragments the next.
    const echo = { mode: 'udpConnected', ...servers.at('echo'), bytes: 1400, tries: 1 } as const;
    expect(await probe(lab, echo)).toMatchObject({ error: 'EMSGSIZE' });
    expect(await probe(lab, echo)).toMatchObject({ bytes: 1400, same: true });
    expect(await inGuest('ip', 'route', 'get', FAR)).toContain(`mtu ${FAR_MTU}`);
    const { stats } = await library.look();
    expect(stats.udp.fragmentationNeeded).toBeGreaterThan(0);
    expect(stats.ping.errors).toBeGreaterThan(0);
  });

  it('does not let a datagram out to all machines of a network of the host, and says so', async () => {
    const everybody = '10.77.1.255';
    const out = await lab.capture(lab.host, 'w1a', `dst ${everybody}`);
    const told = await lab.capture(lab.guest, 'tap0', 'icmp');
    await probe(lab, { mode: 'udpConnected', address: everybody, port: 9, tries: 1, timeoutMs: 100 });
    await told.packet('prohibited', ({ line }) => /10\.77\.1\.255.*(prohibited|filtered)/.test(line));
    expect(out.packets).toEqual([]);
    await told.stop();
    await out.stop();
  });

  it('keeps DSCP and ECN of pings both ways, and of datagrams', async () => {
    const out = await lab.capture(
      server,
      'w3b',
      `dst ${FAR} and ((icmp and ip[1] = 0xb9) or (udp and ip[1] = 0x2a))`,
    );
    const back = await lab.capture(lab.guest, 'tap0', `src ${FAR} and ip[1] = 0xb9`);
    expect(await inGuest('ping', '-n', '-c', '1', '-W', '3', '-Q', '0xb9', FAR)).toContain(' 0% packet loss');
    await inGuest('traceroute', '-n', '-q', '1', '-f', '4', '-m', '4', '-t', '42', '-w', '2', FAR);
    await out.packet('the ping', ({ proto }) => proto === 'icmp');
    await back.packet('its answer', ({ proto }) => proto === 'icmp');
    await out.packet('a datagram', ({ proto }) => proto === 'udp');
    await out.stop();
    await back.stop();
  });
});

describe.runIf(ready)('a machine behind a guest, and a narrower path to it', () => {
  it('downloads by TCP: what the guest says of its path is obeyed', async () => {
    await using lab = await Lab.create();
    const servers = await lab.serve({ web: { kind: 'http', port: 80 } });
    const library = await LibraryNetwork.start(lab.host, {
      taps: [{ name: 'tap0', netns: `/run/netns/${lab.guest}` }],
    });
    await lab.dhcp();
    // guest — 1280 — middle — 1500 — machine: its MSS says nothing of the narrow link. It has an address of the guests' network.
    const [middle, machine] = [await lab.namespace('mid'), await lab.namespace('end')];
    const ip = (netns: string, ...args: string[]) => lab.check(netns, ['ip', ...args]);
    const [own, device] = ['192.168.127.77', 'n0'];
    const link = async (left: string, right: string, n: number, mtu: string): Promise<void> => {
      await ip(
        left,
        ...[
          'link',
          'add',
          `n${n}`,
          'mtu',
          mtu,
          'type',
          'veth',
          'peer',
          'name',
          device,
          'mtu',
          mtu,
          'netns',
          right,
        ],
      );
      await ip(left, 'addr', 'add', `10.66.${n}.1/24`, 'dev', `n${n}`);
      await ip(right, 'addr', 'add', `10.66.${n}.2/24`, 'dev', device);
      for (const [netns, name] of [
        [left, `n${n}`],
        [right, device],
      ] as const)
        await ip(netns, 'link', 'set', name, 'up');
    };
    await link(lab.guest, middle, 1, '1280');
    await link(middle, machine, 2, '1500');
    for (const netns of [lab.guest, middle])
      await lab.check(netns, ['sysctl', '-q', 'net.ipv4.ip_forward=1']);
    await lab.check(lab.guest, ['sysctl', '-q', 'net.ipv4.conf.tap0.proxy_arp=1']);
    await ip(lab.guest, 'route', 'add', own, 'via', '10.66.1.2');
    await ip(middle, 'route', 'add', own, 'via', '10.66.2.2');
    await ip(middle, 'route', 'add', 'default', 'via', '10.66.1.1');
    await ip(machine, 'addr', 'add', `${own}/32`, 'dev', 'lo');
    await ip(machine, 'route', 'add', 'default', 'via', '10.66.2.1', 'src', own);
    const pipe = `curl -sS -m 60 '${servers.url('web', '/2000000?offset=7')}' | sha256sum`;
    const answer = await lab.check(machine, ['sh', '-c', pipe], { timeoutMs: 70_000 });
    expect(answer).toContain(digestOf(2_000_000, 7));
    const { stats } = await library.look();
    expect(stats.tcp.pathMtu).toBe(1);
    await library.stop();
  });
});

describe.runIf(ready)('a host that allows no ping sockets', () => {
  it('answers for gateway and alias, and says how to get the rest', async () => {
    await using lab = await Lab.create();
    await lab.check(lab.host, ['sh', '-c', 'echo 1 0 > /proc/sys/net/ipv4/ping_group_range']);
    const netproxy = await lab.startNetproxy(['serve', '--netns', lab.guest, '--tap', 'tap0']);
    await lab.dhcp();
    const ping = async (address: string): Promise<number> =>
      (await lab.exec(lab.guest, ['ping', '-n', '-c', '1', '-W', '1', address])).code ?? -1;
    expect(await ping(GATEWAY)).toBe(0);
    expect(await ping(HOST_ALIAS)).toBe(0);
    expect(await ping(lab.address())).toBe(1);
    expect(netproxy.proc.stderr).toContain('guests can ping the gateway and the host alias only');
    const doctor = await lab.exec(lab.host, [process.execPath, CLI, 'doctor'], { timeoutMs: 30_000 });
    expect(doctor.stdout).toContain('sysctl -w net.ipv4.ping_group_range="0 2147483647"');
  });
});
