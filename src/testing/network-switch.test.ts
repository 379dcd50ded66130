import { describe, expect, it } from 'vitest';
import { ARP_REQUEST, emitArp } from '../arp/index.js';
import { type Ipv4, type Mac, MAC_BROADCAST, MAC_ZERO, parseIpv4 } from '../core/index.js';
import { emitEthernet, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, MAC_AGE } from '../ethernet/index.js';
import { emitIpv4Packet } from '../ipv4/index.js';
import { emitUdp } from '../udp/index.js';
import { encodeDhcp, MessageType, Option } from '../dhcp/index.js';
import { ARP_BURST, DHCP_BURST } from '../stack/storm.js';
import { type ScriptedGuest, type TestNetwork, testNetwork } from './index.js';
import { codeOf, digestAll, payload, readAll } from './testing.testutil.js';

const SERVER = '198.51.100.1';
const ip = (text: string): Ipv4 => parseIpv4(text)!;

function frame(source: Mac, destination: Mac, etherType = 0x88b5): Uint8Array {
  return emitEthernet({ source, destination, etherType, payload: new Uint8Array(46) });
}

/** Frames of one guest that another one got, while something is done. */
async function heard(
  lab: TestNetwork,
  from: ScriptedGuest,
  by: ScriptedGuest,
  work: () => void,
): Promise<number> {
  const record = by.frames.record();
  work();
  await lab.clock.settle();
  return record.stop().filter(({ ethernet }) => ethernet.source === from.mac).length;
}

describe('MAC addresses of guests', () => {
  it('stay with a guest that is silent for hours', async () => {
    await using lab = await testNetwork();
    const rogue = await lab.attach();
    await lab.clock.advance(10 * MAC_AGE);
    rogue.sendFrame(frame(lab.guest.mac, MAC_BROADCAST));
    await lab.clock.settle();
    expect(lab.network.stats().stack.spoofedMac).toBe(1);
    expect(
      await heard(lab, rogue, lab.guest, () => {
        rogue.sendFrame(frame(rogue.mac, lab.guest.mac));
      }),
    ).toBe(1);
    expect(lab.network.guests()[1]!.counters['spoofed']).toBe(1);
  });

  it('go with the guest, and to the one for whom they are configured', async () => {
    await using lab = await testNetwork();
    const mac = '52:54:00:00:00:55';
    const { attached, guest: first } = await lab.plug({ mac });
    attached.detach();
    const again = await lab.attach({ mac });
    expect(again.address).toBe(first.address);
    expect(await codeOf(lab.run(lab.attach({ mac })))).not.toBe('no error');
  });

  it('move where the network lets guests take over', async () => {
    await using lab = await testNetwork({ switch: { antiSpoof: false } });
    const second = await lab.attach();
    second.sendFrame(frame(lab.guest.mac, MAC_BROADCAST));
    second.configure({ ip: lab.guest.address!, gateway: lab.gateway });
    await lab.clock.settle();
    expect(lab.network.stats().stack).toMatchObject({ spoofedMac: 0, spoofedSource: 0 });
    expect(lab.network.stats().switch.moved).toBe(1);
    expect(await lab.run(second.ping(lab.gateway))).toBeLessThan(5);
    // The gateway's addresses are nobody's to take.
    second.configure({ ip: lab.gateway });
    second.announce();
    await lab.clock.settle();
    expect(lab.network.stats().stack.spoofedSource).toBeGreaterThan(0);
  });
});

