/** DHCP of a whole network: what is told, who gets which address, what survives. */
import { describe, expect, it } from 'vitest';
import { MAX_CONFLICTS, MAX_TRIES } from '../network/dhcp-probe.js';
import type { NetworkConfig } from '../index.js';
import { MemoryDisk } from '../host/state.testutil.js';
import { Option, readAddresses, readRoutes, readText } from '../dhcp/index.js';
import { createNetwork } from '../index.js';
import { type TestNetworkOptions, testNetwork } from './index.js';
import { codeOf } from './testing.testutil.js';

const mac = (n: number): string => `52:54:00:00:01:${n.toString(16).padStart(2, '0')}`;

/** A network whose state file is on this disk, and what it warned of. */
async function kept(disk: MemoryDisk, config: NetworkConfig = {}, options: TestNetworkOptions = {}) {
  const lab = await testNetwork(
    { stateFile: '/state', ...config },
    { ...options, deps: { disk }, guest: false },
  );
  const warnings: string[] = [];
  lab.network.on('warning', (message) => warnings.push(message));
  return { lab, warnings, [Symbol.asyncDispose]: () => lab.close() };
}

describe('a state file', () => {
  it('gives every guest its address again after a restart, in whatever order they come', async () => {
    const disk = new MemoryDisk();
    {
      await using one = await kept(disk);
      for (const n of [1, 2, 3]) {
        const guest = await one.lab.attach({ mac: mac(n) });
        expect(guest.lease?.ip).toBe(`192.168.127.${n + 1}`);
      }
    }
    await using two = await kept(disk);
    expect(two.lab.network.leases().map(({ ip }) => ip)).toEqual([2, 3, 4].map((n) => `192.168.127.${n}`));
    // A new one does not get what others will ask for, though it is the first to come.
    expect((await two.lab.attach({ mac: mac(9) })).lease?.ip).toBe('192.168.127.5');
    for (const n of [3, 1, 2])
      expect((await two.lab.attach({ mac: mac(n) })).lease?.ip).toBe(`192.168.127.${n + 1}`);
    expect(two.warnings).toEqual([]);
  });

  it('keeps what is left of a lease, by the wall clock', async () => {
    const disk = new MemoryDisk();
    {
      await using one = await kept(disk, { dhcp: { leaseSeconds: 1000 } });
      await one.lab.attach();
      await one.lab.clock.advance(400_000);
    }
    const record = [...disk.records.values()][0] as { expires: number };
    expect(record.expires).toBe(Date.UTC(2030, 0, 1) + 1_000_000);
    await using two = await kept(disk, { dhcp: { leaseSeconds: 1000 } });
    await two.lab.clock.advance(990_000);
    expect(two.lab.network.leases()).toHaveLength(1);
    await two.lab.clock.advance(20_000);
    expect(two.lab.network.leases()).toEqual([]);
    expect([...disk.records.values()]).toMatchObject([{ ip: '192.168.127.2', state: 'free' }]);
  });

  it('holds a lease before its guest hears of it, and holds up nothing else', async () => {
    const disk = new MemoryDisk();
    await using one = await kept(disk);
    const { guest: first } = await one.lab.plug();
    let release: () => void = () => undefined;
    disk.hang = new Promise((resolve) => (release = resolve));
    const { guest } = await one.lab.plug({ lease: false });
    const lease = guest.dhcp();
    await one.lab.clock.advance(500);
    expect(guest.lease).toBeUndefined();
    expect(await one.lab.run(first.ping('192.168.127.1'))).toBeLessThan(10);
    disk.hang = undefined;
    release();
    await one.lab.run(lease);
    expect(disk.records.has(`lease/${guest.lease!.ip}`)).toBe(true);
  });

  it.each(['ENOSPC', 'EACCES', 'EROFS'])('%s: guests get their leases, people one warning', async (errno) => {
    const disk = new MemoryDisk();
    await using one = await kept(disk);
    await one.lab.attach();
    disk.errno = errno;
    for (let n = 0; n < 3; n++) await one.lab.attach();
    expect(one.lab.network.leases()).toHaveLength(4);
    expect(one.warnings.filter((text) => text.includes('state file'))).toHaveLength(1);
    disk.errno = undefined;
    await one.lab.clock.advance(60_000);
    expect(disk.records.size).toBe(4);
  });

  it('of another network, or with rubbish for leases: what does not fit is left out, with a word', async () => {
    const disk = new MemoryDisk();
    {
      await using one = await kept(disk);
      for (const n of [1, 2]) await one.lab.attach({ mac: mac(n) });
    }
    await using two = await kept(disk, { subnet: '10.9.0.0/24' });
    expect(two.lab.network.leases()).toEqual([]);
    await two.lab.attach();
    await two.lab.clock.settle();
    expect([...disk.records.keys()]).toEqual(['lease/10.9.0.2']);
  });

  it('forgets declined addresses and keeps released ones for their clients', async () => {
    const disk = new MemoryDisk();
    {
      await using one = await kept(disk);
      await one.lab.attach({ mac: mac(5) });
      const guest = await one.lab.attach({ mac: mac(1) });
      await one.lab.run(guest.release());
      await one.lab.clock.settle();
      const records = [...disk.records.values()];
      expect(records).toMatchObject([{ state: 'bound' }, { ip: '192.168.127.3', state: 'free' }]);
    }
    await using two = await kept(disk);
    expect((await two.lab.attach({ mac: mac(2) })).lease?.ip).toBe('192.168.127.4');
    expect((await two.lab.attach({ mac: mac(1) })).lease?.ip).toBe('192.168.127.3');
  });
});

