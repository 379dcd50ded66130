import { describe, expect, it, vi } from 'vitest';
import { emitArp, MAX_NEIGHBOURS } from '../arp/index.js';
import {
  fold,
  formatIpv4,
  type Ipv4,
  type Mac,
  MAC_BROADCAST,
  MAC_ZERO,
  parseIpv4,
  pseudoSum,
  sumBytes,
} from '../core/index.js';
import { emitEthernet, ETHERTYPE_ARP, MAX_MACS_PER_PORT } from '../ethernet/index.js';
import { MANY_FLOWS, MAX_CONNECTIONS, MAX_HALF_OPEN_PER_GUEST, MAX_UDP_CLIENTS } from '../forwarder/index.js';
import { emitIpv4Packet, MAX_DATAGRAMS, REASSEMBLY_TIMEOUT } from '../ipv4/index.js';
import { MAX_ARP_PENDING, MAX_ARP_WAITING } from '../stack/arp-service.js';
import { ICMP_BURST } from '../stack/port.js';
import { type ScriptedGuest, type TestNetwork, testNetwork } from './index.js';
import { codeOf, readAll } from './testing.testutil.js';

const SERVER = '198.51.100.1';
const ip = (text: string): Ipv4 => parseIpv4(text)!;

function arpRequest(mac: Mac, senderIp: Ipv4, targetIp: Ipv4): Uint8Array {
  const payload = emitArp({ operation: 1, senderMac: mac, senderIp, targetMac: MAC_ZERO, targetIp });
  return emitEthernet({ destination: MAC_BROADCAST, source: mac, etherType: ETHERTYPE_ARP, payload });
}

function macOf(n: number): Mac {
  return `52:54:01:00:${(n >>> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}` as Mac;
}

const FIRST_PART = {
  protocol: 17,
  ttl: 64,
  tos: 0,
  id: 1,
  dontFragment: false,
  moreFragments: true,
  fragmentOffset: 0,
  options: new Uint8Array(0),
  payload: new Uint8Array(64),
};

/** The first part of a datagram whose rest never comes. */
function fragment(lab: TestNetwork, guest: ScriptedGuest, id: number): Uint8Array {
  const payload = emitIpv4Packet({ ...FIRST_PART, source: ip(guest.address!), destination: ip(SERVER), id });
  const destination = lab.network.addresses.gatewayMac;
  return emitEthernet({ destination, source: guest.mac, etherType: 0x0800, payload });
}

/** A SYN under an address of the subnet that the guest's own TCP does not know: nobody answers what comes back. */
function synFrame(lab: TestNetwork, guest: ScriptedGuest, sourcePort: number): Uint8Array {
  const payload = new Uint8Array(20);
  const view = new DataView(payload.buffer);
  view.setUint16(0, sourcePort);
  view.setUint16(2, 80);
  view.setUint16(12, 0x5002);
  const addresses = { source: ip('192.168.127.77'), destination: ip(SERVER) };
  const pseudo = pseudoSum(addresses.source, addresses.destination, 6, payload.length);
  view.setUint16(16, ~fold(sumBytes(payload, 0, payload.length, pseudo)));
  const packet = emitIpv4Packet({ ...FIRST_PART, ...addresses, protocol: 6, moreFragments: false, payload });
  const destination = lab.network.addresses.gatewayMac;
  return emitEthernet({ destination, source: guest.mac, etherType: 0x0800, payload: packet });
}