describe('lies about addresses inside a packet', () => {
  it('ARP for another MAC address than the sender’s', async () => {
    await using lab = await testNetwork();
    const rogue = await lab.attach();
    const payloadOf = emitArp({
      operation: 2,
      senderMac: '52:54:00:99:99:99' as Mac,
      senderIp: ip(rogue.address!),
      targetMac: lab.guest.mac,
      targetIp: ip(lab.guest.address!),
    });
    const lie = emitEthernet({
      source: rogue.mac,
      destination: lab.guest.mac,
      etherType: ETHERTYPE_ARP,
      payload: payloadOf,
    });
    expect(
      await heard(lab, rogue, lab.guest, () => {
        rogue.sendFrame(lie);
      }),
    ).toBe(0);
    expect(lab.network.stats().stack.spoofedArp).toBe(1);
  });

  it('DHCP for another hardware address', async () => {
    await using lab = await testNetwork();
    const rogue = await lab.attach();
    const message = { ...rogue.lease!.message, op: 1 as const, chaddr: '52:54:00:00:00:ab' as Mac };
    const options = new Map([[Option.messageType, Uint8Array.of(MessageType.discover)]]);
    const [source, destination] = [ip('0.0.0.0'), ip('255.255.255.255')];
    const body = encodeDhcp({ ...message, options });
    const packet = emitIpv4Packet({
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
      payload: emitUdp({ sourcePort: 68, destinationPort: 67, payload: body }, source, destination),
    });
    rogue.sendFrame(
      emitEthernet({
        source: rogue.mac,
        destination: MAC_BROADCAST,
        etherType: ETHERTYPE_IPV4,
        payload: packet,
      }),
    );
    await lab.clock.settle();
    expect(lab.network.stats().stack.spoofedDhcp).toBe(1);
    expect(lab.network.leases()).toHaveLength(2);
  });

  it('routers and DHCPv6 servers that guests play, hidden behind headers or not', async () => {
    await using lab = await testNetwork();
    const rogue = await lab.attach();
    const ipv6 = (next: number, ...rest: number[]): Uint8Array => {
      const packet = Uint8Array.of(
        0x60,
        0,
        0,
        0,
        0,
        40,
        next,
        255,
        ...new Uint8Array(32),
        ...rest,
        ...new Uint8Array(40),
      );
      return emitEthernet({
        source: rogue.mac,
        destination: '33:33:00:00:00:01' as Mac,
        etherType: ETHERTYPE_IPV6,
        payload: packet,
      });
    };
    const bad = [
      ipv6(58, 134),
      ipv6(58, 137),
      ipv6(17, 547 >> 8, 547 & 255),
      ipv6(60, 58, 0, 0, 0, 0, 0, 0, 0, 134),
      ipv6(0, 44, 0, 0, 0, 0, 0, 0, 0, 58, 0, 0, 1, 0, 0, 0, 0, 134),
    ];
    const good = [
      ipv6(58, 135),
      ipv6(58, 136),
      ipv6(17, 1, 2),
      ipv6(0, 58, 0, 0, 0, 0, 0, 0, 0, 143),
      ipv6(6),
    ];
    expect(
      await heard(lab, rogue, lab.guest, () => {
        for (const one of [...bad, ...good]) rogue.sendFrame(one);
      }),
    ).toBe(good.length);
    expect(lab.network.stats().stack.rogueRouter).toBe(bad.length);
  });
});

describe('storms', () => {
  it('of broadcasts, multicasts and unknown addresses are cut, each kind by itself, and end', async () => {
    await using lab = await testNetwork({ switch: { floods: 100 } });
    const rogue = await lab.attach();
    const kinds = [MAC_BROADCAST, '01:00:5e:00:00:fb' as Mac, '52:54:00:77:77:77' as Mac];
    for (const to of kinds) {
      expect(
        await heard(lab, rogue, lab.guest, () => {
          for (let i = 0; i < 200; i++) rogue.sendFrame(frame(rogue.mac, to));
        }),
      ).toBe(25);
    }
    expect(lab.network.stats().stack.floodLimited).toBe(3 * 175);
    expect(lab.network.guests()[1]!.counters['floodLimited']).toBe(3 * 175);
    // Unicast to a guest is none.
    expect(
      await heard(lab, rogue, lab.guest, () => {
        for (let i = 0; i < 200; i++) rogue.sendFrame(frame(rogue.mac, lab.guest.mac));
      }),
    ).toBe(200);
    await lab.clock.advance(1000);
    expect(
      await heard(lab, rogue, lab.guest, () => {
        for (let i = 0; i < 200; i++) rogue.sendFrame(frame(rogue.mac, MAC_BROADCAST));
      }),
    ).toBe(25);
  });

  it('of questions to the gateway are answered so far, and reach no other guest', async () => {
    await using lab = await testNetwork();
    const rogue = await lab.attach();
    const question = emitArp({
      operation: ARP_REQUEST,
      senderMac: rogue.mac,
      senderIp: ip(rogue.address!),
      targetMac: MAC_ZERO,
      targetIp: ip(lab.gateway),
    });
    const arp = emitEthernet({
      source: rogue.mac,
      destination: MAC_BROADCAST,
      etherType: ETHERTYPE_ARP,
      payload: question,
    });
    await lab.clock.advance(1000);
    const answers = rogue.frames.record();
    expect(
      await heard(lab, rogue, lab.guest, () => {
        for (let i = 0; i < 2 * ARP_BURST; i++) rogue.sendFrame(arp);
      }),
    ).toBe(0);
    expect(answers.stop()).toHaveLength(ARP_BURST);
    expect(lab.network.stats().stack.arpLimited).toBe(ARP_BURST);
    expect(await lab.run(lab.guest.arp(lab.gateway))).toBe(lab.network.addresses.gatewayMac);
  });

  it('of DHCP messages are answered so far', async () => {
    await using lab = await testNetwork();
    const rogue = await lab.attach();
    for (let i = 0; i < DHCP_BURST + 10; i++) await lab.run(rogue.renew());
    expect(lab.network.stats().stack.dhcpLimited).toBeGreaterThan(0);
    expect((await lab.run(lab.guest.renew())).ip).toBe(lab.guest.address);
  });
});