describe('the place of a guest', () => {
  const recreated = async (awayFor: number, names: readonly [string?, string?]) => {
    await using lab = await testNetwork({}, { guest: false });
    const { guest: old } = await lab.plug({ lease: false, mac: mac(1) });
    await lab.run(old.dhcp({ hostname: names[0] }));
    old.close();
    await lab.clock.settle();
    await lab.clock.advance(awayFor);
    const { guest: next } = await lab.plug({ lease: false, mac: mac(2) });
    await lab.run(next.dhcp({ hostname: names[1] }));
    const { vacated } = lab.network.stats().dhcp.addresses;
    // The machine that was there before comes back, too: another address, none twice.
    const { guest: back } = await lab.plug({ mac: mac(1) });
    const all = lab.network.leases().map(({ ip }) => ip);
    expect(new Set(all).size).toBe(all.length);
    expect(back.lease?.ip).not.toBe(next.lease?.ip);
    return { ip: next.lease?.ip, vacated };
  };

  it('goes to the machine that was made anew under another MAC address', async () => {
    expect(await recreated(10_000, [])).toEqual({ ip: '192.168.127.2', vacated: 1 });
    expect(await recreated(0, ['vm', 'vm'])).toEqual({ ip: '192.168.127.2', vacated: 1 });
  });

  it('waits for one that may be back in a moment', async () => {
    expect(await recreated(9_000, [])).toEqual({ ip: '192.168.127.3', vacated: 0 });
    expect(await recreated(0, ['vm', 'another'])).toEqual({ ip: '192.168.127.3', vacated: 0 });
  });

  it('is not taken from a lease that an earlier process gave: its holder may still be running', async () => {
    const disk = new MemoryDisk();
    {
      await using one = await kept(disk);
      await one.lab.attach({ mac: mac(1) });
    }
    await using two = await kept(disk);
    await two.lab.clock.advance(60_000);
    expect((await two.lab.attach({ mac: mac(2) })).lease?.ip).toBe('192.168.127.3');
    expect((await two.lab.attach({ mac: mac(1) })).lease?.ip).toBe('192.168.127.2');
  });
});

