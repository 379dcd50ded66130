import { describe, expect, it } from 'vitest';
import { formatTcpInfo } from '../tcp/index.js';
import { FIN, type HostSocket, RST, SYN, type TestNetwork, testNetwork } from './index.js';
import { codeOf, count, digestAll, payload, readAll } from './testing.testutil.js';

const SERVER = '198.51.100.1';

/** A connection of the guest to a server, seen from both ends. */
async function connected(lab: TestNetwork, port = 80) {
  let server: HostSocket | undefined;
  lab.host.accept(`${SERVER}:${port}`, (socket) => (server = socket));
  const client = await lab.run(lab.guest.connect(SERVER, port));
  return { client, server: server! };
}

describe('connect first', () => {
  it('answers the SYN only when the host has connected', async () => {
    await using lab = await testNetwork();
    lab.host.accept(`${SERVER}:80`, () => undefined, { delay: 250 });
    const seen = lab.guest.frames.record();
    const before = lab.clock.now();
    const socket = await lab.run(lab.guest.connect(SERVER, 80));
    expect(lab.clock.now() - before).toBeGreaterThanOrEqual(250);
    expect(lab.clock.now() - before).toBeLessThan(300);
    expect(seen.stop().filter((frame) => frame.tcp !== undefined)).toHaveLength(1);
    expect(socket.info().retransmits).toBe(0);
  });

  it('refuses before the first SYN is repeated', async () => {
    await using lab = await testNetwork();
    lab.host.refuse(`${SERVER}:81`, { delay: 40 });
    const seen = lab.guest.frames.record();
    const before = lab.clock.now();
    expect(await codeOf(lab.run(lab.guest.connect(SERVER, 81)))).toBe('ECONNREFUSED');
    expect(lab.clock.now() - before).toBeLessThan(100);
    const segments = seen.stop().flatMap((frame) => frame.tcp ?? []);
    expect(segments).toHaveLength(1);
    expect(segments[0]!.flags & (RST | SYN)).toBe(RST);
    expect(lab.guest.counters.tcp.retransmits).toBe(0);
  });

  it('refuses on the gateway where nobody listens', async () => {
    await using lab = await testNetwork();
    expect(await codeOf(lab.run(lab.guest.connect(lab.gateway, 81)))).toBe('ECONNREFUSED');
    expect(lab.host.counters.dials).toBe(0);
  });

  it.each([
    ['EHOSTUNREACH', 'EHOSTUNREACH', { code: 1 }],
    ['ENETUNREACH', 'ENETUNREACH', { code: 0 }],
    ['EACCES', 'EHOSTUNREACH', { code: 13 }],
    ['ECONNRESET', 'ECONNREFUSED', undefined],
    ['EADDRNOTAVAIL', 'EHOSTUNREACH', { code: 1 }],
    ['ETIMEDOUT', 'ETIMEDOUT', undefined],
    ['EMFILE', 'ETIMEDOUT', undefined],
  ])('tells %s of the host as %s', async (errno, code, icmp) => {
    await using lab = await testNetwork();
    lab.host.fail(SERVER, errno);
    const error: unknown = await lab.run(
      lab.guest.connect(SERVER, 80, { timeout: 5000 }).catch((e: unknown) => e),
    );
    expect(error).toMatchObject({ code, ...(icmp && { icmp }) });
  });

  it('lets a SYN try again what the host could not do for the moment', async () => {
    await using lab = await testNetwork();
    lab.host.fail(SERVER, 'EMFILE');
    const work = lab.guest.connect(SERVER, 80);
    await lab.clock.advance(500);
    lab.host.accept(SERVER, (socket) => socket.end('at last'));
    const socket = await lab.run(work);
    expect(await lab.run(readAll(socket))).toBe('at last');
  });

  it('cancels the dial of a guest that gives up', async () => {
    await using lab = await testNetwork();
    lab.host.blackhole(SERVER);
    const abort = new AbortController();
    const work = codeOf(lab.guest.connect(SERVER, 80, { signal: abort.signal }));
    await lab.clock.advance(100);
    expect(lab.host.counters.pendingDials).toBe(1);
    abort.abort();
    expect(await lab.run(work)).toBe('ECONNABORTED');
    await lab.clock.settle();
    expect(lab.host.counters).toMatchObject({ pendingDials: 0, cancelled: 1 });
    expect(lab.network.flows()).toEqual([]);
  });

  it('ends a dial after its time, and 2,000 black holes hold up nobody', async () => {
    await using lab = await testNetwork({ limits: { dialTimeout: 20_000 } });
    const other = await lab.attach();
    lab.host.blackhole('203.0.113.0/24');
    lab.host.accept(`${SERVER}:80`, (socket) => socket.end('alive'));
    const holes = Array.from({ length: 2000 }, (_, i) =>
      codeOf(lab.guest.connect(`203.0.113.${1 + (i % 250)}`, 1000 + i, { timeout: 60_000 })),
    );
    await lab.clock.advance(50);
    expect(lab.host.counters.pendingDials).toBe(2000);
    for (const guest of [lab.guest, other]) {
      const before = lab.clock.now();
      const socket = await lab.run(guest.connect(SERVER, 80));
      expect(await lab.run(readAll(socket))).toBe('alive');
      expect(lab.clock.now() - before).toBeLessThan(10);
    }
    await lab.clock.advance(20_000);
    // The SYNs that were repeated in the meantime may have started new ones, the old ones are gone.
    expect(lab.host.counters.cancelled).toBeGreaterThanOrEqual(2000);
    expect(new Set(await lab.run(Promise.all(holes)))).toEqual(new Set(['ETIMEDOUT']));
    await lab.clock.advance(30_000);
    expect(lab.host.counters.pendingDials).toBe(0);
  });
});

