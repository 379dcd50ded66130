/** The connections that a published port makes to a guest: their ports and sequence numbers, and a guest that refuses by ICMP. */
import { describe, expect, it } from 'vitest';
import { emitArp } from '../arp/index.js';
import { type Mac, META_STRIDE, parseIpv4, parseMac, seqDiff, seqGt } from '../core/index.js';
import { emitEthernet, ETHERTYPE_ARP, ETHERTYPE_IPV4 } from '../ethernet/index.js';
import { emitIcmp, ICMP_UNREACHABLE } from '../icmp/index.js';
import { emitIpv4Packet, PROTOCOL_ICMP } from '../ipv4/index.js';
import {
  decodeFrame,
  type DecodedFrame,
  memoryLink,
  type MemoryLinks,
  SYN,
  type TestNetwork,
  testNetwork,
} from './index.js';
import { codeOf, readAll } from './testing.testutil.js';

const MAC: Mac = parseMac('52:54:00:00:00:77')!;
const IP = '192.168.127.77';
const FIRST_PORT = 49_152;

/** A guest that says nothing but what the test says. */
class MuteGuest {
  readonly syns: DecodedFrame[] = [];
  private readonly lab: TestNetwork;
  private readonly link: MemoryLinks;

  constructor(lab: TestNetwork) {
    this.lab = lab;
    this.link = memoryLink(lab.clock);
    lab.network.attach(this.link.network, { name: 'mute' });
    this.link.guest.start({
      frames: ({ meta, bytes, count }) => {
        for (let i = 0; i < count; i++) {
          const at = meta[i * META_STRIDE]!;
          const frame = decodeFrame(bytes.slice(at, at + meta[i * META_STRIDE + 1]!));
          if (((frame?.tcp?.flags ?? 0) & SYN) !== 0) this.syns.push(frame!);
        }
      },
      writable: () => undefined,
      closed: () => undefined,
    });
    const ip = parseIpv4(IP)!;
    this.send(
      ETHERTYPE_ARP,
      emitArp({ operation: 2, senderMac: MAC, senderIp: ip, targetMac: MAC, targetIp: ip }),
    );
  }

  /** "Destination unreachable" about a packet that came. */
  refuses({ ipv4 }: DecodedFrame, code: number): void {
    const { source, destination } = ipv4!;
    const body = emitIpv4Packet(ipv4!).subarray(0, 28);
    this.send(
      ETHERTYPE_IPV4,
      emitIpv4Packet({
        ...ipv4!,
        source: destination,
        destination: source,
        protocol: PROTOCOL_ICMP,
        payload: emitIcmp({ type: ICMP_UNREACHABLE, code, rest: 0, body }),
      }),
    );
  }

  private send(etherType: number, payload: Uint8Array): void {
    const destination = this.lab.network.addresses.gatewayMac;
    const bytes = emitEthernet({ destination, source: MAC, etherType, payload });
    const { output } = this.link.guest;
    output.bytes.set(bytes, output.begin(bytes.length));
    output.end(0, 0);
    output.flush();
  }
}

async function lab(seed = 1): Promise<TestNetwork> {
  return testNetwork({ publish: [`127.0.0.1:8080:${IP}:80`] }, { seed });
}

describe('connections to a guest', () => {
  it('begin at ports that cannot be told beforehand (RFC 6056), and never share one', async () => {
    const first = new Set<number>();
    for (const seed of [1, 2, 3]) {
      await using net = await lab(seed);
      const guest = new MuteGuest(net);
      await net.clock.advance(10);
      const ports = new Set<number>();
      for (let i = 0; i < 40; i++) {
        net.host.connect('127.0.0.1', 8080);
        await net.clock.advance(1);
        ports.add(guest.syns.at(-1)!.tcp!.sourcePort);
      }
      const all = [...ports];
      expect(all).toHaveLength(40);
      expect(Math.min(...all)).toBeGreaterThanOrEqual(FIRST_PORT);
      // Not one behind the other.
      expect(all.filter((port, i) => i > 0 && port === all[i - 1]! + 1).length).toBeLessThan(5);
      first.add(all[0]!);
    }
    expect(first.size).toBe(3);
  });

  it('have sequence numbers of a clock for each pair, and of a secret beyond it (RFC 6528)', async () => {
    const offsets = new Set<number>();
    for (const seed of [1, 2]) {
      await using net = await lab(seed);
      const guest = new MuteGuest(net);
      await net.clock.advance(10);
      for (let i = 0; i < 20; i++) {
        net.host.connect('127.0.0.1', 8080);
        await net.clock.advance(1);
        // ISN = M + F(four-tuple, secret), where M counts 4 µs.
        offsets.add((guest.syns.at(-1)!.tcp!.seq - net.clock.now() * 250) | 0);
      }
    }
    // Another F for each four-tuple and each secret.
    expect(offsets.size).toBe(40);
  });

  it('of one four-tuple grow with the clock: an old segment does not fit the next connection', async () => {
    await using net = await testNetwork();
    net.host.accept('198.51.100.1:80', () => undefined);
    const seen: DecodedFrame[] = [];
    for (let i = 0; i < 2; i++) {
      const record = net.guest.frames.record();
      const socket = await net.run(net.guest.connect('198.51.100.1', 80, { localPort: 40_000 }));
      seen.push(record.stop().find((frame) => ((frame.tcp?.flags ?? 0) & SYN) !== 0)!);
      socket.reset();
      await net.clock.advance(5000);
    }
    const [a, b] = seen.map((frame) => frame.tcp!.seq);
    expect(seqGt(b!, a!)).toBe(true);
    expect(seqDiff(b!, a!)).toBeGreaterThanOrEqual(5000 * 250);
  });

  it.each([3, 10, 13])(
    'are given up at once when the guest refuses by ICMP, code %i (RFC 5461)',
    async (code) => {
      await using net = await lab();
      const guest = new MuteGuest(net);
      await net.clock.advance(10);
      const client = codeOf(readAll(net.host.connect('127.0.0.1', 8080)));
      await net.clock.advance(5);
      guest.refuses(guest.syns[0]!, code);
      await net.clock.advance(5);
      expect(net.network.stats().tcp.icmpRefusals).toBe(1);
      expect(await net.run(client)).toBe('ECONNRESET');
      expect(guest.syns).toHaveLength(1);
    },
  );

  it('go on when it only says that a host cannot be reached now (RFC 1122 section 4.2.3.9)', async () => {
    await using net = await lab();
    const guest = new MuteGuest(net);
    await net.clock.advance(10);
    net.host.connect('127.0.0.1', 8080);
    await net.clock.advance(5);
    guest.refuses(guest.syns[0]!, 1);
    await net.clock.advance(1000);
    expect(guest.syns).toHaveLength(2);
    expect(net.network.stats().tcp).toMatchObject({ icmpRefusals: 0, icmpSoftErrors: 1 });
  });
});