describe('addresses in use', () => {
  it('the first guest waits for nobody', async () => {
    await using lab = await testNetwork({}, { guest: false });
    const { guest } = await lab.plug({ lease: false });
    const began = lab.clock.now();
    await lab.run(guest.dhcp());
    expect(lab.clock.now() - began).toBeLessThan(10);
    expect(lab.network.stats().dhcp.probes).toMatchObject({ sent: 0 });
  });

  it('an address that another machine answers for is set aside and not offered', async () => {
    await using lab = await testNetwork();
    const { guest: fixed } = await lab.plug({ lease: false });
    fixed.configure({ ip: '192.168.127.3' });
    fixed.sendFrame(new Uint8Array(60).fill(0x52));
    await lab.clock.settle();
    const { guest } = await lab.plug({ lease: false });
    const began = lab.clock.now();
    await lab.run(guest.dhcp());
    expect(guest.lease?.ip).toBe('192.168.127.4');
    expect(lab.clock.now() - began).toBeLessThan(600);
    expect(lab.network.stats().dhcp).toMatchObject({
      addresses: { conflicts: 1 },
      probes: { sent: 2, inUse: 1 },
    });
    // Its owner goes on, and its client finds its own address without a probe.
    await lab.run(guest.release());
    await lab.run(guest.dhcp());
    expect(guest.lease?.ip).toBe('192.168.127.4');
    expect(lab.network.stats().dhcp.probes.sent).toBe(2);
  });

  it('a guest that answers for every address does not keep the others from getting one', async () => {
    await using lab = await testNetwork();
    const { guest: liar } = await lab.plug();
    const answer = new Uint8Array(42);
    void (async () => {
      for await (const frame of liar.frames) {
        const { arp } = frame;
        if (arp === undefined || arp.operation !== 1 || arp.senderIp !== 0) continue;
        const own = liar.mac.split(':').map((byte) => Number.parseInt(byte, 16));
        answer.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...own, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        answer.set(own, 22);
        new DataView(answer.buffer).setUint32(28, arp.targetIp);
        liar.sendFrame(answer);
      }
    })();
    const got: (string | undefined)[] = [];
    for (let n = 0; n < 3; n++) {
      const { guest } = await lab.plug({ lease: false });
      await lab.run(guest.dhcp({ timeout: 60_000 }));
      got.push(guest.lease?.ip);
    }
    expect(new Set(got).size).toBe(3);
    const { probes } = lab.network.stats().dhcp;
    expect(probes.inUse).toBe(MAX_CONFLICTS);
    expect(probes.disbelieved).toBeGreaterThan(0);
    expect(MAX_CONFLICTS % MAX_TRIES).toBe(0);
  });

  it('that run out are told of, once a minute', async () => {
    await using lab = await testNetwork({ subnet: '10.0.0.0/29', hostAlias: false }, { guest: false });
    const warnings: string[] = [];
    lab.network.on('warning', (message) => warnings.push(message));
    for (let n = 0; n < 5; n++) await lab.attach();
    const { guest } = await lab.plug({ lease: false });
    for (let n = 0; n < 3; n++)
      expect(await codeOf(lab.run(guest.dhcp({ timeout: 3000 })))).toBe('ETIMEDOUT');
    expect(warnings).toEqual(['DHCP: no address is left, a guest gets none']);
    await lab.clock.advance(60_000);
    await lab.run(lab.guests[2]!.release());
    await lab.run(guest.dhcp());
    expect(guest.lease?.ip).toBe('10.0.0.4');
    expect(lab.network.stats().dhcp.addresses.reused).toBe(1);
    expect(warnings.at(-1)).toMatch(/no fresh address is left/);
  });
});

