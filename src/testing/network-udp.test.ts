import { describe, expect, it } from 'vitest';
import { type HostUdp, type HostUdpHandler, ipv4, parseIpv4 } from '../core/index.js';
import { type GuestUdpSocket, testNetwork } from './index.js';
import { codeOf } from './testing.testutil.js';

const SERVER = '198.51.100.1';
const ALIAS = '192.168.127.254';

describe('UDP', () => {
  it('goes out and comes back, of any size', async () => {
    await using lab = await testNetwork();
    lab.host.echoUdp(`${SERVER}:7`);
    const socket = lab.guest.udp();
    for (const size of [0, 1, 1472, 1473, 9000, 65_507]) {
      const sent = Uint8Array.from({ length: size }, (_, i) => (i * 7) & 255);
      socket.send(sent, SERVER, 7);
      const got = await lab.run(socket.recv());
      expect({ ip: got.ip, port: got.port, size: got.bytes.length }).toEqual({ ip: SERVER, port: 7, size });
      expect(Buffer.compare(got.bytes, sent)).toBe(0);
    }
    expect(lab.host.counters.openUdp).toBe(1);
    expect(lab.guest.counters.udp).toMatchObject({ badChecksum: 0, malformed: 0 });
  });

  it('is a full cone: third parties reach the guest', async () => {
    await using lab = await testNetwork();
    lab.host.datagrams('*:3478', (datagram) => {
      datagram.reply('from where it was sent');
      datagram.reply('from elsewhere', { host: '203.0.113.5', port: 9999 });
    });
    const socket = lab.guest.udp(5000);
    socket.send('hello', SERVER, 3478);
    expect(await lab.run(socket.recv())).toMatchObject({ ip: SERVER, port: 3478 });
    expect(await lab.run(socket.recv())).toMatchObject({ ip: '203.0.113.5', port: 9999 });
    socket.send('hello', '198.51.100.2', 3478);
    await lab.clock.settle();
    expect(lab.host.counters.openUdp).toBe(1);
  });

  it('forgets one question with one answer after 30 s, a stream later', async () => {
    await using lab = await testNetwork();
    lab.host.echoUdp('*');
    const once = lab.guest.udp();
    const stream = lab.guest.udp();
    once.send('a', SERVER, 53);
    for (let i = 0; i < 3; i++) {
      stream.send('b', SERVER, 5004);
      await lab.run(stream.recv());
    }
    await lab.clock.advance(29_000);
    expect(lab.host.counters.openUdp).toBe(2);
    await lab.clock.advance(3000);
    expect(lab.host.counters.openUdp).toBe(1);
    await lab.clock.advance(180_000);
    expect(lab.host.counters.openUdp).toBe(0);
    expect(lab.network.stats().memory.udpMappings).toBe(0);
  });

  it('drops the least recently used of a guest at its cap, and of all at theirs', async () => {
    await using lab = await testNetwork({ limits: { udpPerGuest: 10, udpTotal: 15 } });
    lab.host.echoUdp('*');
    const other = await lab.attach();
    const [first] = Array.from({ length: 10 }, (_, i) => {
      const socket = lab.guest.udp(6000 + i);
      socket.send('x', SERVER, 53);
      return socket;
    });
    await lab.clock.advance(1500);
    first!.send('again', SERVER, 53);
    await lab.clock.settle();
    expect(lab.host.counters.openUdp).toBe(10);
    lab.guest.udp(6010).send('x', SERVER, 53);
    await lab.clock.settle();
    expect(lab.host.counters.openUdp).toBe(10);
    expect(lab.network.stats().udp.evicted).toBe(1);
    const ports = lab.network.flows().map((flow) => flow.guestAddress.split(':')[1]);
    expect(ports).toContain('6000');
    expect(ports).not.toContain('6001');
    for (let i = 0; i < 6; i++) other.udp().send('x', SERVER, 53);
    await lab.clock.settle();
    expect(lab.host.counters.openUdp).toBe(15);
    expect(lab.network.stats().udp.evicted).toBe(2);
  });

  it('tells what the host reports by ICMP', async () => {
    await using lab = await testNetwork();
    lab.host.failUdp('198.51.100.2', 'ECONNREFUSED');
    lab.host.failUdp('198.51.100.3', 'EHOSTUNREACH');
    lab.host.failUdp('198.51.100.4', 'EMSGSIZE', 1400);
    const socket = lab.guest.udp();
    for (const [ip, code] of [
      ['198.51.100.2', 'ECONNREFUSED'],
      ['198.51.100.3', 'EHOSTUNREACH'],
      ['198.51.100.4', 'EMSGSIZE'],
    ] as const) {
      socket.send('x', ip, 9);
      const error: unknown = await lab.run(socket.recv().catch((e: unknown) => e));
      expect(error).toMatchObject({ code });
      if (code === 'EMSGSIZE') expect(error).toMatchObject({ icmp: { mtu: 1400 } });
    }
    socket.send('x', lab.gateway, 9);
    expect(await codeOf(lab.run(socket.recv()))).toBe('ECONNREFUSED');
  });

  it('tells errors in the name of the router that found them, where the guest can know it', async () => {
    await using lab = await testNetwork();
    const router = parseIpv4('203.0.113.9')!;
    const inside = parseIpv4('192.168.127.77')!;
    lab.host.failUdp('198.51.100.5', 'EHOSTUNREACH', 0, { type: 11, code: 0, from: router });
    lab.host.failUdp('198.51.100.6', 'EMSGSIZE', 1280, { type: 3, code: 4, from: router });
    lab.host.failUdp('198.51.100.7', 'EHOSTUNREACH', 0, { type: 3, code: 1, from: inside });
    lab.host.failUdp('198.51.100.8', 'EPROTO', 0, { type: 12, code: 0, from: router });
    const socket = lab.guest.udp();
    for (const [ip, icmp] of [
      ['198.51.100.5', { type: 11, code: 0, from: '203.0.113.9' }],
      ['198.51.100.6', { type: 3, code: 4, mtu: 1280, from: '203.0.113.9' }],
      ['198.51.100.7', { type: 3, code: 1, from: lab.gateway }],
    ] as const) {
      socket.send('x', ip, 9);
      expect(await lab.run(socket.recv().catch((e: unknown) => e))).toMatchObject({ icmp });
    }
    socket.send('x', '198.51.100.8', 9);
    expect(await codeOf(lab.run(socket.recv({ timeout: 1000 })))).toBe('ETIMEDOUT');
    const { udp } = lab.network.stats();
    expect(udp).toMatchObject({ timeExceeded: 1, fragmentationNeeded: 1, unreachable: 1, errorsUntold: 1 });
  });

  it('keeps TTL, less our hop, with DSCP, ECN and DF, both ways', async () => {
    await using lab = await testNetwork();
    const seen: unknown[] = [];
    lab.host.datagrams('*', ({ ttl, tos, dontFragment, reply }) => {
      seen.push([ttl, tos, dontFragment]);
      reply('x', { host: SERVER, port: 9, ttl: 50, tos: 0xb9 });
    });
    const socket = lab.guest.udp();
    const frame = lab.guest.frames.waitFor(({ udp }) => udp !== undefined);
    socket.send('x', SERVER, 9, { ttl: 2, tos: 0x2e, dontFragment: true });
    expect((await lab.run(frame)).ipv4).toMatchObject({ ttl: 49, tos: 0xb9 });
    socket.send('x', SERVER, 9);
    // The host itself is no hop further than its alias.
    socket.send('x', ALIAS, 9, { ttl: 1 });
    await lab.clock.settle();
    expect(seen).toEqual([
      [1, 0x2e, true],
      [63, 0, false],
      [1, 0, false],
    ]);
    socket.send('x', SERVER, 9, { ttl: 1 });
    expect(await lab.run(drain(socket))).toMatchObject({ icmp: { type: 11, from: lab.gateway } });
  });

  it('in symmetric mode has a port for each destination, and only that may answer', async () => {
    await using lab = await testNetwork({ udpNat: 'symmetric' });
    lab.host.datagrams('*:3478', ({ reply }) => {
      reply('good');
      reply('other port', { host: SERVER, port: 9999 });
      reply('other host', { host: '203.0.113.5', port: 3478 });
    });
    const socket = lab.guest.udp(5000);
    for (const ip of [SERVER, '198.51.100.2', SERVER, ALIAS]) {
      socket.send('hello', ip, 3478);
      expect(await lab.run(socket.recv())).toMatchObject({ ip, port: 3478 });
    }
    expect(await codeOf(lab.run(socket.recv({ timeout: 1000 })))).toBe('ETIMEDOUT');
    expect(lab.host.counters.openUdp).toBe(3);
    expect(lab.network.stats().udp.filtered).toBe(8);
  });

  it('closes a mapping when the guest says that its port is closed, and no other one', async () => {
    await using lab = await testNetwork();
    const later: (() => void)[] = [];
    lab.host.datagrams('*', ({ reply }) => {
      later.push(() => {
        reply('late');
      });
    });
    const [gone, stays] = [lab.guest.udp(), lab.guest.udp()];
    gone.send('x', SERVER, 53);
    stays.send('x', SERVER, 53);
    await lab.clock.settle();
    gone.close();
    for (const answer of later) answer();
    expect(new TextDecoder().decode((await lab.run(stays.recv())).bytes)).toBe('late');
    await lab.clock.settle();
    expect(lab.host.counters.openUdp).toBe(1);
    expect(lab.network.stats().udp.closedByGuest).toBe(1);
    expect(lab.network.stats().stack.guestPortUnreachable).toBe(1);
  });

  it('has two idle times that can be set', async () => {
    await using lab = await testNetwork({ limits: { udpIdle: 2000, udpStreamIdle: 5000 } });
    lab.host.echoUdp('*');
    const [once, stream] = [lab.guest.udp(), lab.guest.udp()];
    once.send('a', SERVER, 53);
    for (let i = 0; i < 2; i++) {
      stream.send('b', SERVER, 5004);
      await lab.run(stream.recv());
    }
    await lab.clock.advance(2100);
    expect(lab.host.counters.openUdp).toBe(1);
    await lab.clock.advance(3000);
    expect(lab.host.counters.openUdp).toBe(0);
  });

  it('loses what the host has no socket for, and tries again with the next datagram', async () => {
    await using lab = await testNetwork();
    const { io } = lab.host;
    const { udp } = io;
    let fail = true;
    Object.assign(io, {
      udp: (handler: HostUdpHandler): HostUdp => {
        if (!fail) return udp(handler);
        queueMicrotask(() => {
          handler.error('EMFILE', ipv4(0), 0, 0);
        });
        return { send: () => undefined, close: () => undefined };
      },
    });
    lab.host.echoUdp('*');
    const socket = lab.guest.udp();
    socket.send('x', SERVER, 7);
    await lab.clock.settle();
    expect(lab.network.stats()).toMatchObject({ udp: { noSocket: 1 }, memory: { udpMappings: 0 } });
    fail = false;
    socket.send('x', SERVER, 7);
    expect(await lab.run(socket.recv())).toMatchObject({ ip: SERVER });
  });

  it('at the cap of all guests takes from the one that has most', async () => {
    await using lab = await testNetwork({ limits: { udpPerGuest: 100, udpTotal: 20 } });
    const other = await lab.attach();
    other.udp(7000).send('x', SERVER, 53);
    for (let i = 0; i < 60; i++) lab.guest.udp().send('x', SERVER, 53);
    await lab.clock.settle();
    expect(lab.host.counters.openUdp).toBe(20);
    expect(lab.network.stats().udp.evicted).toBe(41);
    expect(lab.network.flows().filter(({ guestAddress }) => guestAddress.endsWith(':7000'))).toHaveLength(1);
  });

  it('never sends broadcast or multicast to the host', async () => {
    await using lab = await testNetwork();
    const seen: string[] = [];
    lab.host.datagrams('*', ({ host }) => void seen.push(host));
    const socket = lab.guest.udp();
    for (const ip of ['255.255.255.255', '192.168.127.255', '224.0.0.251', '239.255.255.250', '240.0.0.1'])
      socket.send('x', ip, 5353);
    await lab.clock.settle();
    expect(seen).toEqual([]);
    expect(lab.network.stats().stack).toMatchObject({
      broadcastKept: 2,
      multicastKept: 2,
      martianDestination: 1,
    });
  });

  it('closes the sockets of a guest that left', async () => {
    await using lab = await testNetwork();
    lab.host.echoUdp('*');
    for (let i = 0; i < 20; i++) lab.guest.udp().send('x', SERVER, 53);
    await lab.clock.settle();
    expect(lab.host.counters.openUdp).toBe(20);
    lab.guest.close();
    await lab.clock.settle();
    expect(lab.host.counters.openUdp).toBe(0);
  });

  it('reassembles whatever the order, and forgets what never becomes whole', async () => {
    await using lab = await testNetwork({}, { faults: { reorder: 0.5, delay: 1 } });
    lab.host.echoUdp('*');
    const socket = lab.guest.udp();
    const sent = Uint8Array.from({ length: 30_000 }, (_, i) => i & 255);
    for (let i = 0; i < 10; i++) {
      socket.send(sent, SERVER, 7);
      const got = await lab.run(socket.recv());
      expect(Buffer.compare(got.bytes, sent)).toBe(0);
    }
    expect(lab.network.stack.ip.reassembler.size).toBe(0);
  });
});

/** The first error that a socket has; datagrams before it are passed over. */
async function drain(socket: GuestUdpSocket): Promise<unknown> {
  for (;;) {
    try {
      await socket.recv();
    } catch (error) {
      return error;
    }
  }
}

describe('SNTP on the gateway', () => {
  it('tells the wall clock', async () => {
    await using lab = await testNetwork();
    const socket = lab.guest.udp();
    const request = new Uint8Array(48);
    request[0] = 0x23;
    socket.send(request, lab.gateway, 123);
    const answer = await lab.run(socket.recv());
    const seconds = new DataView(answer.bytes.buffer, answer.bytes.byteOffset).getUint32(40);
    expect(seconds - 2_208_988_800).toBe(Math.floor(lab.clock.wall() / 1000));
  });
});
