import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatIpv4, type Ipv4 } from '../core/index.js';
import { ALIAS, Bench, GATEWAY, MAC_A, MAC_B, SUBNET, dotted, ip, macOf, typeOf } from './dhcp.testutil.js';
import { DhcpServer, MessageType, cleanHostname, encodeDhcp, parseDhcp } from './index.js';
import { message } from './dhcp.testutil.js';

const SMALL = { subnet: { base: ip('10.0.0.0'), prefix: 29 }, gateway: ip('10.0.0.1'), excluded: [] };
const DAY = 86_400;
const text = (address: Ipv4 | undefined): string => (address === undefined ? 'none' : formatIpv4(address));

describe('which address', () => {
  it('the lowest that never had a lease', () => {
    const bench = new Bench();
    expect([1, 2, 3].map((n) => text(bench.obtain({ mac: macOf(n) }, n)))).toEqual([
      '192.168.127.2',
      '192.168.127.3',
      '192.168.127.4',
    ]);
  });

  it('all of a subnet except what is excluded, and not one more', () => {
    const bench = new Bench();
    const got = Array.from({ length: 252 }, (_, n) => bench.obtain({ mac: macOf(n) }, n));
    expect(new Set(got).size).toBe(252);
    for (const never of [GATEWAY, ALIAS, SUBNET.base, ip('192.168.127.255')])
      expect(got).not.toContain(never);
    expect(bench.obtain({ mac: macOf(999) }, 999)).toBeUndefined();
    expect(bench.server.counters.drops).toEqual({ poolExhausted: 1 });
  });

  it('keeps to the range', () => {
    const bench = new Bench({ range: { first: ip('192.168.127.100'), last: ip('192.168.127.101') } });
    expect(text(bench.obtain({ mac: macOf(1) }, 1))).toBe('192.168.127.100');
    expect(text(bench.obtain({ mac: macOf(2), requested: '192.168.127.2' }, 2))).toBe('192.168.127.101');
    expect(bench.obtain({ mac: macOf(3) }, 3)).toBeUndefined();
  });

  it('the one asked for, when nobody has or had it', () => {
    const bench = new Bench();
    bench.obtain({ mac: macOf(1) }, 1);
    const offer = (requested: string, n: number) =>
      bench.send(MessageType.discover, { mac: macOf(n), requested }, n)!.message.yiaddr;
    expect(text(offer('192.168.127.50', 2))).toBe('192.168.127.50');
    expect(text(offer('192.168.127.50', 3))).toBe('192.168.127.3');
  });

  it('the same one after expiry, as long as nobody else needed it', () => {
    const bench = new Bench();
    bench.obtain();
    bench.pass(DAY + 1);
    expect(bench.server.leases()).toEqual([]);
    expect(bench.events.map((event) => event.kind)).toEqual(['bound', 'expired']);
    expect(text(bench.obtain({ mac: MAC_B }, 2))).toBe('192.168.127.3');
    expect(text(bench.obtain())).toBe('192.168.127.2');
  });

  it('when none is new, the one that has been free for longest', () => {
    const bench = new Bench(SMALL);
    for (const n of [1, 2, 3, 4, 5]) bench.obtain({ mac: macOf(n) }, n);
    for (const n of [3, 1]) bench.send(MessageType.release, { mac: macOf(n), ciaddr: `10.0.0.${n + 1}` }, n);
    expect(text(bench.obtain({ mac: macOf(6) }, 6))).toBe('10.0.0.4');
    expect(text(bench.obtain({ mac: macOf(7) }, 7))).toBe('10.0.0.2');
    expect(bench.obtain({ mac: macOf(3) }, 3)).toBeUndefined();
  });

  it('not one that somebody is seen to use', () => {
    const bench = new Bench({ inUse: (address, guest) => address === ip('192.168.127.2') && guest !== 9 });
    expect(text(bench.obtain({ requested: '192.168.127.2' }))).toBe('192.168.127.3');
    expect(text(bench.obtain({ mac: MAC_B }, 9))).toBe('192.168.127.2');
  });

  it('an offer that nobody takes up is free again after 30 s', () => {
    const bench = new Bench({ ...SMALL, subnet: { base: ip('10.0.0.0'), prefix: 30 } });
    bench.send(MessageType.discover);
    expect(bench.send(MessageType.discover, { mac: MAC_B }, 2)).toBeUndefined();
    expect(bench.server.nextTimeout()).toBe(bench.now + 30_000);
    bench.pass(30);
    expect(bench.send(MessageType.discover, { mac: MAC_B }, 2)).toBeDefined();
    expect(bench.events).toEqual([]);
  });

  it('a DISCOVER by a client with a lease leaves the lease as it is', () => {
    const bench = new Bench();
    bench.obtain();
    bench.send(MessageType.discover);
    bench.pass(60);
    expect(bench.server.leases()).toHaveLength(1);
  });

  it('works in /30, /31 and /32', () => {
    const one = (prefix: number, base: string, gateway: string) =>
      text(new Bench({ subnet: { base: ip(base), prefix }, gateway: ip(gateway), excluded: [] }).obtain());
    expect(one(30, '10.0.0.0', '10.0.0.2')).toBe('10.0.0.1');
    const bench = new Bench({ subnet: { base: ip('10.0.0.0'), prefix: 31 }, gateway: GATEWAY, excluded: [] });
    expect(text(bench.send(MessageType.discover)!.message.yiaddr)).toBe('10.0.0.0');
    expect(new Bench({ ...SMALL, subnet: { base: ip('10.0.0.1'), prefix: 32 } }).obtain()).toBeUndefined();
  });
});

