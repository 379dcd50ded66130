import { describe, expect, it } from 'vitest';
import { testNetwork } from './index.js';
import { codeOf } from './testing.testutil.js';

const SERVER = '198.51.100.1';

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