describe('limits at limit + 1', () => {
  it('pending dials of a guest: the SYN waits for its turn, other guests do not', async () => {
    await using lab = await testNetwork({ limits: { dialsPerGuest: 5 } });
    const other = await lab.attach();
    lab.host.accept('*', (socket) => socket.end('ok'), { delay: 400 });
    lab.host.accept(`${SERVER}:81`, (socket) => socket.end('ok'));
    const first = Array.from({ length: 5 }, (_, i) => lab.guest.connect(SERVER, 1000 + i));
    await lab.clock.settle();
    const sixth = lab.guest.connect(SERVER, 81);
    await lab.clock.advance(100);
    expect(lab.network.stats().outbound.guestDialLimit).toBe(1);
    expect(lab.host.counters.pendingDials).toBe(5);
    expect(await lab.run(readAll(await lab.run(other.connect(SERVER, 81))))).toBe('ok');
    await lab.run(Promise.all(first));
    expect((await lab.run(sixth)).info().retransmits).toBeGreaterThan(0);
  });

  it('half-open connections of a guest: one more SYN costs no socket, other guests are served', async () => {
    await using lab = await testNetwork();
    const other = await lab.attach();
    lab.host.accept('*', (socket) => socket.end('ok'));
    for (let i = 0; i <= MAX_HALF_OPEN_PER_GUEST; i++)
      lab.guest.sendFrame(synFrame(lab, lab.guest, 10_000 + i));
    await lab.clock.settle();
    expect(lab.network.stats().outbound).toMatchObject({ dialed: MAX_HALF_OPEN_PER_GUEST, halfOpenLimit: 1 });
    expect(await lab.run(readAll(await lab.run(other.connect(SERVER, 81))))).toBe('ok');
    // They are given up in the end, and then there is room again.
    await lab.clock.advance(120_000);
    expect(await lab.run(readAll(await lab.run(lab.guest.connect(SERVER, 81))))).toBe('ok');
  });

  it('pending dials to one destination', async () => {
    await using lab = await testNetwork({ limits: { dialsPerDestination: 5 } });
    lab.host.accept('*', (socket) => socket.end('ok'), { delay: 400 });
    const six = Array.from({ length: 6 }, () => lab.guest.connect(SERVER, 80));
    const elsewhere = lab.guest.connect(SERVER, 81);
    await lab.clock.advance(100);
    expect(lab.network.stats().outbound.destinationDialLimit).toBe(1);
    expect(lab.host.counters.pendingDials).toBe(6);
    await lab.run(Promise.all([...six, elsewhere]));
  });

  it('connections of a guest: one more is refused, until one ends', async () => {
    await using lab = await testNetwork({ limits: { flowsPerGuest: 5 } });
    const small = await lab.attach({ maxFlows: 2 });
    lab.host.accept('*', () => undefined);
    const sockets = await lab.run(
      Promise.all(Array.from({ length: 5 }, () => lab.guest.connect(SERVER, 80))),
    );
    expect(await codeOf(lab.run(lab.guest.connect(SERVER, 80)))).toBe('ECONNREFUSED');
    expect(lab.network.stats().outbound.flowLimit).toBe(1);
    await lab.run(Promise.all([small.connect(SERVER, 80), small.connect(SERVER, 80)]));
    expect(await codeOf(lab.run(small.connect(SERVER, 80)))).toBe('ECONNREFUSED');
    sockets[0]!.reset();
    await lab.clock.settle();
    expect(await codeOf(lab.run(lab.guest.connect(SERVER, 80)))).toBe('no error');
  });

  it('many connections of a guest: those that come later hold less at the host', async () => {
    await using lab = await testNetwork();
    lab.host.accept('*', () => undefined);
    const dial = vi.spyOn(lab.host.io, 'dial');
    await lab.run(Promise.all(Array.from({ length: 300 }, () => lab.guest.connect(SERVER, 80))));
    const asked = dial.mock.calls.map(([target]) => (target.kind === 'tcp' ? target.receiveBuffer : -1));
    expect(asked.slice(0, MANY_FLOWS)).toEqual(Array(MANY_FLOWS).fill(undefined));
    expect(asked[MANY_FLOWS]).toBe((32 << 20) / MANY_FLOWS);
    expect(asked[256]).toBe(131_072);
  });

  it('addresses of a guest', async () => {
    await using lab = await testNetwork({ subnet: '10.0.0.0/16' });
    const { port } = lab.network.guests()[0]!;
    for (let i = 0; i <= MAX_NEIGHBOURS; i++) {
      lab.guest.sendFrame(arpRequest(lab.guest.mac, (ip('10.0.64.0') + i) as Ipv4, ip(lab.gateway)));
      // As fast as its questions are answered.
      if (i % 100 === 0) await lab.clock.advance(1000);
    }
    await lab.clock.settle();
    expect(port.neighbours.size).toBe(MAX_NEIGHBOURS);
    expect(port.neighbours.evicted).toBeGreaterThan(0);
    await lab.run(lab.guest.ping(lab.gateway));
  });

  it('MAC addresses behind a port, and they age', async () => {
    await using lab = await testNetwork();
    await lab.attach();
    for (let i = 0; i <= MAX_MACS_PER_PORT; i++) {
      lab.guest.sendFrame(arpRequest(macOf(i), ip('192.168.127.77'), ip('192.168.127.78')));
    }
    await lab.clock.settle();
    const { macs } = lab.network.stack;
    expect(macs.size).toBeLessThanOrEqual(MAX_MACS_PER_PORT + 1);
    expect(macs.counters.refused).toBeGreaterThan(0);
    await lab.run(lab.guests[1]!.ping(lab.gateway));
  });

  it('datagrams that wait for their fragments, and their time', async () => {
    await using lab = await testNetwork();
    const { reassembler } = lab.network.stack.ip;
    for (let id = 0; id <= MAX_DATAGRAMS; id++) lab.guest.sendFrame(fragment(lab, lab.guest, id));
    await lab.clock.settle();
    expect(reassembler.size).toBe(MAX_DATAGRAMS);
    expect(reassembler.counters.evicted).toBe(1);
    const told = lab.guest.frames.waitFor(
      (frame) => frame.icmp?.type === 11 && frame.icmp.code === 1,
      REASSEMBLY_TIMEOUT * 2,
    );
    await lab.run(told);
    expect(reassembler.size).toBe(0);
  });

  it('ICMP errors in a burst', async () => {
    await using lab = await testNetwork();
    const socket = lab.guest.udp();
    const seen = lab.guest.frames.record();
    for (let i = 0; i <= ICMP_BURST; i++) socket.send('x', lab.gateway, 9);
    await lab.clock.settle();
    expect(seen.stop().filter((frame) => frame.icmp?.type === 3)).toHaveLength(ICMP_BURST);
    expect(lab.network.stats().stack.icmpRateLimited).toBe(1);
  });

  it('questions for addresses of guests', async () => {
    await using lab = await testNetwork({ subnet: '10.0.0.0/16' });
    for (let i = 0; i <= MAX_ARP_PENDING; i++) {
      await lab.network.publish(`127.0.0.1:${2000 + i}:${formatIpv4((ip('10.0.32.0') + i) as Ipv4)}:80`);
    }
    const codes = Array.from({ length: MAX_ARP_PENDING + 1 }, (_, i) =>
      codeOf(readAll(lab.host.connect('127.0.0.1', 2000 + i))),
    );
    await lab.clock.settle();
    expect(lab.network.stats().stack.arpPendingFull).toBe(1);
    expect(new Set(await lab.run(Promise.all(codes)))).toEqual(new Set(['ECONNRESET']));
    expect(lab.host.counters.openStreams).toBe(0);
  });

  it('those that wait for one question', async () => {
    await using lab = await testNetwork();
    let answers = 0;
    for (let i = 0; i <= MAX_ARP_WAITING; i++)
      lab.network.stack.arp.resolve(ip('192.168.127.77'), () => {
        answers++;
      });
    expect([answers, lab.network.stats().stack.arpPendingFull]).toEqual([1, 1]);
    await lab.clock.advance(10_000);
    expect(answers).toBe(MAX_ARP_WAITING + 1);
  });

  it('clients of a published UDP port: the least recently used goes', async () => {
    await using lab = await testNetwork({ publish: ['127.0.0.1:5353:53/udp'] });
    const server = lab.guest.udp(53);
    await lab.run(lab.guest.ping(lab.gateway));
    for (let i = 0; i <= MAX_UDP_CLIENTS; i++) lab.host.udpClient('127.0.0.1', 5353).send(`${i}`);
    await lab.clock.settle();
    expect(server.waiting).toBe(MAX_UDP_CLIENTS + 1);
    expect(lab.network.ports()[0]!.counters.evicted).toBe(1);
  });

  it('clients of a published TCP port, those that wait for the guest included', async () => {
    await using lab = await testNetwork({ publish: ['127.0.0.1:8080:192.168.127.200:80'] });
    const codes = Array.from({ length: MAX_CONNECTIONS + 1 }, () =>
      codeOf(readAll(lab.host.connect('127.0.0.1', 8080))),
    );
    await lab.clock.settle();
    expect(lab.host.counters.openStreams).toBe(MAX_CONNECTIONS);
    expect(lab.network.ports()[0]!.counters.limit).toBe(1);
    expect(new Set(await lab.run(Promise.all(codes)))).toEqual(new Set(['ECONNRESET']));
    expect(lab.host.counters.openStreams).toBe(0);
  });

  it('DNS questions under way', async () => {
    await using lab = await testNetwork();
    lab.host.relay = () => new Promise(() => undefined);
    const other = await lab.attach();
    await lab.run(lab.guest.ping(lab.gateway));
    const rcodes: string[] = [];
    const asked = Array.from({ length: 257 }, async (_, i) => {
      rcodes.push((await lab.guest.query(`n${i}.test`, 'MX', { timeout: 30_000 })).rcode);
    });
    await lab.clock.settle();
    expect(rcodes).toEqual(['REFUSED']);
    expect(await lab.run(other.resolve('gateway.netproxy.internal'))).toEqual([lab.gateway]);
    await lab.run(Promise.all(asked));
    expect(lab.network.stats().dns.sources.limit).toBeGreaterThan(0);
  });
});

describe('challenge ACKs', () => {
  it('of one guest are not used up by another', async () => {
    await using lab = await testNetwork();
    await lab.attach();
    lab.host.accept(SERVER, (socket) => socket.resume());
    await lab.run(lab.guest.connect(SERVER, 80));
    const [one, two] = lab.network.guests().map(({ port }) => port);
    const [endpoint] = one!.endpoints;
    expect(endpoint!.connection.settings.challenges).toBe(one!.challenges);
    while (two!.challenges.take(lab.clock.now()));
    expect(one!.challenges.take(lab.clock.now())).toBe(true);
  });
});