describe('who is who', () => {
  it('the client id before the MAC; an Ethernet client id that repeats the MAC is the MAC', () => {
    const bench = new Bench();
    const own = [1, ...MAC_A.split(':').map((part) => Number.parseInt(part, 16))];
    expect(text(bench.obtain())).toBe('192.168.127.2');
    expect(text(bench.obtain({ clientId: own }))).toBe('192.168.127.2');
    expect(text(bench.obtain({ clientId: [255, 1, 2] }))).toBe('192.168.127.3');
    expect(text(bench.obtain({ clientId: [255, 1, 2], mac: MAC_B }))).toBe('192.168.127.3');
    expect(text(bench.obtain({ clientId: [255] }))).toBe('192.168.127.2');
  });

  it('a clone on another port is another client while the first is there', () => {
    const bench = new Bench();
    expect(text(bench.obtain({}, 'a'))).toBe('192.168.127.2');
    expect(text(bench.obtain({}, 'b'))).toBe('192.168.127.3');
    expect(typeOf(bench.send(MessageType.request, { ciaddr: '192.168.127.2' }, 'b'))).toBe(MessageType.nak);
    bench.send(MessageType.release, { ciaddr: '192.168.127.2' }, 'b');
    expect(bench.server.leases()).toHaveLength(2);
    bench.server.detach('a', bench.now);
    expect(typeOf(bench.send(MessageType.request, { ciaddr: '192.168.127.3' }, 'b'))).toBe(MessageType.ack);
    expect(text(bench.obtain({}, 'c'))).toBe('192.168.127.2');
    expect(bench.server.leaseAt(ip('192.168.127.2'))?.guest).toBe('c');
  });

  it('a clone that stays alone is the client', () => {
    const bench = new Bench();
    bench.obtain({}, 'a');
    bench.send(MessageType.decline, { requested: '192.168.127.2' }, 'a');
    bench.obtain({}, 'a');
    bench.obtain({}, 'b');
    bench.server.detach('b', bench.now);
    bench.server.detach('a', bench.now);
    expect(text(bench.obtain({}, 'c'))).toBe('192.168.127.3');
  });

  it('a guest that comes back has its lease', () => {
    const bench = new Bench();
    bench.obtain({}, 1);
    bench.obtain({ mac: MAC_B }, 2);
    bench.server.detach(1, bench.now);
    expect(bench.server.leases().map((lease) => lease.guest)).toEqual([undefined, 2]);
    expect(typeOf(bench.send(MessageType.request, { ciaddr: '192.168.127.2' }, 3))).toBe(MessageType.ack);
    expect(bench.events.at(-1)).toMatchObject({ kind: 'renewed', lease: { guest: 3 } });
  });

  it('knows names', () => {
    const bench = new Bench();
    bench.obtain({ hostname: 'Web.example' }, 1);
    bench.obtain({ hostname: 'web', mac: MAC_B }, 2);
    bench.obtain({ hostname: '-bad name', mac: macOf(3) }, 3);
    expect(bench.server.leases().map((lease) => lease.hostname)).toEqual(['web', 'web', undefined]);
    expect(text(bench.server.addressOf('WEB'))).toBe('192.168.127.2');
    expect(bench.server.addressOf('nobody')).toBeUndefined();
  });

  it.each([
    ['a', 'a'],
    ['A-1.b', 'a-1'],
    ['', undefined],
    ['-a', undefined],
    ['a-', undefined],
    ['a_b', undefined],
    ['ä', undefined],
    ['a'.repeat(63), 'a'.repeat(63)],
    ['a'.repeat(64), undefined],
    [undefined, undefined],
  ])('host name %s is %s', (given, expected) => {
    expect(cleanHostname(given)).toBe(expected);
  });
});

