import { describe, expect, it } from 'vitest';
import { ETHERTYPE_IPV4, emitEthernet } from '../ethernet/index.js';
import { type Ipv4, parseIpv4, parseMac } from '../core/index.js';
import { emitIpv4Packet } from '../ipv4/index.js';
import { emitUdp } from '../udp/index.js';
import { type ScriptedGuest, testNetwork } from './index.js';
import { codeOf, digestAll, payload, readAll } from './testing.testutil.js';

const SERVER = '198.51.100.1';
const MAC = '52:54:00:aa:bb:cc';

function broadcast(from: ScriptedGuest, port: number, to = 'ff:ff:ff:ff:ff:ff'): Uint8Array {
  const [source, destination] = [from.address!, '255.255.255.255'].map((text) => parseIpv4(text)!) as [
    Ipv4,
    Ipv4,
  ];
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
    payload: emitUdp(
      { sourcePort: 1, destinationPort: port, payload: new Uint8Array(4) },
      source,
      destination,
    ),
  });
  return emitEthernet({
    destination: parseMac(to)!,
    source: from.mac,
    etherType: ETHERTYPE_IPV4,
    payload: packet,
  });
}

describe('isolated guests', () => {
  it('see the gateway and the world, and not each other', async () => {
    await using lab = await testNetwork({ switch: { isolation: true } });
    const other = await lab.attach();
    lab.host.accept(`${SERVER}:80`, (socket) => socket.end('ok'));
    const heard = other.frames.record();
    lab.guest.sendFrame(broadcast(lab.guest, 9));
    expect(await codeOf(lab.run(lab.guest.ping(other.address!)))).not.toBe('no error');
    expect(heard.stop().filter(({ ethernet }) => ethernet.source === lab.guest.mac)).toEqual([]);
    for (const guest of [lab.guest, other]) {
      expect(await lab.run(guest.ping(lab.gateway))).toBeLessThan(5);
      expect(await lab.run(readAll(await lab.run(guest.connect(SERVER, 80))))).toBe('ok');
    }
    expect(lab.guest.address).not.toBe(other.address);
  });

  it('are apart from those that are not, who see each other', async () => {
    await using lab = await testNetwork();
    const open = await lab.attach();
    const apart = await lab.attach({ isolation: true });
    expect(lab.network.guests().map(({ isolated }) => isolated)).toEqual([false, false, true]);
    expect(await lab.run(open.ping(lab.guest.address!))).toBeLessThan(5);
    expect(await codeOf(lab.run(apart.ping(open.address!)))).not.toBe('no error');
    expect(await codeOf(lab.run(open.ping(apart.address!)))).not.toBe('no error');
    // Also not by its MAC address, and that is counted.
    const heard = open.frames.record();
    apart.sendFrame(broadcast(apart, 9, open.mac));
    expect(await lab.run(apart.ping(lab.gateway))).toBeLessThan(5);
    expect(heard.stop().filter(({ ethernet }) => ethernet.source === apart.mac)).toEqual([]);
    expect(lab.network.stats().stack.isolated).toBe(1);
  });

  it('work side by side with one MAC address and one IP address: TCP, UDP, published ports, each its own', async () => {
    const publish = ['a@127.0.0.1:8001:80', 'b@127.0.0.1:8002:80', 'b@127.0.0.1:5302:53/udp'];
    await using lab = await testNetwork({ switch: { isolation: true }, publish }, { guest: false });
    const clones = [
      await lab.attach({ name: 'a', mac: MAC, lease: false }),
      await lab.attach({ name: 'b', mac: MAC, lease: false }),
    ];
    const data = payload(300_000);
    lab.host.accept(`${SERVER}:80`, (socket) => socket.end(data.bytes));
    lab.host.datagrams(`${SERVER}:7`, ({ bytes, reply }) => reply(bytes));
    for (const clone of clones) clone.configure({ ip: '192.168.127.9', gateway: lab.gateway });
    await lab.run(Promise.all(clones.map((clone) => clone.ping(lab.gateway))));
    const downloads = clones.map(async (clone) =>
      digestAll(await clone.connect(SERVER, 80, { localPort: 40_000 })),
    );
    for (const { sha256 } of await lab.run(Promise.all(downloads))) expect(sha256).toBe(data.sha256);
    const sockets = clones.map((clone) => clone.udp(5000));
    sockets.forEach((socket, i) => {
      socket.send(`hello ${i}`, SERVER, 7);
    });
    for (const [i, socket] of sockets.entries()) {
      expect(Buffer.from((await lab.run(socket.recv())).bytes).toString()).toBe(`hello ${i}`);
      expect(socket.waiting).toBe(0);
    }
    clones.forEach((clone, i) => {
      clone.listen(80, (socket) => socket.end(`clone ${i}`));
    });
    expect(await lab.run(readAll(lab.host.connect('127.0.0.1', 8001)))).toBe('clone 0');
    expect(await lab.run(readAll(lab.host.connect('127.0.0.1', 8002)))).toBe('clone 1');
    const names = clones.map((clone) => clone.udp(53));
    const client = lab.host.udpClient('127.0.0.1', 5302);
    client.send('?');
    await lab.clock.settle();
    expect(names.map(({ waiting }) => waiting)).toEqual([0, 1]);
    // Nor does one answer in the place of the other.
    const { port: asked } = await lab.run(names[1]!.recv());
    names[0]!.send('a lie', lab.gateway, asked);
    await lab.clock.settle();
    names[1]!.send('the truth', lab.gateway, asked);
    expect(Buffer.from(await lab.run(client.recv())).toString()).toBe('the truth');
    expect(lab.network.stats().stack).toMatchObject({ spoofedSource: 0, spoofedMac: 0 });
  });

  it('each renew the one lease that both have from before they were cloned', async () => {
    await using lab = await testNetwork({ switch: { isolation: true } }, { guest: { name: 'a', mac: MAC } });
    const { guest: clone } = await lab.plug({ name: 'b', mac: MAC, lease: false });
    clone.lease = lab.guest.lease!;
    clone.configure({ ip: lab.guest.address!, gateway: lab.gateway });
    for (const guest of [clone, lab.guest, clone]) {
      expect((await lab.run(guest.renew())).ip).toBe(lab.guest.address);
    }
    expect(lab.network.leases()).toMatchObject([
      { ip: lab.guest.address, guest: 'a' },
      { ip: lab.guest.address, guest: 'b' },
    ]);
    await lab.run(clone.release());
    await lab.clock.settle();
    expect((await lab.run(lab.guest.renew())).ip).toBe(lab.guest.address);
    expect(await lab.run(lab.guest.ping(lab.gateway))).toBeLessThan(5);
  });

  it('are refused an address that nobody may have', async () => {
    await using lab = await testNetwork({ switch: { isolation: true } });
    const clone = await lab.attach();
    clone.lease = { ...clone.lease!, ip: lab.network.addresses.hostAlias! };
    expect(await codeOf(lab.run(clone.renew()))).toBe('EACCES');
  });

  it('leave the published address of a lease to the one it was leased to', async () => {
    await using lab = await testNetwork(
      { switch: { isolation: true }, publish: ['127.0.0.1:8080:192.168.127.2:80'] },
      { guest: false },
    );
    const { guest: thief } = await lab.plug({ name: 'thief', ip: '192.168.127.77', lease: false });
    thief.configure({ ip: '192.168.127.2', gateway: lab.gateway });
    await lab.run(thief.ping(lab.gateway));
    const honest = await lab.attach({ name: 'honest', ip: '192.168.127.2' });
    thief.announce();
    await lab.clock.settle();
    thief.listen(80, (socket) => socket.end('thief'));
    honest.listen(80, (socket) => socket.end('honest'));
    expect(await lab.run(readAll(lab.host.connect('127.0.0.1', 8080)))).toBe('honest');
  });
});