describe('rates', () => {
  const MBIT = 1_000_000;

  async function seconds(lab: TestNetwork, work: Promise<unknown>): Promise<number> {
    const start = lab.clock.now();
    await lab.run(work);
    return (lab.clock.now() - start) / 1000;
  }

  it('hold a download to what the guest may have, without loss, and leave others alone', async () => {
    await using lab = await testNetwork({}, { guest: { rateDown: 8 * MBIT } });
    const other = await lab.attach();
    const data = payload(2_000_000);
    lab.host.accept(`${SERVER}:80`, (socket) => socket.end(data.bytes));
    const download = async (guest: ScriptedGuest): Promise<void> => {
      expect((await digestAll(await guest.connect(SERVER, 80))).sha256).toBe(data.sha256);
    };
    expect(await seconds(lab, download(other))).toBeLessThan(1);
    const took = await seconds(lab, Promise.all([download(lab.guest), download(lab.guest)]));
    expect(took).toBeGreaterThan(3.5);
    expect(took).toBeLessThan(5);
    expect(lab.network.stats().tcp.retransmits ?? 0).toBe(0);
  });

  it('let an upload wait at the guest', async () => {
    await using lab = await testNetwork({ switch: { rateUp: 8 * MBIT } });
    const data = payload(2_000_000);
    const got = new Promise<string>((resolve) => {
      lab.host.accept(`${SERVER}:80`, (socket) => {
        resolve(digestAll(socket).then(({ sha256 }) => sha256));
      });
    });
    const upload = async (): Promise<void> => {
      const socket = await lab.guest.connect(SERVER, 80);
      socket.end(data.bytes);
      expect(await got).toBe(data.sha256);
    };
    const took = await seconds(lab, upload());
    expect(took).toBeGreaterThan(1.8);
    expect(took).toBeLessThan(3);
    const { ratePauses, rateDroppedIn } = lab.network.guests()[0]!.counters;
    expect(ratePauses).toBeGreaterThan(0);
    expect(rateDroppedIn).toBe(0);
  });

  it('drop datagrams that are far too many, both ways, and count them', async () => {
    await using lab = await testNetwork({}, { guest: { rateDown: MBIT, rateUp: 100 * MBIT } });
    let reply: ((bytes: Uint8Array) => void) | undefined;
    lab.host.datagrams(`${SERVER}:7`, (datagram) => (reply = datagram.reply));
    const socket = lab.guest.udp();
    socket.send('hello', SERVER, 7);
    await lab.clock.settle();
    for (let i = 0; i < 500; i++) reply!(new Uint8Array(1400));
    await lab.clock.settle();
    expect(socket.waiting).toBeLessThan(110);
    expect(lab.network.guests()[0]!.counters['rateDroppedOut']).toBeGreaterThan(390);
  });

  it('hold for answers to pings, too', async () => {
    await using lab = await testNetwork({}, { guest: { rateDown: MBIT } });
    const pings = Array.from({ length: 200 }, () => lab.guest.ping(lab.gateway, { size: 1400 }));
    const answers = await lab.run(Promise.allSettled(pings));
    expect(answers.filter(({ status }) => status === 'fulfilled').length).toBeLessThan(150);
    expect(lab.network.guests()[0]!.counters['rateDroppedOut']).toBeGreaterThan(50);
  });

  it('hold among several guests of one network, unlike budgets and policies', async () => {
    await using lab = await testNetwork({}, { guest: { name: 'a', memory: 2 ** 20, policy: ['deny any'] } });
    const free = await lab.attach({ name: 'b' });
    lab.host.accept('*', (socket) => socket.end('ok'));
    expect(await codeOf(lab.run(lab.guest.connect(SERVER, 80)))).not.toBe('no error');
    expect(await lab.run(readAll(await lab.run(free.connect(SERVER, 80))))).toBe('ok');
    const [a, b] = lab.network.guests();
    expect([a!.port.budget.limit, b!.port.budget.limit]).toEqual([2 ** 20, 128 * 2 ** 20]);
  });
});
