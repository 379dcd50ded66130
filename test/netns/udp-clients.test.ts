/** Programs that live on datagrams: NTP, iperf3 -u, streams like QUIC's, long DNS answers, STUN (coturn), multicast (iperf). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { until } from '../support/deadline.js';
import { Lab } from './lab.js';
import { LibraryNetwork } from './library.js';
import { type ProbeRequest, probe, probeResult, startProbe } from './probe.js';
import { GATEWAY, scenarioReady } from './scenario.js';
import type { Servers } from './servers.js';
import { FAR, makeWorld } from './world.js';

const ready = scenarioReady('datagram programs', 'ntpdig', 'iperf3', 'dig', 'dnsmasq');

describe.runIf(ready)('programs of a kernel guest that live on datagrams', () => {
  let lab: Lab;
  let library: LibraryNetwork;
  let servers: Servers;

  beforeAll(async () => {
    lab = await Lab.create();
    const long = Array.from({ length: 20 }, (_, n) => `--txt-record=long.lab.test,${String(n).repeat(200)}`);
    await lab.dns(['--edns-packet-max=4096', ...long.slice(0, 16)]);
    library = await LibraryNetwork.start(lab.host, {
      taps: [{ name: 'tap0', netns: `/run/netns/${lab.guest}` }],
    });
    await lab.dhcp();
    servers = await lab.serve({ echo: { kind: 'udp-echo', quiet: true } });
  });

  afterAll(async () => {
    await library?.stop();
    await lab?.destroy();
  });

  it('NTP: asks the gateway for the time', async () => {
    const output = await lab.check(lab.guest, ['ntpdig', '-t', '5', '-j', GATEWAY], { timeoutMs: 20_000 });
    const { host, stratum, offset } = JSON.parse(output) as { host: string; stratum: number; offset: number };
    expect({ host, stratum }).toEqual({ host: GATEWAY, stratum: 3 });
    // One clock: what is left is how unlike both ways are.
    expect(Math.abs(offset)).toBeLessThan(1);
  });

  it.each([
    ['up', []],
    ['down', ['-R']],
  ])('iperf3 -u: %s, with datagrams of 1,350 bytes', async (_, how) => {
    const server = lab.spawn(lab.host, ['iperf3', '-s', '-1', '-B', lab.address(), '--forceflush'], {
      stdin: 'ignore',
    });
    await server.waitFor(/Server listening/, 15_000);
    const argv = [
      'iperf3',
      '-u',
      '-J',
      '-b',
      '5M',
      '-l',
      '1350',
      '-t',
      `${count(2, 10)}`,
      '-c',
      lab.address(),
    ];
    const output = await lab.check(lab.guest, [...argv, ...how], { timeoutMs: 60_000 });
    const { end } = JSON.parse(output) as { end: { sum: { packets: number; lost_packets: number } } };
    expect(end.sum.packets).toBeGreaterThan(500);
    expect(end.sum.lost_packets / end.sum.packets).toBeLessThan(0.1);
    await server.kill();
  });

  it('streams of 1,350 bytes like QUIC’s, both ways at once', async () => {
    const result = await probe(lab, {
      mode: 'duplex',
      ...servers.at('echo'),
      bytes: 1350,
      rate: 2000,
      ms: count(2_000, 10_000),
    });
    expect(result).toMatchObject({ wrong: 0 });
    expect(Number(result['sent'])).toBeGreaterThan(1000);
    expect(Number(result['received'])).toBeGreaterThan(Number(result['sent']) * 0.95);
  });

  it('DNS: an answer of close to 4 KiB, straight from a server, over fragments', async () => {
    const dns = lab.spawn(lab.host, [
      ...[
        'dnsmasq',
        '-k',
        '--conf-file=/dev/null',
        '--no-resolv',
        '--no-hosts',
        '--user=root',
        '--pid-file=',
      ],
      ...[
        '--bind-interfaces',
        `--listen-address=${lab.address(1)}`,
        '--edns-packet-max=4096',
        '--log-facility=-',
      ],
      ...Array.from(
        { length: 16 },
        (_, n) => `--txt-record=long.lab.test,${String.fromCharCode(97 + n).repeat(220)}`,
      ),
    ]);
    await dns.waitFor(/started, version/, 10_000, 'stderr');
    const before = (await library.look()).stats.reassembly.reassembled;
    const argv = [
      'dig',
      `@${lab.address(1)}`,
      '+bufsize=4096',
      '+ignore',
      '+notcp',
      '+tries=2',
      'long.lab.test',
      'TXT',
    ];
    const output = await lab.check(lab.guest, argv, { timeoutMs: 20_000 });
    const size = Number(/MSG SIZE {2}rcvd: (\d+)/.exec(output)?.[1]);
    expect(output).toContain('ANSWER: 16');
    expect(size).toBeGreaterThan(3500);
    // Fragments come to the guest's kernel; none has to be put together here.
    expect((await library.look()).stats.reassembly.reassembled).toBe(before);
    await dns.kill();
  });

  it('multicast and broadcast never leave to the host', async () => {
    const capture = await lab.capture(lab.host, 'any', 'udp dst port 5399');
    const own =
      (await lab.check(lab.guest, ['ip', '-4', '-o', 'addr', 'show', 'tap0'])).match(/inet ([\d.]+)/)?.[1] ??
      '';
    const before = (await library.look()).stats.stack.multicastKept;
    await probe(lab, { mode: 'sendGroup', address: own, group: '239.1.2.3', port: 5399, text: 'x' });
    const after = (await library.look()).stats.stack.multicastKept;
    expect(after).toBeGreaterThanOrEqual(before + 5);
    expect(capture.packets).toEqual([]);
    await capture.stop();
  });
});

const stunReady = scenarioReady('STUN', 'turnserver', 'turnutils_natdiscovery');

describe.runIf(stunReady)('the NAT that a STUN client finds', () => {
  it.each([
    ['full-cone', 'Endpoint Independent', { mapping: true, otherPort: true, otherAddress: true }],
    ['symmetric', 'Address and Port Dependent', { mapping: false, otherPort: false, otherAddress: false }],
  ] as const)('is %s: mapping and filtering are "%s"', async (udpNat, kind, expected) => {
    await using lab = await Lab.create();
    const world = await makeWorld(lab);
    const others = ['10.77.3.3', '10.77.3.4'] as const;
    for (const address of others)
      await lab.check(world, ['ip', 'addr', 'add', `${address}/24`, 'dev', 'w3b']);
    const library = await LibraryNetwork.start(lab.host, {
      config: { udpNat },
      taps: [{ name: 'tap0', netns: `/run/netns/${lab.guest}` }],
    });
    const { ip = '' } = await lab.dhcp();
    const coturn = lab.spawn(world, [
      ...['turnserver', '-n', '-v', '--stun-only', '--log-file=stdout', `--pidfile=${lab.path('turn.pid')}`],
      ...['--no-tls', '--no-dtls', '--no-cli', `--userdb=${lab.path('turn.db')}`, '-p', '3478'],
      ...[FAR, others[0]].flatMap((address) => ['-L', address]),
    ]);
    await coturn.waitFor(/UDP listener opened on: 10\.77\.3\.3:3479/, 30_000);
    const client = ['turnutils_natdiscovery', '-m', '-f', '-L', ip, FAR];
    const said = await lab.check(lab.guest, client, { timeoutMs: 60_000 });
    expect(said).toContain(`NAT with ${kind} Mapping!`);
    expect(said).toContain(`NAT with ${kind} Filtering!`);
    await coturn.kill('SIGKILL');
    // The same questions, with a third address that answers, which that client does not know.
    const servers = [FAR, others[0]].map((address) => ({ address, port: 3478 }));
    for (const server of servers) {
      const proc = startProbe(lab, { mode: 'stunServer', ...server, other: others[1] }, world);
      await proc.waitFor(/"listening"/, 10_000);
    }
    const found = await probe(lab, { mode: 'natBehaviour', servers });
    expect(found).toMatchObject(expected);
    await library.stop();
  });
});

describe.runIf(scenarioReady('multicast', 'iperf'))('two guests', () => {
  it('hear each other by multicast: a message, and a stream of iperf', async () => {
    await using lab = await Lab.create();
    await using other = await Lab.create();
    const library = await LibraryNetwork.start(lab.host, {
      taps: [lab, other].map(({ guest }) => ({ name: 'tap0', netns: `/run/netns/${guest}` })),
    });
    const [one, two] = [(await lab.dhcp())['ip'] ?? '', (await other.dhcp())['ip'] ?? ''];
    const group = { group: '239.1.2.3', port: 5398 };
    const join: ProbeRequest = { mode: 'joinGroup', address: two, ...group, ms: 10_000 };
    const listener = startProbe(other, join);
    await listener.waitFor(/"listening"/, 10_000);
    await probe(lab, { mode: 'sendGroup', address: one, ...group, text: 'hello' });
    expect(await probeResult(listener)).toEqual({ text: 'hello', from: one });

    const [to, port] = ['239.1.2.4', '5397'];
    const hears = other.spawn(other.guest, ['iperf', '-s', '-u', '-B', to, '-p', port, '-y', 'C'], {
      stdin: 'ignore',
    });
    // It is in the group when its kernel says so.
    await until(20_000, 'the membership', async () =>
      (await other.check(other.guest, ['ip', '-4', 'maddr', 'show', 'dev', 'tap0'])).includes(to),
    );
    const datagrams = ['-T', '4', '-l', '1350', '-b', '2M', '-n', `${200 * 1350}`];
    const says = ['iperf', '-c', to, '-u', '-p', port, '-B', one, ...datagrams];
    await lab.check(lab.guest, says, { timeoutMs: 60_000 });
    await hears.waitFor(/^\d.*,239\.1\.2\.4,.*$/m, 30_000);
    // Time, from, port, to, port, …, bytes, bits a second, jitter, lost, in all.
    const [, from, , , , , , bytes] = hears.stdout.trim().split(',');
    expect(from).toBe(one);
    expect(Number(bytes)).toBeGreaterThan(100 * 1350);
    await hears.kill('SIGKILL');
    await library.stop();
  });
});
