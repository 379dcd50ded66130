import { describe, expect, it } from 'vitest';
import { emitArp } from '../arp/index.js';
import { type Ipv4, type Mac, parseIpv4 } from '../core/index.js';
import { emitEthernet, ETHERTYPE_ARP, ETHERTYPE_IPV4 } from '../ethernet/index.js';
import { emitIpv4Packet } from '../ipv4/index.js';
import { HELD_AFTER_USE } from '../stack/index.js';
import { emitUdp } from '../udp/index.js';
import { type ScriptedGuest, testNetwork } from './index.js';
import { codeOf } from './testing.testutil.js';

const ip = (text: string): Ipv4 => parseIpv4(text)!;

/** "This address is mine", told to one guest, behind so many VLAN tags. */
function claim(from: ScriptedGuest, to: ScriptedGuest, address: string, tags = 0): Uint8Array {
  const packet = {
    operation: 2,
    senderMac: from.mac,
    senderIp: ip(address),
    targetMac: to.mac,
    targetIp: ip(to.address!),
  };
  const arp = emitArp(packet);
  const frame = { destination: to.mac, source: from.mac };
  if (tags === 0) return emitEthernet({ ...frame, etherType: ETHERTYPE_ARP, payload: arp });
  const more = Array.from({ length: tags - 1 }, () => [0, 0, 0x81, 0]).flat();
  return emitEthernet({ ...frame, etherType: 0x8100, payload: Uint8Array.of(...more, 0, 0, 8, 6, ...arp) });
}

function udp(from: { mac: Mac; ip: string; port: number }, to: ScriptedGuest, port: number): Uint8Array {
  const payload = emitUdp(
    { sourcePort: from.port, destinationPort: port, payload: new Uint8Array(4) },
    ip(from.ip),
    ip(to.address!),
  );
  const packet = emitIpv4Packet({
    source: ip(from.ip),
    destination: ip(to.address!),
    protocol: 17,
    ttl: 64,
    tos: 0,
    id: 1,
    dontFragment: false,
    moreFragments: false,
    fragmentOffset: 0,
    options: new Uint8Array(0),
    payload,
  });
  return emitEthernet({ destination: to.mac, source: from.mac, etherType: ETHERTYPE_IPV4, payload: packet });
}

describe('a guest that lies about who it is', () => {
  it('takes neither the gateway’s, nor the alias’s, nor another guest’s address by ARP', async () => {
    await using lab = await testNetwork();
    const [rogue, third] = [await lab.attach(), await lab.attach()];
    const { gateway, gatewayMac, hostAlias } = lab.network.addresses;
    await lab.run(lab.guest.arp(gateway));
    await lab.run(lab.guest.arp(hostAlias!));
    await lab.run(lab.guest.arp(third.address!));
    for (const address of [gateway, hostAlias!, third.address!]) {
      for (const tags of [0, 1, 2]) rogue.sendFrame(claim(rogue, lab.guest, address, tags));
    }
    await lab.clock.settle();
    const before = lab.network.stats().stack.spoofedSource;
    const heard = lab.guest.frames.record();
    // Linux takes off any number of tags of VLAN 0.
    for (const tags of [3, 4, 10]) rogue.sendFrame(claim(rogue, lab.guest, third.address!, tags));
    await lab.clock.settle();
    expect(heard.stop().filter(({ ethernet }) => ethernet.source === rogue.mac)).toEqual([]);
    expect(lab.network.stats().stack.spoofedSource).toBe(before + 3);
    expect(await lab.run(lab.guest.arp(gateway))).toBe(gatewayMac);
    expect(await lab.run(lab.guest.arp(hostAlias!))).toBe(gatewayMac);
    expect(await lab.run(lab.guest.arp(third.address!))).toBe(third.mac);
    expect(lab.network.stats().stack.spoofedSource).toBeGreaterThanOrEqual(6);
    expect(await lab.run(rogue.ping(lab.guest.address!))).toBeLessThan(5);
  });

  it('does not speak as another guest, neither to the world nor to guests', async () => {
    await using lab = await testNetwork();
    const [rogue, third] = [await lab.attach(), await lab.attach()];
    const socket = lab.guest.udp(4000);
    for (const address of [third.address!, lab.gateway]) {
      rogue.sendFrame(udp({ mac: rogue.mac, ip: address, port: 1 }, lab.guest, 4000));
    }
    rogue.sendFrame(udp({ mac: rogue.mac, ip: rogue.address!, port: 1 }, lab.guest, 4000));
    expect((await lab.run(socket.recv())).ip).toBe(rogue.address);
    expect(socket.waiting).toBe(0);
    rogue.configure({ ip: third.address!, gateway: lab.gateway });
    expect(await codeOf(lab.run(rogue.ping(lab.gateway)))).not.toBe('no error');
    expect(await lab.run(third.ping(lab.gateway))).toBeLessThan(5);
  });

  it('plays no DHCP server for others', async () => {
    await using lab = await testNetwork();
    const rogue = await lab.attach();
    const socket = lab.guest.udp(68);
    rogue.sendFrame(udp({ mac: rogue.mac, ip: rogue.address!, port: 67 }, lab.guest, 68));
    await lab.clock.settle();
    expect(socket.waiting).toBe(0);
    expect(lab.network.stats().stack.rogueDhcp).toBe(1);
  });

  it('loses an address to the one it is leased to, and cannot use up the pool', async () => {
    await using lab = await testNetwork({ subnet: '10.7.0.0/24' }, { guest: false });
    const { guest: squatter } = await lab.plug({ name: 'squatter', lease: false });
    for (let host = 2; host < 250; host++) {
      squatter.configure({ ip: `10.7.0.${host}`, gateway: '10.7.0.1' });
      squatter.announce();
    }
    await lab.clock.settle();
    const honest = await lab.attach({ name: 'honest' });
    expect(await lab.run(honest.ping(lab.gateway))).toBeLessThan(5);
    squatter.configure({ ip: honest.address!, gateway: '10.7.0.1' });
    expect(await codeOf(lab.run(squatter.ping(lab.gateway)))).not.toBe('no error');
  });

  it('may take an address that its holder left', async () => {
    await using lab = await testNetwork();
    const first = await lab.attach({ lease: false });
    const second = await lab.attach({ lease: false });
    first.configure({ ip: '192.168.127.90', gateway: lab.gateway });
    await lab.run(first.ping(lab.gateway));
    first.configure({ ip: '192.168.127.91', gateway: lab.gateway });
    second.configure({ ip: '192.168.127.90', gateway: lab.gateway });
    expect(await codeOf(lab.run(second.ping(lab.gateway)))).not.toBe('no error');
    await lab.clock.advance(HELD_AFTER_USE);
    expect(await codeOf(lab.run(second.ping(lab.gateway)))).toBe('no error');
    await lab.run(lab.guest.release());
    await lab.clock.settle();
    second.configure({ ip: '192.168.127.2', gateway: lab.gateway });
    expect(await codeOf(lab.run(second.ping(lab.gateway)))).toBe('no error');
  });
});