describe('a guest that is gone without a word', () => {
  it('is kept by default, and noticed where that is asked for', async () => {
    for (const [limits, open] of [
      [{}, 1],
      [{ keepAlive: 60_000 }, 0],
    ] as const) {
      const cable = { loss: 0 };
      await using lab = await testNetwork({ limits }, { faults: cable });
      await connected(lab);
      await lab.clock.advance(50_000);
      expect(lab.network.flows()).toHaveLength(1);
      // While it answers, a connection may be silent for as long as it likes.
      await lab.clock.advance(3_600_000);
      expect(lab.network.flows()).toHaveLength(1);
      cable.loss = 1;
      await lab.clock.advance(60_000 * 12);
      expect(lab.network.flows()).toHaveLength(open);
      expect(lab.host.counters.openStreams).toBe(open);
    }
  });
});

describe('FIN is FIN', () => {
  it('lets the guest end first and still receive', async () => {
    await using lab = await testNetwork();
    const { client, server } = await connected(lab);
    client.end('question');
    expect(await lab.run(readAll(server))).toBe('question');
    await lab.clock.advance(600_000);
    server.end('answer, ten minutes later');
    expect(await lab.run(readAll(client))).toBe('answer, ten minutes later');
    await lab.clock.advance(120_000);
    expect(lab.network.flows()).toEqual([]);
    expect(lab.host.counters).toMatchObject({ openStreams: 0, resets: 0, closes: 1 });
  });

  it('lets the host end first and still receive', async () => {
    await using lab = await testNetwork();
    const { client, server } = await connected(lab);
    server.end('banner');
    expect(await lab.run(readAll(client))).toBe('banner');
    await lab.clock.advance(600_000);
    client.end('thanks');
    expect(await lab.run(readAll(server))).toBe('thanks');
    await lab.clock.advance(120_000);
    expect(lab.network.flows()).toEqual([]);
    expect(lab.host.counters).toMatchObject({ openStreams: 0, resets: 0, closes: 1 });
  });

  it('closes at once from both sides', async () => {
    await using lab = await testNetwork();
    const { client, server } = await connected(lab);
    client.end('a');
    server.end('b');
    expect(await lab.run(Promise.all([readAll(server), readAll(client)]))).toEqual(['a', 'b']);
    await lab.clock.advance(120_000);
    expect(lab.network.stats().memory).toMatchObject({ tcpFlows: 0, blocksOut: 0 });
  });

  it('never ends a connection for being idle', async () => {
    await using lab = await testNetwork();
    const { client, server } = await connected(lab);
    await lab.clock.advance(24 * 3_600_000);
    server.end('still there');
    expect(await lab.run(readAll(client))).toBe('still there');
  });
});

describe('RST is RST', () => {
  it('from the guest resets the host', async () => {
    await using lab = await testNetwork();
    const { client, server } = await connected(lab);
    client.write('half a requ');
    await lab.clock.settle();
    client.reset();
    expect(await codeOf(lab.run(readAll(server)))).toBe('ECONNRESET');
    expect(lab.host.counters).toMatchObject({ openStreams: 0, resets: 1 });
    expect(lab.network.flows()).toEqual([]);
  });

  it('from the host resets the guest', async () => {
    await using lab = await testNetwork();
    const { client, server } = await connected(lab);
    server.write('half an answ');
    await lab.clock.settle();
    const reset = lab.guest.frames.waitFor((frame) => ((frame.tcp?.flags ?? 0) & RST) !== 0);
    server.reset();
    expect(await codeOf(lab.run(readAll(client)))).toBe('ECONNRESET');
    expect(((await lab.run(reset)).tcp?.flags ?? 0) & FIN).toBe(0);
    expect(lab.network.flows()).toEqual([]);
  });

  it('when the guest is unplugged', async () => {
    await using lab = await testNetwork();
    const { server } = await connected(lab);
    lab.guest.close();
    expect(await codeOf(lab.run(readAll(server)))).toBe('ECONNRESET');
  });
});