describe('what guests are told', () => {
  const option =
    (code: number) =>
    (lab: Awaited<ReturnType<typeof testNetwork>>, n = 0) =>
      lab.guests[n]!.lease!.message.options.get(code);
  const list = (bytes: Uint8Array | undefined) =>
    readAddresses(bytes)?.map((ip) => [24, 16, 8, 0].map((shift) => (ip >>> shift) & 255).join('.'));

  it('name servers, time servers, routes and a default route as configured', async () => {
    await using lab = await testNetwork({
      dhcp: {
        dns: ['10.1.1.1', '10.1.1.2'],
        ntp: ['10.1.1.3'],
        routes: [{ to: '10.0.0.0/8' }, { to: '172.16.0.0/12', via: '192.168.127.9' }],
      },
    });
    expect(list(option(Option.dnsServer)(lab))).toEqual(['10.1.1.1', '10.1.1.2']);
    expect(list(option(Option.ntpServer)(lab))).toEqual(['10.1.1.3']);
    // RFC 3442: the default route is among them, because a client that takes them ignores the router.
    expect(readRoutes(option(Option.classlessRoutes)(lab))?.map((route) => route.destination.prefix)).toEqual(
      [8, 12, 0],
    );
    expect(lab.guest.lease?.gateway).toBe('192.168.127.1');
  });

  it('no default route where none is wanted', async () => {
    await using lab = await testNetwork({ dhcp: { router: false } });
    expect(lab.guest.lease?.gateway).toBeUndefined();
  });

  it('one guest, one machine and one client id each on their own', async () => {
    await using lab = await testNetwork(
      {
        dhcp: {
          domain: 'all.test',
          statics: [
            { ip: '192.168.127.10', mac: mac(1), domain: 'machine.test', hostname: 'machine' },
            { ip: '192.168.127.11', clientId: 'FF:00:01', ntp: ['10.0.0.9'] },
            { ip: '192.168.127.12', guest: 'build', dns: ['10.0.0.8'] },
          ],
        },
      },
      { guest: false },
    );
    const domain = (n: number) => readText(option(Option.domainName)(lab, n));
    await lab.attach({ mac: mac(1), dhcp: { domain: 'guest.test', ntp: [] } });
    expect([lab.guests[0]!.lease?.ip, domain(0)]).toEqual(['192.168.127.10', 'machine.test']);
    expect(option(Option.ntpServer)(lab, 0)).toBeUndefined();
    const { guest } = await lab.plug({ lease: false });
    await lab.run(guest.dhcp({ clientId: Uint8Array.of(255, 0, 1) }));
    expect([guest.lease?.ip, domain(1)]).toEqual(['192.168.127.11', 'all.test']);
    expect(list(option(Option.ntpServer)(lab, 1))).toEqual(['10.0.0.9']);
    await lab.attach({ name: 'build', mtu: 1400 });
    expect(lab.guests[2]!.lease).toMatchObject({ ip: '192.168.127.12', mtu: 1400, dns: ['10.0.0.8'] });
    await lab.attach({ dhcp: { domain: 'guest.test' } });
    expect(domain(3)).toBe('guest.test');
  });

  it.each([
    [
      { statics: [{ ip: '10.0.0.1', mac: mac(1) }] },
      /static lease of 10\.0\.0\.1 for .*: it is outside the subnet/,
    ],
    [{ statics: [{ ip: '192.168.127.1', mac: mac(1) }] }, /it is the gateway's address/],
    [{ statics: [{ ip: '192.168.127.254', mac: mac(1) }] }, /it is the host alias/],
    [{ statics: [{ ip: '192.168.127.255', mac: mac(1) }] }, /the broadcast address/],
    [{ statics: [{ ip: '192.168.127.0', guest: 'a' }] }, /the network's/],
    [{ statics: [{ ip: 'x', guest: 'a' }] }, /"x" is no IPv4 address/],
    [{ statics: [{ ip: '192.168.127.9' }] }, /it does not say for whom/],
    [{ statics: [{ ip: '192.168.127.9', clientId: '0' }] }, /it does not say for whom/],
    [{ statics: [{ ip: '192.168.127.9', mac: mac(1), guest: 'a' }] }, /names a guest and a machine/],
    [
      { statics: [1, 2].map((n) => ({ ip: '192.168.127.9', mac: mac(n) })) },
      /for 52:54:00:00:01:02: 192\.168\.127\.9 has one already \(static lease of .*01:01\)/,
    ],
    [
      { statics: [8, 9].map((n) => ({ ip: `192.168.127.${n}`, mac: mac(1) })) },
      /52:54:00:00:01:01 has one already/,
    ],
    [{ statics: [8, 9].map((n) => ({ ip: `192.168.127.${n}`, guest: 'a' })) }, /guest a has one already/],
    [{ dns: ['127.0.0.1'] }, /dhcp: dns "127\.0\.0\.1"/],
    [{ ntp: Array.from({ length: 17 }, () => '10.0.0.1') }, /dhcp: ntp has 17 entries/],
    [{ router: '10.0.0.1' }, /dhcp: router "10\.0\.0\.1"/],
    [{ routes: [{ to: '10.0.0.0' }] }, /route to "10\.0\.0\.0"/],
    [{ routes: [{ to: '10.0.0.0/8', via: '10.0.0.1' }] }, /route via "10\.0\.0\.1"/],
    [{ search: ['a b'] }, /search domain "a b"/],
    [{ leaseSeconds: 1 }, /leaseSeconds 1/],
    [{ leaseSeconds: 60, renewalSeconds: 55 }, /renewal after 55 s, rebinding after 52\.5 s, end after 60 s/],
    [{ rebindingSeconds: 90_000 }, /rebinding after 90000 s, end after 86400 s/],
    [{ statics: [{ ip: '192.168.127.9', guest: 'a', hostname: '-x' }] }, /host name "-x"/],
  ] satisfies [NetworkConfig['dhcp'], RegExp][])('%j is refused in words', (dhcp, message) => {
    expect(() => createNetwork({ subnet: '192.168.127.0/24', dhcp }, { native: false })).toThrow(message);
  });
});

describe('the host’s routes', () => {
  it('decide which network is chosen', async () => {
    await using lab = await testNetwork(
      {},
      { deps: { hostNetworks: () => ['192.168.0.0/16', '10.127.127.5/32'] } },
    );
    expect(lab.network.addresses.subnet).toBe('172.29.127.0/24');
    const all = () => ['0.0.0.0/1', '128.0.0.0/1'];
    expect(() => createNetwork({}, { native: false, hostNetworks: all })).toThrow(
      /routes into every network/,
    );
  });

  it('that come into the guests’ network are told of, each once for as long as it is there', async () => {
    let routes: string[] = [];
    await using lab = await testNetwork({}, { deps: { hostNetworks: () => routes } });
    const warnings: string[] = [];
    lab.network.on('warning', (message) => warnings.push(message));
    await lab.clock.advance(20_000);
    expect(warnings).toEqual([]);
    // A VPN comes up, its routes are repeated, it goes, it comes again.
    routes = ['192.168.0.0/16', '192.168.0.0/16', '10.0.0.0/8'];
    await lab.clock.advance(20_000);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(
      /address in 192\.168\.0\.0\/16, which overlaps the guests' network 192\.168\.127\.0\/24/,
    );
    routes = [];
    await lab.clock.advance(10_000);
    routes = ['192.168.127.77/32'];
    await lab.clock.advance(10_000);
    expect(warnings).toHaveLength(2);
  });

  it('are told of at the start where the network was named', async () => {
    const warnings: string[] = [];
    const logger = { debug: () => undefined, info: () => undefined, error: () => undefined };
    const deps = {
      hostNetworks: () => ['10.1.0.0/16'],
      logger: { ...logger, warn: (text: string) => void warnings.push(text) },
    };
    await using lab = await testNetwork({ subnet: '10.1.2.0/24' }, { deps });
    expect(lab.guest.lease?.ip).toBe('10.1.2.2');
    expect(warnings).toHaveLength(1);
  });
});
