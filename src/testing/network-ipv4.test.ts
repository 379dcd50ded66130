/** What becomes of packets that are not as they should be. */
import { describe, expect, it } from 'vitest';
import { parseIpv4 } from '../core/index.js';
import { ETHERTYPE_IPV4, emitEthernet } from '../ethernet/index.js';
import { type Ipv4Packet, emitIpv4Packet } from '../ipv4/index.js';
import { emitUdp } from '../udp/index.js';
import { type TestNetwork, testNetwork } from './index.js';

const SERVER = parseIpv4('198.51.100.1')!;

function packet(lab: TestNetwork, fields: Partial<Ipv4Packet> = {}): Uint8Array {
  const source = parseIpv4(lab.guest.address!)!;
  const destination = fields.destination ?? SERVER;
  return emitIpv4Packet({
    source,
    destination,
    protocol: 17,
    ttl: 64,
    tos: 0,
    id: 1,
    dontFragment: false,
    moreFragments: false,
    fragmentOffset: 0,
    options: new Uint8Array(0),
    payload: emitUdp({ sourcePort: 9, destinationPort: 9, payload: new Uint8Array(4) }, source, destination),
    ...fields,
  });
}

function send(lab: TestNetwork, payload: Uint8Array): void {
  const destination = lab.network.addresses.gatewayMac;
  lab.guest.sendFrame(
    emitEthernet({ destination, source: lab.guest.mac, etherType: ETHERTYPE_IPV4, payload }),
  );
}

/** How many datagrams came out of the network, and the counters that are not 0. */
async function outcome(lab: TestNetwork, ...packets: Uint8Array[]): Promise<Record<string, number>> {
  let out = 0;
  lab.host.datagrams('*', () => {
    out++;
  });
  for (const one of packets) send(lab, one);
  await lab.clock.settle();
  const counters = Object.entries(lab.network.stats().stack).filter(([, value]) => value !== 0);
  return { out, ...Object.fromEntries(counters) };
}

describe('IPv4 packets', () => {
  it('with options pass; with a source route, or options that cannot be read, they do not', async () => {
    await using lab = await testNetwork();
    const options = (...bytes: number[]) => packet(lab, { options: Uint8Array.from(bytes) });
    const seen = await outcome(
      lab,
      options(148, 4, 0, 0),
      options(131, 7, 4, 10, 0, 0, 1, 0),
      options(137, 7, 4, 10, 0, 0, 1, 0),
      options(7, 9, 4, 0),
    );
    expect(seen).toEqual({ out: 1, sourceRoute: 2, ipOptions: 1 });
  });

  it('with bad lengths, versions, checksums are dropped by name', async () => {
    await using lab = await testNetwork();
    const damaged = (at: number, value: number): Uint8Array => {
      const bytes = packet(lab);
      bytes[at] = value;
      return bytes;
    };
    const seen = await outcome(
      lab,
      packet(lab).subarray(0, 19),
      damaged(0, 0x65),
      damaged(0, 0x44),
      damaged(0, 0x4f),
      damaged(3, 200),
      damaged(3, 19),
      damaged(10, 1),
    );
    expect(seen).toEqual({
      out: 0,
      ipTruncated: 1,
      ipVersion: 1,
      ipHeaderLength: 2,
      ipTotalLength: 2,
      ipChecksum: 1,
    });
  });

  it('of martians, from and to, go nowhere', async () => {
    await using lab = await testNetwork();
    const from = (text: string) => packet(lab, { source: parseIpv4(text)! });
    const to = (text: string) => packet(lab, { destination: parseIpv4(text)! });
    const seen = await outcome(
      lab,
      ...['127.0.0.1', '0.0.0.0', '224.0.0.1', '255.255.255.255', '192.168.127.255'].map(from),
      ...['10.1.1.1', '192.168.127.1', '192.168.127.254', '192.168.127.0'].map(from),
      ...['127.0.0.1', '0.1.2.3', '240.0.0.1'].map(to),
      to('192.168.127.255'),
      to('224.0.0.5'),
    );
    expect(seen).toEqual({
      out: 0,
      martianSource: 5,
      spoofedSource: 4,
      martianDestination: 3,
      broadcastKept: 1,
      multicastKept: 1,
    });
  });

  it('of an unknown protocol bring protocol unreachable, unless they went to a group', async () => {
    await using lab = await testNetwork();
    const told = lab.guest.frames.waitFor(({ icmp }) => icmp?.type === 3 && icmp.code === 2);
    send(lab, packet(lab, { protocol: 132 }));
    await lab.run(told);
    const igmp = packet(lab, { protocol: 2, destination: parseIpv4('224.0.0.22')! });
    expect(await outcome(lab, igmp)).toEqual({ out: 0, unknownProtocol: 1, groupProtocol: 1 });
  });

  it('in fragments get numbers of their own source, and those put together too long are dropped', async () => {
    await using lab = await testNetwork();
    const seen = lab.guest.frames.record();
    lab.host.datagrams('*', ({ reply }) => {
      reply('x'.repeat(2000));
      reply('y');
    });
    const socket = lab.guest.udp();
    for (let n = 0; n < 3; n++) {
      socket.send('x', '198.51.100.1', 9);
      await lab.clock.settle();
    }
    const ids = seen
      .stop()
      .flatMap(({ ipv4 }) => (ipv4?.fragmentOffset === 0 && ipv4.moreFragments ? ipv4.id : []));
    expect(ids).toEqual([1, 2, 3]);
    const long = Uint8Array.from({ length: 40 }, () => 1);
    const piece = (offset: number, length: number, moreFragments: boolean) =>
      packet(lab, {
        options: offset === 0 ? long : new Uint8Array(0),
        fragmentOffset: offset,
        moreFragments,
        payload: new Uint8Array(length),
      });
    const pieces = Array.from({ length: 46 }, (_, n) => piece(n * 1416, n === 45 ? 1780 : 1416, n < 45));
    expect(await outcome(lab, ...pieces)).toMatchObject({ reassembledTooLong: 1 });
  });
});
