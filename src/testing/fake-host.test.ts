import { describe, expect, it } from 'vitest';
import { BlockPool, plainMemory, SendRing, SliceQueue } from '../core/index.js';
import type { HostStreamHandler } from '../core/index.js';
import { FakeHost, type HostSocket, testNetwork, realScheduler, VirtualClock } from './index.js';
import { codeOf, readAll } from './testing.testutil.js';

/** The network's side of a stream: notes what it is told. */
function handler() {
  const told: string[] = [];
  const note = (what: string) => (): void => void told.push(what);
  const owner: HostStreamHandler = {
    connected: note('connected'),
    failed: (errno) => told.push(`failed ${errno}`),
    readable: note('readable'),
    writable: note('writable'),
    ended: note('ended'),
    broken: (errno) => told.push(`broken ${errno}`),
  };
  return { told, owner };
}

function rig() {
  const clock = new VirtualClock();
  const host = new FakeHost(clock);
  const { told, owner } = handler();
  const queue = new SliceQueue(new BlockPool(plainMemory));
  const ring = new SendRing(plainMemory, 64 * 1024);
  const dial = (ip: string, port: number) => host.io.dial({ kind: 'tcp', host: ip, port }, owner);
  return { clock, host, told, queue, ring, dial };
}

describe('FakeHost', () => {
  it('answers dials as scripted, never from inside the call', async () => {
    const { clock, host, told, dial } = rig();
    host.refuse('10.0.0.0/8');
    host.accept('10.0.0.1', () => undefined);
    host.fail('10.0.0.1:81', 'EHOSTUNREACH', { delay: 50 });
    host.blackhole('*:99');
    for (const [ip, port] of [
      ['10.0.0.1', 80],
      ['10.0.0.1', 81],
      ['10.0.0.2', 80],
      ['192.0.2.1', 1],
      ['192.0.2.1', 99],
    ] as const)
      dial(ip, port);
    expect(told).toEqual([]);
    await clock.settle();
    expect(told).toEqual(['connected', 'failed ECONNREFUSED', 'failed ECONNREFUSED']);
    await clock.advance(50);
    expect(told.at(-1)).toBe('failed EHOSTUNREACH');
    expect(host.counters).toMatchObject({
      dials: 5,
      accepted: 1,
      refused: 3,
      pendingDials: 1,
      openStreams: 1,
    });
    expect(() => host.accept('example.test:80', () => undefined)).toThrow('bad destination');
  });

  it('passes bytes, FIN and RST, and makes writers wait', async () => {
    const { clock, host, told, queue, ring, dial } = rig();
    let socket: HostSocket | undefined;
    host.accept('*', (peer) => (socket = peer));
    const stream = dial('10.0.0.1', 80);
    await clock.settle();
    const bytes = new Uint8Array(1_000_000).fill(7);
    queue.copy(bytes, 0, bytes.length);
    for (let i = 0; i < 20; i++) queue.copy(bytes, 0, 100_000);
    const total = queue.bytes;
    expect(stream.send(queue)).toBeLessThan(total);
    await clock.settle();
    expect(told).toEqual(['connected']);
    let got = 0;
    socket!.on('data', (chunk: Buffer) => (got += chunk.length));
    for (let i = 0; i < 100 && queue.bytes > 0; i++) {
      await clock.settle();
      stream.send(queue);
    }
    stream.shutdown();
    await clock.settle();
    expect([got, socket!.readableEnded]).toEqual([total, true]);

    told.length = 0;
    socket!.end(new Uint8Array(100_000));
    await clock.settle();
    expect(told).toEqual(['readable']);
    let received = 0;
    while (received < 100_000) {
      received += stream.receive(ring);
      ring.free();
      await clock.settle();
    }
    expect(told.at(-1)).toBe('ended');
    stream.close();
    expect(host.counters).toMatchObject({ openStreams: 0, closes: 1 });
  });

  it('breaks streams from either side', async () => {
    const { clock, host, told, dial } = rig();
    let socket: HostSocket | undefined;
    host.accept('*', (peer) => (socket = peer));
    dial('10.0.0.1', 80);
    await clock.settle();
    socket!.reset();
    await clock.settle();
    expect(told).toEqual(['connected', 'broken ECONNRESET']);
    const stream = dial('10.0.0.1', 80);
    await clock.settle();
    const end = codeOf(readAll(socket!));
    stream.reset();
    expect(await clock.run(end)).toBe('ECONNRESET');
    host.blackhole('*');
    dial('10.0.0.1', 80).reset();
    expect(host.counters).toMatchObject({ openStreams: 0, pendingDials: 0, cancelled: 1, resets: 2 });
  });

  it('resolves names as scripted', async () => {
    const { host } = rig();
    host.name('a.test', '192.0.2.1', '2001:db8::1');
    host.failName('b.test', 'EAI_AGAIN');
    expect(await host.resolver.lookup('A.test', 4)).toEqual([{ address: '192.0.2.1', family: 4 }]);
    expect(await host.resolver.lookup('a.test', 6)).toEqual([{ address: '2001:db8::1', family: 6 }]);
    expect(await host.resolver.reverse('192.0.2.1')).toEqual(['a.test']);
    expect(await codeOf(host.resolver.lookup('b.test', 4))).toBe('EAI_AGAIN');
    expect(await codeOf(host.resolver.lookup('c.test', 4))).toBe('ENOTFOUND');
    host.name('d.test', '192.0.2.1');
    expect(await codeOf(host.resolver.lookup('d.test', 6))).toBe('ENODATA');
    expect(await codeOf(host.resolver.reverse('192.0.2.9'))).toBe('ENOTFOUND');
  });
});

describe('testNetwork', () => {
  it('runs on real time when told so', async () => {
    await using lab = await testNetwork({}, { scheduler: realScheduler });
    lab.host.accept('198.51.100.1:80', (socket) => socket.end('real'));
    expect(await readAll(await lab.guest.connect('198.51.100.1', 80))).toBe('real');
    expect(() => lab.clock).toThrow('virtual clock');
  });

  it('is the same twice with the same seed, and another with another', async () => {
    const once = async (seed: number): Promise<unknown> => {
      await using lab = await testNetwork({}, { seed, faults: { loss: 0.1, delay: 3, jitter: 2 } });
      lab.host.accept('*', (socket) => socket.end(new Uint8Array(50_000)));
      await lab.run(readAll(await lab.run(lab.guest.connect('198.51.100.1', 80))));
      return [lab.clock.now(), lab.network.stats()];
    };
    expect(await once(5)).toEqual(await once(5));
    expect(await once(5)).not.toEqual(await once(6));
  });

  it('without a guest has none', async () => {
    await using lab = await testNetwork({}, { guest: false });
    expect(() => lab.guest).toThrow('no guest');
  });
});