describe('kept addresses', () => {
  it('static leases by MAC, client id and host name', () => {
    const bench = new Bench({
      statics: [
        { ip: ip('192.168.127.10'), mac: MAC_A, hostname: 'told' },
        { ip: ip('192.168.127.11'), clientId: '00aa' },
        { ip: ip('192.168.127.2'), hostname: 'db' },
        { ip: GATEWAY, mac: MAC_B },
      ],
    });
    const ack = bench.send(MessageType.discover, { list: [12] })!;
    expect(Buffer.from(ack.message.options.get(12)!).toString()).toBe('told');
    expect(text(bench.obtain())).toBe('192.168.127.10');
    expect(text(bench.obtain({ mac: macOf(1), clientId: [0, 0xaa] }, 2))).toBe('192.168.127.11');
    expect(text(bench.obtain({ mac: MAC_B }, 3))).toBe('192.168.127.3');
    expect(text(bench.obtain({ mac: macOf(2), hostname: 'DB' }, 4))).toBe('192.168.127.2');
    expect(text(bench.obtain({ mac: macOf(3), hostname: 'db' }, 5))).toBe('192.168.127.4');
  });

  it('a reservation holds for a guest whatever ids its system uses', () => {
    const bench = new Bench();
    expect(bench.server.reserve('vm', ip('192.168.127.2'))).toBe('ok');
    expect(text(bench.obtain({ mac: MAC_B }, 'other'))).toBe('192.168.127.3');
    expect(text(bench.obtain({}, 'vm'))).toBe('192.168.127.2');
    expect(text(bench.obtain({ clientId: [255, 9, 9] }, 'vm'))).toBe('192.168.127.2');
    expect(bench.server.leases()).toHaveLength(2);
    // Another interface of the same guest is another client.
    expect(text(bench.obtain({ mac: macOf(5) }, 'vm'))).toBe('192.168.127.4');
    expect(typeOf(bench.send(MessageType.request, { ciaddr: '192.168.127.2' }, 'other'))).toBe(
      MessageType.nak,
    );
  });

  it('a reservation made later moves the guest by NAK', () => {
    const bench = new Bench();
    bench.obtain({}, 'vm');
    expect(bench.server.reserve('vm', ip('192.168.127.77'))).toBe('ok');
    expect(typeOf(bench.send(MessageType.request, { ciaddr: '192.168.127.2' }, 'vm'))).toBe(MessageType.nak);
    expect(text(bench.obtain({}, 'vm'))).toBe('192.168.127.77');
    expect(bench.server.leases()).toHaveLength(1);
  });

  it('says why it cannot reserve', () => {
    const bench = new Bench({ statics: [{ ip: ip('192.168.127.9'), mac: MAC_B }] });
    bench.obtain({}, 'one');
    expect(bench.server.reserve('two', ip('192.168.127.2'))).toBe('taken');
    expect(bench.server.reserve('one', ip('192.168.127.2'))).toBe('ok');
    expect(bench.server.reserve('two', ip('192.168.127.9'))).toBe('taken');
    expect(bench.server.reserve('two', GATEWAY)).toBe('outOfRange');
    expect(bench.server.reserve('two', ip('10.0.0.1'))).toBe('outOfRange');
    expect(bench.server.reserve('two', ip('192.168.127.3'))).toBe('ok');
    expect(bench.server.reserve('three', ip('192.168.127.3'))).toBe('taken');
    bench.server.unreserve('two');
    expect(bench.server.reserve('three', ip('192.168.127.3'))).toBe('ok');
  });

  it('a reservation survives detach and takes a restored lease over', () => {
    const bench = new Bench();
    bench.server.reserve('vm', ip('192.168.127.2'));
    bench.obtain({}, 'vm');
    bench.server.detach('vm', bench.now);
    expect(text(bench.obtain({ mac: MAC_B }, 'x'))).toBe('192.168.127.3');
    expect(text(bench.obtain({}, 'vm'))).toBe('192.168.127.2');
  });
});

