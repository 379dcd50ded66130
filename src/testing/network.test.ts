import { describe, expect, it } from 'vitest';
import { memoryLink, ScriptedGuest, testNetwork } from './index.js';
import { codeOf } from './testing.testutil.js';

describe('lease', () => {
  it('is offered, acknowledged and complete', async () => {
    await using lab = await testNetwork({
      mtu: 9000,
      dhcp: { domain: 'vm.test', search: ['vm.test', 'corp.test'] },
    });
    expect(lab.guest.lease).toMatchObject({
      ip: '192.168.127.2',
      prefix: 24,
      gateway: '192.168.127.1',
      dns: ['192.168.127.1'],
      mtu: 9000,
      seconds: 86_400,
      domain: 'vm.test',
      search: ['vm.test', 'corp.test'],
      server: '192.168.127.1',
    });
    expect(lab.network.leases()).toMatchObject([
      { ip: '192.168.127.2', mac: lab.guest.mac, guest: 'guest1' },
    ]);
  });

  it('is renewed, released and given again', async () => {
    await using lab = await testNetwork({ dhcp: { leaseSeconds: 600 } });
    await lab.clock.advance(400_000);
    await lab.run(lab.guest.renew());
    expect(lab.network.leases()[0]?.expiresIn).toBeGreaterThan(599_000);
    await lab.run(lab.guest.release());
    await lab.clock.settle();
    expect(lab.network.leases()).toEqual([]);
    expect((await lab.run(lab.guest.dhcp())).ip).toBe('192.168.127.2');
  });

  it('belongs to the guest that comes back after a power cut', async () => {
    await using lab = await testNetwork();
    const second = await lab.attach({ name: 'second', mac: '52:54:00:00:00:99' });
    const had = second.lease?.ip;
    second.close();
    await lab.clock.settle();
    expect(lab.network.guests().map((guest) => guest.name)).toEqual(['guest1']);
    await lab.attach({ name: 'third' });
    const again = await lab.attach({ name: 'second', mac: '52:54:00:00:00:99' });
    expect(again.lease?.ip).toBe(had);
    await lab.run(again.ping(lab.gateway));
  });

  it('differs between guests, and neither gateway nor alias is handed out', async () => {
    await using lab = await testNetwork({ subnet: '10.9.8.0/29' });
    for (const name of ['b', 'c', 'd']) await lab.attach({ name });
    const leased = lab.guests.map((guest) => guest.lease?.ip);
    expect(leased.toSorted()).toEqual(['10.9.8.2', '10.9.8.3', '10.9.8.4', '10.9.8.5']);
    const fifth = await lab.attach({ name: 'e', lease: false });
    expect(await codeOf(lab.run(fifth.dhcp()))).toBe('ETIMEDOUT');
  });
});

describe('ping', () => {
  it('is answered by the gateway and the host alias, large and small', async () => {
    await using lab = await testNetwork();
    const { gateway, hostAlias } = lab.network.addresses;
    for (const ip of [gateway, hostAlias!]) {
      for (const size of [0, 1, 56, 1472, 1473, 20_000]) {
        expect(await lab.run(lab.guest.ping(ip, { size })), `${ip} ${size}`).toBeLessThan(5);
      }
    }
    expect(lab.guest.counters.ip.malformed).toBe(0);
  });

  it('meets TTL and missing routes as on any network', async () => {
    await using lab = await testNetwork();
    const error = await lab.run(lab.guest.ping('198.51.100.9', { ttl: 1 }).catch((e: unknown) => e));
    expect(error).toMatchObject({ code: 'EHOSTUNREACH', icmp: { type: 11, from: lab.gateway } });
    expect(await codeOf(lab.run(lab.guest.ping('192.168.127.77')))).toBe('ETIMEDOUT');
  });
});