describe('data', () => {
  it.each([1500, 9000, 65_520])('is whole in both directions at MTU %i', async (mtu) => {
    await using lab = await testNetwork({ mtu });
    const { bytes, sha256 } = payload(3_000_001);
    const { client, server } = await connected(lab);
    const sums = [digestAll(client), digestAll(server)];
    client.end(bytes);
    server.end(bytes);
    for (const sum of await lab.run(Promise.all(sums))) expect(sum).toEqual({ bytes: bytes.length, sha256 });
    expect(client.info().mss).toBe(mtu - 40 - (client.info().timestamps ? 12 : 0));
    await lab.clock.advance(120_000);
    expect(lab.network.stats().memory.blocksOut).toBe(0);
  });

  it('waits for a slow reader on either side, and holds up no other', async () => {
    await using lab = await testNetwork({ limits: { flowBuffer: 64 * 1024 } });
    const slow = await connected(lab, 80);
    const { bytes, sha256 } = payload(4_000_000);
    slow.client.end(bytes);
    slow.server.end(bytes);
    await lab.clock.advance(10_000);
    const { memory } = lab.network.stats();
    expect(memory.blocksOut).toBeLessThan(2_000_000);
    const { client, server } = await connected(lab, 81);
    client.end('quick');
    server.end('too');
    expect(await lab.run(Promise.all([readAll(server), readAll(client)]))).toEqual(['quick', 'too']);
    const sums = await lab.run(Promise.all([digestAll(slow.server), digestAll(slow.client)]));
    expect(sums.map((sum) => sum.sha256)).toEqual([sha256, sha256]);
  });

  it('opens, moves and closes 1,000 flows at once, and is back where it began', async () => {
    await using lab = await testNetwork();
    lab.host.accept('*:7', (socket) => socket.pipe(socket));
    const { bytes, sha256 } = payload(10_000);
    const work = Array.from({ length: 1000 }, async (_, i) => {
      const socket = await lab.guest.connect(`198.51.100.${1 + (i % 8)}`, 7);
      socket.end(bytes);
      return digestAll(socket);
    });
    const sums = await lab.run(Promise.all(work));
    expect(new Set(sums.map((sum) => sum.sha256))).toEqual(new Set([sha256]));
    await lab.clock.advance(120_000);
    expect(lab.network.stats().memory).toMatchObject({ tcpFlows: 0, blocksOut: 0, udpMappings: 0 });
    expect(lab.host.counters).toMatchObject({ openStreams: 0, pendingDials: 0, resets: 0, closes: 1000 });
  });
});

describe('many short flows', () => {
  it('leave nothing behind, those that are reset or refused included', async () => {
    await using lab = await testNetwork();
    lab.host.accept('*', (socket) => socket.pipe(socket));
    lab.host.accept('*:1003', (socket) => socket.reset());
    lab.host.refuse('*:1004');
    lab.host.accept('*:1005', (socket) => socket.end('early'));
    const flow = async (i: number): Promise<void> => {
      const socket = await lab.guest.connect(SERVER, 1000 + (i % 8));
      if (i % 8 === 6) socket.write('half', () => socket.reset());
      else socket.end('short');
      await readAll(socket);
    };
    const total = count(2000, 20_000);
    const before = lab.network.stats().memory;
    for (let i = 0; i < total; i += 100) {
      await lab.run(Promise.all(Array.from({ length: 100 }, (_, n) => codeOf(flow(i + n)))));
      await lab.clock.advance(1000);
    }
    await lab.clock.advance(200_000);
    expect(lab.network.stats().memory).toEqual(before);
    expect(lab.network.flows()).toEqual([]);
    expect(lab.host.counters).toMatchObject({ dials: total, openStreams: 0, pendingDials: 0 });
    expect(lab.guest.connections).toBe(0);
    expect(lab.guest.bytesHeld).toBe(0);
  });
});

describe('library streams', () => {
  it('listen and dial inside the virtual network', async () => {
    await using lab = await testNetwork();
    lab.network.listen(lab.gateway, 8080, (stream) => stream.end('from the library'));
    const socket = await lab.run(lab.guest.connect(lab.gateway, 8080));
    expect(await lab.run(readAll(socket))).toBe('from the library');
    lab.guest.listen(22, (peer) => peer.end('SSH-2.0-test\r\n'));
    expect(await lab.run(readAll(lab.network.dial('guest1', 22)))).toBe('SSH-2.0-test\r\n');
    expect(await codeOf(lab.run(readAll(lab.network.dial('guest1', 23))))).not.toBe('no error');
    expect(await codeOf(lab.run(readAll(lab.network.dial('nobody', 22))))).toBe('ERR_NETPROXY_DIAL');
  });
});

describe('what is told of a flow', () => {
  it('the connection with the guest in numbers, when asked for', async () => {
    await using lab = await testNetwork();
    const { client } = await connected(lab);
    client.write(Buffer.alloc(5000));
    await lab.clock.advance(1000);
    const [flow] = lab.network.flows({ tcp: true });
    expect(flow).toMatchObject({ state: 'ESTABLISHED', bytesToHost: 5000 });
    expect(flow!.tcp).toMatchObject({ state: 'ESTABLISHED', bytesIn: 5000, congestion: 'cubic' });
    expect(formatTcpInfo(flow!.tcp!)).toMatch(/^ESTABLISHED cubic .* bytes_received:5000/);
    expect(lab.network.flows()[0]).not.toHaveProperty('tcp');
  });
});
