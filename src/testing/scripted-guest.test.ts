import { describe, expect, it } from 'vitest';
import {
  decodeFrame,
  faultyLink,
  type Faults,
  GuestError,
  memoryLink,
  realScheduler,
  RST,
  ScriptedGuest,
  seededRandom,
  SYN,
  VirtualClock,
} from './index.js';
import { codeOf, digestAll, payload, readAll } from './testing.testutil.js';

/** Two guests on one cable. */
function pair(scheduler: VirtualClock | typeof realScheduler = new VirtualClock(), faults?: Faults) {
  const link = memoryLink(scheduler);
  const end =
    faults === undefined ? link.network : faultyLink(link.network, faults, scheduler, seededRandom(9));
  const a = new ScriptedGuest(end, { scheduler, random: seededRandom(1), mac: '52:54:00:00:00:0a' });
  const b = new ScriptedGuest(link.guest, { scheduler, random: seededRandom(2), mac: '52:54:00:00:00:0B' });
  a.configure({ ip: '10.0.0.1' });
  b.configure({ ip: '10.0.0.2' });
  const clock = scheduler as VirtualClock;
  return { a, b, clock, run: <T>(work: Promise<T>): Promise<T> => clock.run(work) };
}

describe('ScriptedGuest', () => {
  it('finds its peer by ARP and pings it', async () => {
    const { a, b, run } = pair();
    expect(await run(a.ping('10.0.0.2'))).toBe(0);
    expect(await run(a.ping('10.0.0.2', { size: 5000 }))).toBe(0);
    expect(await run(a.arp('10.0.0.2'))).toBe(b.mac);
    expect(b.counters.icmp.echoRequests).toBe(2);
    expect(a.counters.ip.malformed + b.counters.ip.malformed).toBe(0);
  });

  it('names what fails as a kernel does', async () => {
    const { a, b, run } = pair();
    expect(await codeOf(run(a.connect('10.0.0.2', 1)))).toBe('ECONNREFUSED');
    expect(await codeOf(run(a.connect('10.0.0.9', 1)))).toBe('EHOSTUNREACH');
    expect(await codeOf(run(a.connect('10.9.9.9', 1)))).toBe('ENETUNREACH');
    expect(await codeOf(run(a.connect('nonsense', 1)))).toBe('EINVAL');
    expect(await codeOf(run(a.ping('10.9.9.9')))).toBe('ENETUNREACH');
    expect(await codeOf(run(a.dhcp({ timeout: 5000 })))).toBe('ETIMEDOUT');
    a.configure({ ip: '10.0.0.1' });
    b.listen(80, () => undefined);
    expect(() => b.listen(80, () => undefined)).toThrow('EADDRINUSE');
    const socket = a.udp(7000);
    expect(() => a.udp(7000)).toThrow('EADDRINUSE');
    expect(() => socket.send(new Uint8Array(65_508), '10.0.0.2', 1)).toThrow('EMSGSIZE');
    expect(() => socket.send(new Uint8Array(1473), '10.0.0.2', 1, { dontFragment: true })).toThrow(
      'EMSGSIZE',
    );
    socket.send('x', '10.0.0.2', 9);
    expect(await codeOf(run(socket.recv()))).toBe('ECONNREFUSED');
    expect(await codeOf(run(socket.recv({ timeout: 10 })))).toBe('ETIMEDOUT');
    expect(() => new ScriptedGuest(memoryLink(new VirtualClock()).guest, { mac: 'no' })).toThrow(GuestError);
  });

  it('gives up a connection after its time', async () => {
    const { a, b, clock, run } = pair();
    await run(a.ping('10.0.0.2'));
    b.close();
    const before = clock.now();
    expect(await codeOf(run(a.connect('10.0.0.2', 1, { timeout: 700 })))).toMatch(/ETIMEDOUT|ENETDOWN/);
    expect(clock.now() - before).toBeLessThanOrEqual(700);
  });

  it('carries streams both ways, half-closed and reset', async () => {
    const { a, b, clock, run } = pair();
    const { bytes, sha256 } = payload(2_000_000);
    b.listen(80, (socket) => socket.pipe(socket));
    const echo = await run(a.connect('10.0.0.2', 80));
    echo.end(bytes);
    expect(await run(digestAll(echo))).toEqual({ bytes: bytes.length, sha256 });
    expect({ read: echo.bytesRead, written: echo.bytesWritten }).toEqual({
      read: 2_000_000,
      written: 2_000_000,
    });

    b.listen(81, (socket) => socket.reset());
    const reset = a.frames.waitFor((frame) => ((frame.tcp?.flags ?? 0) & RST) !== 0);
    const broken = await run(a.connect('10.0.0.2', 81));
    expect(await codeOf(run(readAll(broken)))).toBe('ECONNRESET');
    expect((await run(reset)).tcp?.sourcePort).toBe(81);

    const listener = b.listen(82, (socket) => socket.end());
    listener.close();
    expect(await codeOf(run(a.connect('10.0.0.2', 82)))).toBe('ECONNREFUSED');
    await clock.advance(120_000);
    expect([a.connections, b.connections, a.bytesHeld, b.bytesHeld]).toEqual([0, 0, 0, 0]);
  });

  it('survives a bad cable, seeded: twice the same', async () => {
    const once = async (): Promise<unknown> => {
      const { a, b, clock, run } = pair(undefined, { loss: 0.05, reorder: 0.05, duplicate: 0.02, delay: 5 });
      const { bytes, sha256 } = payload(300_000);
      b.listen(80, (socket) => socket.end(bytes));
      const got = await run(digestAll(await run(a.connect('10.0.0.2', 80))));
      expect(got.sha256).toBe(sha256);
      return [clock.now(), a.counters, b.counters];
    };
    expect(await once()).toEqual(await once());
  });

  it('shows the frames it receives, and sends any', async () => {
    const { a, b, clock, run } = pair();
    await run(a.ping('10.0.0.2'));
    const seen = b.frames.record();
    const first = (async () => {
      for await (const frame of b.frames) return frame;
      return undefined;
    })();
    void codeOf(a.connect('10.0.0.2', 5));
    await clock.settle();
    expect(seen.stop().map((frame) => frame.tcp?.flags)).toEqual([SYN]);
    expect((await run(first))?.tcp?.destinationPort).toBe(5);
    expect(b.frames.active).toBe(false);
    const frame = Uint8Array.from({ length: 60 }, (_, i) => i);
    const raw = b.frames.waitFor(({ bytes }) => bytes.length === 60);
    a.sendFrame(frame);
    expect((await run(raw)).bytes).toEqual(frame);
    expect(await codeOf(run(b.frames.waitFor(() => false, 100)))).toBe('ETIMEDOUT');
  });

  it('is unplugged without a word', async () => {
    const { a, b, clock, run } = pair();
    b.listen(80, () => undefined);
    const socket = await run(a.connect('10.0.0.2', 80));
    const waiting = codeOf(a.udp().recv());
    const tap = codeOf(a.frames.waitFor(() => false));
    const seen = b.frames.record();
    a.close();
    a.close();
    await clock.settle();
    expect(socket.destroyed).toBe(true);
    expect([await waiting, await tap]).toEqual(['EBADF', 'ENETDOWN']);
    expect(seen.stop()).toEqual([]);
    await clock.advance(60_000);
    expect(clock.pendingTimers).toBe(0);
  });

  it('works on real time too', async () => {
    const { a, b } = pair(realScheduler);
    expect(await a.ping('10.0.0.2')).toBeGreaterThanOrEqual(0);
    b.listen(80, (socket) => socket.pipe(socket));
    const { bytes, sha256 } = payload(1_000_000);
    const socket = await a.connect('10.0.0.2', 80);
    socket.end(bytes);
    expect((await digestAll(socket)).sha256).toBe(sha256);
    const [one, two] = [a.udp(), b.udp(9)];
    one.send('real', '10.0.0.2', 9);
    expect(Buffer.from((await two.recv()).bytes).toString()).toBe('real');
    a.close();
  });
});

describe('decodeFrame', () => {
  it('names what is wrong', () => {
    expect(decodeFrame(new Uint8Array(13))).toBeUndefined();
    const frame = new Uint8Array(60);
    frame[12] = 8;
    expect(decodeFrame(frame)?.fault).toBe('ipv4 version');
    frame[13] = 6;
    expect(decodeFrame(frame)?.fault).toBe('arp');
    frame[13] = 9;
    expect(decodeFrame(frame)).toMatchObject({ ethernet: { etherType: 0x0809 } });
  });
});