describe('DNS on the gateway', () => {
  it('knows the built-in names, their reverses, and the host of another guest', async () => {
    await using lab = await testNetwork({ dns: { hosts: { 'db.test': '10.1.2.3' } } });
    const { hostAlias } = lab.network.addresses;
    await lab.attach({ name: 'second' });
    const { guest } = lab;
    const resolve = (name: string, type?: string): Promise<string[]> => lab.run(guest.resolve(name, type));
    expect(await resolve('gateway.netproxy.internal')).toEqual([lab.gateway]);
    expect(await resolve('host.netproxy.internal')).toEqual([hostAlias]);
    expect(await resolve('host.docker.internal')).toEqual([hostAlias]);
    expect(await resolve('host.containers.internal')).toEqual([hostAlias]);
    expect(await resolve('gateway.docker.internal')).toEqual([lab.gateway]);
    expect(await resolve('db.test')).toEqual(['10.1.2.3']);
    expect(await resolve('1.127.168.192.in-addr.arpa', 'PTR')).toEqual(['gateway.netproxy.internal']);
    expect(await codeOf(resolve('host.netproxy.internal', 'AAAA'))).toBe('ENODATA');
  });

  it('asks the host for everything else, over UDP and TCP', async () => {
    await using lab = await testNetwork();
    lab.host.name('example.test', '198.51.100.1', '2001:db8::1');
    lab.host.failName('later.test', 'EAI_AGAIN');
    for (const tcp of [false, true]) {
      const ask = (name: string, type: string): Promise<string[]> =>
        lab.run(lab.guest.resolve(name, type, { tcp }));
      expect(await ask('example.test', 'A')).toEqual(['198.51.100.1']);
      expect(await ask('Example.Test', 'AAAA')).toEqual(['2001:db8::1']);
      expect(await codeOf(ask('nowhere.test', 'A'))).toBe('ENOTFOUND');
      expect(await codeOf(ask('later.test', 'A'))).toBe('ESERVFAIL');
    }
  });

  it('says SERVFAIL by its deadline when the host is silent', async () => {
    await using lab = await testNetwork({ dns: { deadline: 3000 } });
    lab.host.relay = () => new Promise(() => undefined);
    const before = lab.clock.now();
    const answer = await lab.run(lab.guest.query('example.test', 'MX', { timeout: 30_000 }));
    expect(answer.rcode).toBe('SERVFAIL');
    expect(lab.clock.now() - before).toBeLessThanOrEqual(3100);
  });
});

describe('guests', () => {
  it('reach each other over the switch', async () => {
    await using lab = await testNetwork();
    const other = await lab.attach();
    other.listen(80, (socket) => socket.pipe(socket));
    const ip = other.lease!.ip;
    expect(await lab.run(lab.guest.ping(ip))).toBeLessThan(5);
    const socket = await lab.run(lab.guest.connect(ip, 80));
    socket.end('over the switch');
    expect(await lab.run(async () => String((await socket.toArray())[0]))).toBe('over the switch');
    expect(lab.host.counters.dials).toBe(0);
  });

  it('see none of what two others say once their places are known', async () => {
    await using lab = await testNetwork();
    const [second, third] = [await lab.attach(), await lab.attach()];
    await lab.run(lab.guest.ping(second.lease!.ip));
    const seen = third.frames.record();
    for (let i = 0; i < 10; i++) await lab.run(lab.guest.ping(second.lease!.ip));
    expect(seen.stop()).toEqual([]);
  });

  it('may not speak for the gateway', async () => {
    await using lab = await testNetwork();
    const { guest: rogue } = await lab.plug({ lease: false });
    rogue.configure({ ip: lab.gateway, prefix: 24, gateway: lab.gateway });
    rogue.announce();
    await lab.clock.settle();
    lab.guest.flushArp();
    expect(await lab.run(lab.guest.arp(lab.gateway))).toBe(lab.network.addresses.gatewayMac);
  });
});

describe('two networks in one process', () => {
  it('share nothing', async () => {
    await using one = await testNetwork();
    await using two = await testNetwork();
    one.host.accept('198.51.100.1:80', (socket) => socket.end('one'));
    two.host.accept('198.51.100.1:80', (socket) => socket.end('two'));
    for (const [lab, text] of [
      [one, 'one'],
      [two, 'two'],
    ] as const) {
      const socket = await lab.run(lab.guest.connect('198.51.100.1', 80));
      expect(await lab.run(async () => String((await socket.toArray())[0]))).toBe(text);
    }
    expect(one.host.counters.dials).toBe(1);
  });
});

describe('stop', () => {
  it('resets guests, closes host sockets and leaves no timer', async () => {
    const lab = await testNetwork();
    lab.host.accept('*', () => undefined);
    const socket = await lab.run(lab.guest.connect('198.51.100.1', 80));
    lab.guest.udp().send('x', '198.51.100.1', 53);
    await lab.clock.settle();
    const before = lab.clock.now();
    await lab.run(lab.network.stop());
    await lab.clock.settle();
    expect(lab.clock.now() - before).toBeLessThan(1000);
    expect(socket.destroyed).toBe(true);
    expect(lab.host.counters).toMatchObject({ openStreams: 0, openUdp: 0, pendingDials: 0 });
    await lab.close();
    await lab.clock.advance(300_000);
    expect(lab.clock.pendingTimers).toBe(0);
    expect(lab.network.stats().memory.blocksOut).toBe(0);
    expect(() => lab.network.attach(memoryLink(lab.clock).network)).toThrow('stopped');
  });
});

describe('a guest with a static address', () => {
  it('is served without DHCP', async () => {
    await using lab = await testNetwork({}, { guest: false });
    const link = memoryLink(lab.clock);
    lab.network.attach(link.network, { name: 'static' });
    const guest = new ScriptedGuest(link.guest, { scheduler: lab.clock });
    guest.configure({ ip: '192.168.127.40', gateway: lab.gateway });
    lab.host.accept('198.51.100.1:80', (socket) => socket.end('hello'));
    const socket = await lab.run(guest.connect('198.51.100.1', 80));
    expect(await lab.run(async () => String((await socket.toArray())[0]))).toBe('hello');
    guest.close();
  });
});
