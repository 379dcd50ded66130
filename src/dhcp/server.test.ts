import { describe, expect, it } from 'vitest';
import { MAC_BROADCAST, formatIpv4, type Mac } from '../core/index.js';
import {
  ALIAS,
  Bench,
  GATEWAY,
  MAC_A,
  MAC_B,
  dotted,
  ip,
  message,
  typeOf,
  type Ask,
} from './dhcp.testutil.js';
import { MessageType, Option, encodeDhcp, readAddress, readRoutes, readText } from './index.js';
import { readU32 } from './options.js';
import { readSearchList } from './search.js';

const SERVER = '192.168.127.1';

describe('RFC 2131 table 3 and section 4.1', () => {
  it('offers with what the client asked for, in its order', () => {
    const bench = new Bench({
      settings: { mtu: 1500, domain: 'example.test', search: ['a.test', 'b.test'], ntp: [GATEWAY] },
    });
    const reply = bench.send(MessageType.discover, { list: [119, 6, 3, 1, 26, 15, 42, 28, 99, 51] })!;
    expect(reply.message).toMatchObject({
      op: 2,
      xid: 0x12345678,
      yiaddr: ip('192.168.127.2'),
      chaddr: MAC_A,
    });
    expect([...reply.message.options.keys()]).toEqual([53, 54, 51, 119, 6, 1, 3, 26, 15, 42, 28]);
    expect(readAddress(reply.message.options.get(1))).toBe(ip('255.255.255.0'));
    expect(readU32(reply.message.options.get(51))).toBe(86_400);
    expect(readSearchList(reply.message.options.get(119))).toEqual(['a.test', 'b.test']);
    expect(readAddress(reply.message.options.get(28))).toBe(ip('192.168.127.255'));
    expect(reply.to).toEqual({ kind: 'unicast', ip: ip('192.168.127.2'), mac: MAC_A });
  });

  it('broadcasts when the flag asks for it', () => {
    const reply = new Bench().send(MessageType.discover, { broadcast: true })!;
    expect(reply.to).toEqual({ kind: 'broadcast', ip: ip('255.255.255.255'), mac: MAC_BROADCAST });
    expect(reply.message.broadcast).toBe(true);
  });

  it('tells everything to a client without a parameter list, and echoes its id (RFC 6842)', () => {
    const reply = new Bench({ settings: { mtu: 1400 } }).send(MessageType.discover, { clientId: [1, 2, 3] })!;
    expect([...reply.message.options.keys()]).toEqual([53, 54, 51, 61, 1, 3, 6, 26, 28, 58, 59]);
    expect(readU32(reply.message.options.get(58))).toBe(43_200);
    expect(readU32(reply.message.options.get(59))).toBe(75_600);
  });

  it('adds the default route to classless routes, because the router option is then ignored (RFC 3442)', () => {
    const route = { destination: { base: ip('10.0.0.0'), prefix: 8 }, router: ip('192.168.127.9') };
    const reply = new Bench({ settings: { routes: [route] } }).send(MessageType.discover, {
      list: [121, 3],
    })!;
    const all = { destination: { base: ip('0.0.0.0'), prefix: 0 }, router: GATEWAY };
    expect(readRoutes(reply.message.options.get(121))).toEqual([route, all]);
  });

  it('keeps within the client’s longest message', () => {
    const search = Array.from({ length: 40 }, (_, i) => `domain-number-${i}.example${i}.test`);
    const settings = { search, domain: 'short.test' };
    const list = [1, 119, 15];
    const small = new Bench({ settings }).send(MessageType.discover, { list })!;
    expect([...small.message.options.keys()]).toEqual([53, 54, 51, 1, 15]);
    expect(encodeDhcp(small.message).length).toBeLessThanOrEqual(548);
    const large = new Bench({ settings }).send(MessageType.discover, { list, maxSize: 1500 })!;
    expect([...large.message.options.keys()]).toEqual([53, 54, 51, 1, 119, 15]);
    expect(encodeDhcp(large.message).length).toBeLessThanOrEqual(1472);
  });

  it('honours settings of one guest, T1 and T2, and a lease without end', () => {
    const bench = new Bench({
      settings: { leaseSeconds: 0xffffffff, renewalSeconds: 600, domain: 'a.test' },
      settingsFor: (guest) => (guest === 2 ? { domain: 'b.test', routers: [] } : undefined),
    });
    const one = bench.send(MessageType.discover, { list: [3, 15] })!.message.options;
    const two = bench.send(MessageType.discover, { list: [3, 15], mac: MAC_B }, 2)!.message.options;
    expect([...one.keys()]).toEqual([53, 54, 51, 3, 15, 58]);
    expect(readText(two.get(15))).toBe('b.test');
    expect(two.has(3)).toBe(false);
    expect(bench.obtain()).toBe(ip('192.168.127.2'));
    expect(bench.server.leases()[0]!.expires).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('REQUEST (RFC 2131 section 4.3.2)', () => {
  type Row = [what: string, prepare: string, ask: Ask, type: number | undefined, drop?: string];
  const { ack, nak } = MessageType;
  const rows: Row[] = [
    ['SELECTING, the offered address', 'offered', { server: SERVER, requested: '192.168.127.2' }, ack],
    ['SELECTING, another address', 'offered', { server: SERVER, requested: '192.168.127.9' }, nak],
    ['SELECTING, somebody else’s address', 'offered', { server: SERVER, requested: '192.168.127.3' }, nak],
    ['SELECTING, the gateway', 'offered', { server: SERVER, requested: SERVER }, nak],
    [
      'SELECTING, forgotten offer, free address',
      'nothing',
      { server: SERVER, requested: '192.168.127.7' },
      ack,
    ],
    [
      'SELECTING, another server',
      'offered',
      { server: '9.9.9.9', requested: '192.168.127.2' },
      undefined,
      'otherServer',
    ],
    ['SELECTING, without an address', 'offered', { server: SERVER }, undefined, 'malformed'],
    ['INIT-REBOOT, its own address', 'bound', { requested: '192.168.127.2' }, ack],
    ['INIT-REBOOT, its own expired address', 'expired', { requested: '192.168.127.2' }, ack],
    ['INIT-REBOOT, its own released address', 'released', { requested: '192.168.127.2' }, ack],
    ['INIT-REBOOT, not its address', 'bound', { requested: '192.168.127.9' }, nak],
    ['INIT-REBOOT, somebody else’s address', 'bound', { requested: '192.168.127.3' }, nak],
    ['INIT-REBOOT, wrong network', 'nothing', { requested: '10.0.0.5' }, nak],
    ['INIT-REBOOT, no record: silence', 'nothing', { requested: '192.168.127.7' }, undefined, 'unknownLease'],
    ['RENEWING, its own address', 'bound', { ciaddr: '192.168.127.2' }, ack],
    ['RENEWING, expired', 'expired', { ciaddr: '192.168.127.2' }, ack],
    ['RENEWING, not its address', 'bound', { ciaddr: '192.168.127.9' }, nak],
    ['RENEWING, somebody else’s address', 'nothing', { ciaddr: '192.168.127.3' }, nak],
    ['RENEWING, no record, free address', 'nothing', { ciaddr: '192.168.127.7' }, ack],
    ['RENEWING, the gateway', 'nothing', { ciaddr: SERVER }, nak],
    ['RENEWING, the host alias', 'nothing', { ciaddr: '192.168.127.254' }, nak],
    ['RENEWING, wrong network', 'bound', { ciaddr: '10.0.0.5' }, nak],
    ['RENEWING that names the server', 'bound', { ciaddr: '192.168.127.2', server: SERVER }, ack],
    ['nothing in it', 'bound', {}, undefined, 'malformed'],
  ];

  function prepared(how: string): Bench {
    const bench = new Bench();
    if (how === 'offered') bench.send(MessageType.discover);
    else if (how !== 'nothing') expect(bench.obtain()).toBe(ip('192.168.127.2'));
    // Somebody else has .3 in every case.
    bench.send(MessageType.discover, { mac: MAC_B, requested: '192.168.127.3' }, 2);
    bench.send(MessageType.request, { mac: MAC_B, requested: '192.168.127.3', server: SERVER }, 2);
    if (how === 'released') bench.send(MessageType.release, { ciaddr: '192.168.127.2' });
    if (how === 'expired') {
      bench.pass(86_399);
      bench.send(MessageType.request, { mac: MAC_B, ciaddr: '192.168.127.3' }, 2);
      bench.pass(2);
    }
    return bench;
  }

  it.each(rows)('%s (%s)', (_what, how, ask, type, drop) => {
    const bench = prepared(how);
    const reply = bench.send(MessageType.request, ask);
    expect(typeOf(reply)).toBe(type);
    if (drop !== undefined) expect(bench.server.counters.drops).toEqual({ [drop]: 1 });
    if (type === ack) {
      expect(dotted(reply!.message.yiaddr)).toBe(ask.ciaddr ?? ask.requested);
      expect(dotted(reply!.message.ciaddr)).toBe(ask.ciaddr ?? '0.0.0.0');
      expect(reply!.to).toMatchObject({ kind: 'unicast', ip: reply!.message.yiaddr, mac: MAC_A });
      expect(bench.server.leaseAt(reply!.message.yiaddr)?.mac).toBe(MAC_A);
    }
    if (type === nak) {
      expect(reply!.to).toMatchObject({ kind: 'broadcast', ip: ip('255.255.255.255') });
      expect(reply!.message).toMatchObject({ yiaddr: 0, ciaddr: 0 });
      expect([...reply!.message.options.keys()]).toEqual([53, 54, 56]);
    }
  });

  it('when authoritative, answers INIT-REBOOT of clients it does not know', () => {
    const bench = new Bench({ authoritative: true });
    bench.obtain({ mac: MAC_B }, 2);
    expect(typeOf(bench.send(MessageType.request, { requested: '192.168.127.2' }))).toBe(nak);
    expect(typeOf(bench.send(MessageType.request, { requested: '192.168.127.7' }))).toBe(ack);
  });

  it('a NAK echoes the client id', () => {
    const reply = new Bench().send(MessageType.request, { requested: '10.0.0.1', clientId: [1, 2, 3] })!;
    expect(reply.message.options.get(Option.clientId)).toEqual(Uint8Array.of(1, 2, 3));
  });

  it('another server’s REQUEST lets the offered address go', () => {
    const bench = new Bench({
      subnet: { base: ip('10.0.0.0'), prefix: 30 },
      gateway: ip('10.0.0.1'),
      excluded: [],
    });
    bench.send(MessageType.discover);
    expect(bench.send(MessageType.discover, { mac: MAC_B }, 2)).toBeUndefined();
    bench.send(MessageType.request, { server: '9.9.9.9', requested: '10.0.0.2' });
    expect(bench.send(MessageType.discover, { mac: MAC_B }, 2)!.message.yiaddr).toBe(ip('10.0.0.2'));
  });
});

describe('the other messages', () => {
  it('DECLINE sets the address aside for a while', () => {
    const bench = new Bench();
    expect(bench.obtain()).toBe(ip('192.168.127.2'));
    expect(bench.send(MessageType.decline, { requested: '192.168.127.2', server: SERVER })).toBeUndefined();
    expect(bench.server.leases()).toEqual([]);
    expect(bench.obtain()).toBe(ip('192.168.127.3'));
    expect(
      bench.send(MessageType.discover, { mac: MAC_B, requested: '192.168.127.2' }, 2)!.message.yiaddr,
    ).toBe(ip('192.168.127.4'));
    bench.pass(601);
    expect(bench.obtain({ mac: '02:00:00:00:00:09' as Mac }, 3)).toBe(ip('192.168.127.2'));
    expect(bench.events.map((event) => event.kind)).toEqual(['bound', 'declined', 'bound', 'bound']);
  });

  it('DECLINE of a client that names the address where others say which they have', () => {
    const bench = new Bench();
    bench.obtain();
    bench.send(MessageType.decline, { ciaddr: '192.168.127.2', server: SERVER });
    expect(bench.events.map((event) => event.kind)).toEqual(['bound', 'declined']);
  });

  it('DECLINE and RELEASE of what is not the client’s change nothing', () => {
    const bench = new Bench();
    bench.obtain();
    bench.send(MessageType.decline, { mac: MAC_B, requested: '192.168.127.2' }, 2);
    bench.send(MessageType.release, { mac: MAC_B, ciaddr: '192.168.127.2' }, 2);
    bench.send(MessageType.release, { ciaddr: '192.168.127.2' }, 2);
    bench.send(MessageType.release, { ciaddr: '192.168.127.2', server: '9.9.9.9' });
    bench.send(MessageType.release);
    expect(bench.server.leases()).toHaveLength(1);
    expect(bench.server.counters.drops).toEqual({ unknownLease: 3, otherServer: 1, malformed: 1 });
  });

  it('RELEASE frees; the same client gets the same address again', () => {
    const bench = new Bench();
    bench.obtain();
    bench.obtain({ mac: MAC_B }, 2);
    bench.send(MessageType.release, { ciaddr: '192.168.127.2', server: SERVER });
    expect(bench.server.leases().map((lease) => lease.mac)).toEqual([MAC_B]);
    expect(bench.obtain({ mac: '02:00:00:00:00:09' as Mac }, 3)).toBe(ip('192.168.127.4'));
    expect(bench.obtain()).toBe(ip('192.168.127.2'));
  });

  it('INFORM gets options without a lease, at its own address', () => {
    const bench = new Bench({ settings: { domain: 'x.test', renewalSeconds: 5 } });
    const reply = bench.send(MessageType.inform, { ciaddr: '192.168.127.77', list: [15, 51, 58, 1] })!;
    expect(typeOf(reply)).toBe(MessageType.ack);
    expect([...reply.message.options.keys()]).toEqual([53, 54, 15, 1]);
    expect(reply.message).toMatchObject({ yiaddr: 0, ciaddr: ip('192.168.127.77') });
    expect(reply.to).toEqual({ kind: 'unicast', ip: ip('192.168.127.77'), mac: MAC_A });
    expect(bench.server.leases()).toEqual([]);
    expect(bench.send(MessageType.inform)).toBeUndefined();
    expect(bench.send(MessageType.inform, { ciaddr: '10.0.0.1' })).toBeUndefined();
    expect(bench.server.counters.drops).toEqual({ malformed: 1, wrongNetwork: 1 });
  });

  it('drops and counts what is no request', () => {
    const bench = new Bench();
    const context = { guestId: 1, now: 0, wall: 0 };
    expect(bench.server.handle({ ...message(MessageType.discover), op: 2 }, context)).toBeUndefined();
    bench.send(undefined);
    bench.send(MessageType.offer);
    bench.send(MessageType.discover, { giaddr: '192.168.127.3' });
    bench.send(MessageType.discover, { mac: MAC_BROADCAST });
    bench.send(MessageType.discover, { mac: '00:00:00:00:00:00' as Mac });
    expect(bench.server.input(new Uint8Array(10), 0, 10, context)).toBeUndefined();
    expect(bench.server.counters.drops).toEqual({ notARequest: 3, relayed: 1, badHardware: 2, tooShort: 1 });
  });

  it('counts what it received and sent', () => {
    const bench = new Bench();
    bench.obtain();
    bench.send(MessageType.request, { requested: '10.0.0.1' });
    bench.send(MessageType.release, { ciaddr: '192.168.127.2' });
    bench.send(MessageType.decline);
    bench.send(MessageType.inform, { ciaddr: '192.168.127.5' });
    expect(bench.server.counters).toEqual({
      received: { discover: 1, request: 2, decline: 1, release: 1, inform: 1 },
      sent: { offer: 1, ack: 2, nak: 1 },
      drops: { malformed: 1 },
      addresses: { reused: 0, conflicts: 0, vacated: 0 },
    });
  });

  it('input reads bytes at an offset of a frame', () => {
    const raw = encodeDhcp(message(MessageType.discover));
    const frame = new Uint8Array(42 + raw.length).fill(0xa5);
    frame.set(raw, 42);
    const reply = new Bench().server.input(frame, 42, raw.length, { guestId: 1, now: 0, wall: 0 });
    expect(formatIpv4(reply!.message.yiaddr)).toBe('192.168.127.2');
  });

  it('never hands out gateway, alias, network or broadcast, even when asked', () => {
    const bench = new Bench({
      subnet: { base: ip('10.0.0.0'), prefix: 28 },
      gateway: GATEWAY,
      excluded: [ALIAS],
    });
    for (const asked of ['10.0.0.0', '10.0.0.15', '11.0.0.1', '255.255.255.255']) {
      const offer = bench.send(MessageType.discover, { requested: asked });
      expect(formatIpv4(offer!.message.yiaddr)).toBe('10.0.0.1');
    }
  });
});