describe('limits', () => {
  it('of one guest: at limit + 1 its own oldest free lease makes room, or nothing does', () => {
    const bench = new Bench({ maxPerGuest: 3 });
    for (const n of [1, 2, 3]) expect(bench.obtain({ mac: macOf(n) }, 'bad')).toBeDefined();
    expect(bench.obtain({ mac: macOf(4) }, 'bad')).toBeUndefined();
    expect(bench.server.counters.drops).toEqual({ guestLimit: 1 });
    expect(text(bench.obtain({ mac: macOf(9) }, 'good'))).toBe('192.168.127.5');
    bench.send(MessageType.release, { mac: macOf(2), ciaddr: '192.168.127.3' }, 'bad');
    expect(text(bench.obtain({ mac: macOf(4) }, 'bad'))).toBe('192.168.127.6');
    expect(text(bench.obtain({ mac: macOf(10) }, 'good'))).toBe('192.168.127.3');
  });

  it('of one guest: declined addresses count', () => {
    const bench = new Bench({ maxPerGuest: 3 });
    for (let n = 2; n <= 4; n++) {
      bench.obtain({}, 'bad');
      bench.send(MessageType.decline, { requested: `192.168.127.${n}` }, 'bad');
    }
    expect(bench.obtain({}, 'bad')).toBeUndefined();
    expect(bench.server.counters.drops).toEqual({ guestLimit: 1 });
    bench.pass(600);
    expect(text(bench.obtain({}, 'bad'))).toBe('192.168.127.2');
  });

  it('of all: at limit + 1 the oldest free lease makes room, or nothing does', () => {
    const bench = new Bench({ maxLeases: 2 });
    bench.obtain({ mac: macOf(1) }, 1);
    bench.obtain({ mac: macOf(2) }, 2);
    expect(bench.obtain({ mac: macOf(3) }, 3)).toBeUndefined();
    expect(bench.server.counters.drops).toEqual({ tableFull: 1 });
    bench.send(MessageType.release, { mac: macOf(1), ciaddr: '192.168.127.2' }, 1);
    expect(text(bench.obtain({ mac: macOf(3) }, 3))).toBe('192.168.127.4');
  });
});

describe('whatever comes', () => {
  const step = fc.record({
    type: fc.constantFrom(1, 1, 1, 3, 3, 3, 4, 7, 8),
    client: fc.integer({ min: 1, max: 5 }),
    guest: fc.integer({ min: 1, max: 3 }),
    last: fc.integer({ min: 0, max: 9 }),
    shape: fc.integer({ min: 0, max: 3 }),
    pass: fc.constantFrom(0, 0, 1, 31, 700, DAY),
    detach: fc.boolean(),
  });

  it('no address is in two hands, none is forbidden, the table stays within its limits', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const bench = new Bench({
          ...SMALL,
          maxPerGuest: 3,
          statics: [{ ip: ip('10.0.0.3'), mac: macOf(3) }],
        });
        bench.server.reserve(2, ip('10.0.0.4'));
        for (const { type, client, guest, last, shape, pass, detach } of steps) {
          bench.pass(pass);
          if (detach && pass > 0) bench.server.detach(guest, bench.now);
          const address = `10.0.0.${last}`;
          const server = (shape & 1) === 0 ? {} : { server: '10.0.0.1' };
          const claim = (shape & 2) === 0 ? { requested: address } : { ciaddr: address };
          const ask = { mac: macOf(client), ...server, ...claim };
          const holder = bench.server.leaseAt(ip(address));
          const reply = bench.send(type, ask, guest);
          if (typeOf(reply) === MessageType.ack && type === 3) {
            const got = reply!.message.yiaddr;
            expect(['10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6']).toContain(dotted(got));
            if (dotted(got) === '10.0.0.3') expect(client).toBe(3);
            if (dotted(got) === '10.0.0.4') expect(guest).toBe(2);
            if (holder && got === holder.ip) expect(holder.mac).toBe(macOf(client));
          }
          const leases = bench.server.leases();
          expect(new Set(leases.map((lease) => lease.ip)).size).toBe(leases.length);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('30,000 mutated messages: no throw, and each answer can be read', () => {
    const server = new DhcpServer({ subnet: SUBNET, gateway: GATEWAY, excluded: [ALIAS] });
    let seed = 12345;
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return Math.floor((seed / 0x100000000) * n);
    };
    const seeds = [1, 3, 4, 7, 8].map((type) =>
      encodeDhcp(
        message(type as MessageType, {
          requested: '192.168.127.2',
          clientId: [1, 2, 3, 4],
          hostname: 'guest',
          list: [1, 3, 6, 15, 119, 121],
        }),
      ),
    );
    for (let round = 0; round < 30_000; round++) {
      const raw = seeds[random(seeds.length)]!.slice();
      for (let flips = random(6); flips > 0; flips--)
        raw[random(2) ? 240 + random(60) : random(300)] = random(256);
      const length = random(4) === 0 ? random(raw.length + 1) : raw.length;
      const reply = server.input(raw, 0, length, { guestId: random(3), now: round * 10, wall: 0 });
      if (reply) expect(typeof parseDhcp(encodeDhcp(reply.message))).toBe('object');
    }
    expect(server.leases().length).toBeLessThanOrEqual(3 * 64);
  });
});
