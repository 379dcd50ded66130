/** Guests' datagrams: full-cone NAT, errors, fragments, idle mappings. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOST_UNREACHABLE, Lab, NET_UNREACHABLE, PROHIBITED } from './lab.js';
import { LibraryNetwork } from './library.js';
import { probe } from './probe.js';
import { HOST_ALIAS, scenarioReady } from './scenario.js';
import type { Servers } from './servers.js';

const ready = scenarioReady('udp', 'traceroute', 'socat', 'tcpdump');

/** The largest datagram of IPv4: 65,535 less the headers of IP and UDP. */
const LARGEST = 65_507;

describe.runIf(ready)('datagrams of a kernel guest', () => {
  let lab: Lab;
  let library: LibraryNetwork;
  let servers: Servers;

  beforeAll(async () => {
    lab = await Lab.create();
    library = await LibraryNetwork.start(lab.host, {
      config: { limits: { udpIdle: 2_000, udpPerGuest: 100 } },
      taps: [{ name: 'tap0', netns: `/run/netns/${lab.guest}` }],
    });
    await lab.dhcp();
    servers = await lab.serve({
      echo: { kind: 'udp-echo', quiet: true },
      third: { kind: 'udp-third-party', replyAddress: lab.address(2) },
      local: { kind: 'udp-echo', address: '127.0.0.1' },
      discard: { kind: 'udp-discard', quiet: true },
    });
  });

  afterAll(async () => {
    await library?.stop();
    await lab?.destroy();
  });

  it('come back from whom they were sent to', async () => {
    const result = await lab.client({
      mode: 'udp',
      ...servers.at('echo'),
      count: 200,
      bytes: 1200,
      rate: 500,
    });
    expect(result).toMatchObject({ sent: 200, wrong: 0, errors: {} });
    // Datagrams may be lost; on a quiet link none is.
    expect(result.received).toBeGreaterThanOrEqual(190);
    const { address, port } = servers.at('echo');
    expect(result.from).toEqual([`${address}:${port}`]);
  });

  it('are answered by third parties too', async () => {
    const result = await lab.client({ mode: 'udp', ...servers.at('third'), count: 5, anyPeer: true });
    expect(result.received).toBe(5);
    expect(result.from?.[0]).toMatch(/^198\.18\.0\.3:/);
  });

  it('reach the host by its alias, which is also who answers', async () => {
    const { port } = servers.at('local');
    const result = await lab.client({ mode: 'udp', address: HOST_ALIAS, port, count: 5 });
    expect(result).toMatchObject({ received: 5, from: [`${HOST_ALIAS}:${port}`] });
  });

  it('of one guest port go out by one port of the host, whatever their destination', async () => {
    const socat = (address: string, port: number) =>
      lab.check(lab.guest, ['sh', '-c', `echo x | socat -t 1 - UDP4:${address}:${port},sourceport=7777`]);
    const seen = servers.events.length;
    await socat(HOST_ALIAS, servers.at('local').port);
    await socat(servers.at('third').address, servers.at('third').port);
    const ports = servers.events.slice(seen).map(({ remote }) => remote?.port);
    expect(ports).toHaveLength(2);
    expect(ports[0]).toBe(ports[1]);
  });

  it('to a closed port bring port unreachable', async () => {
    const send = (address: string) => probe(lab, { mode: 'udpConnected', address, port: 9 });
    expect(await send(lab.address())).toMatchObject({ error: 'ECONNREFUSED' });
    expect(await send(HOST_ALIAS)).toMatchObject({ error: 'ECONNREFUSED' });
  });

  it('that cannot go on bring the kind of unreachable that the host has', async () => {
    // Linux keeps these from a datagram socket, so the wire is looked at.
    const capture = await lab.capture(lab.guest, 'tap0', 'icmp');
    for (const address of [HOST_UNREACHABLE, NET_UNREACHABLE, PROHIBITED])
      await probe(lab, { mode: 'udpConnected', address, port: 9, tries: 1, timeoutMs: 300 });
    await capture.packet('host unreachable', ({ line }) => /host 192\.0\.2\.1 unreachable/.test(line));
    await capture.packet('net unreachable', ({ line }) => /net 203\.0\.113\.1 unreachable/.test(line));
    await capture.packet('prohibited', ({ line }) => /198\.51\.100\.1.*(prohibited|filtered)/.test(line));
    await capture.stop();
  });

  it('of every size pass both ways, in fragments where they are longer than a packet', async () => {
    for (const bytes of [0, 1, 1472, 1473, 9_000, LARGEST]) {
      const result = await probe(lab, { mode: 'udpConnected', ...servers.at('echo'), bytes });
      expect(result).toMatchObject({ bytes, same: true });
    }
    const many = await lab.client({
      mode: 'udp',
      ...servers.at('echo'),
      count: 20,
      bytes: 20_000,
      rate: 100,
    });
    expect(many.received).toBeGreaterThanOrEqual(18);
  });

  it('of one request and one reply leave nothing behind after their idle time', async () => {
    const one = { mode: 'udp', ...servers.at('echo'), count: 1 } as const;
    const idle = async (expired: number) =>
      library.lookUntil('mappings that went', ({ stats }) => stats.udp.expired >= expired);
    const began = await library.look();
    await lab.client(one);
    const before = await idle(began.stats.udp.expired + 1);
    for (let n = 0; n < 3; n++) expect((await lab.client(one)).received).toBe(1);
    const after = await idle(before.stats.udp.expired + 3);
    expect(after.stats.memory.udpMappings).toBeLessThanOrEqual(before.stats.memory.udpMappings);
    expect(after.fds).toBeLessThanOrEqual(before.fds);
    expect(after.handles).toBeLessThanOrEqual(before.handles);
  });

  it('of a guest that opens ever more ports push out its own oldest mapping', async () => {
    const script = `const d=require('dgram');let n=0;(function go(){if(n++==150)return setTimeout(()=>process.exit(0),300);
      const s=d.createSocket('udp4');s.send('x',${servers.at('discard').port},'${lab.address()}',()=>{s.close();setTimeout(go,1)})})()`;
    await lab.check(lab.guest, [process.execPath, '-e', script], { timeoutMs: 30_000 });
    const { stats } = await library.look();
    expect(stats.memory.udpMappings).toBeLessThanOrEqual(100);
    expect(stats.udp.evicted).toBeGreaterThanOrEqual(50);
  });

  it('show the way to traceroute', async () => {
    const hops = await lab.check(
      lab.guest,
      ['traceroute', '-n', '-q', '1', '-w', '3', '-m', '4', lab.address()],
      {
        timeoutMs: 40_000,
      },
    );
    expect(hops).toMatch(/^ 1 {2}192\.168\.127\.1 /m);
    expect(hops).toMatch(/198\.18\.0\.1 .*ms/);
  });
});
