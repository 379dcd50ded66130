import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ipv4, type Mac } from '../core/index.js';
import { ip, message } from './dhcp.testutil.js';
import {
  MessageType,
  Option,
  emitDhcp,
  emittedDhcpLength,
  encodeDhcp,
  parseDhcp,
  readAddress,
  readSearchList,
  readText,
  readU16,
} from './index.js';
import { addresses, readAddresses, readRoutes, readU32, readU8, routes, text } from './options.js';
import { isSearchDomain, searchList } from './search.js';
import type { DhcpMessage } from './wire.js';

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replace(/\s/g, ''), 'hex'));

/** A message written by hand from RFC 2131 figure 1: the fixed part, then options as hexadecimal. */
function packet(fixed: Record<number, string>, options: string, length?: number): Uint8Array {
  const tail = bytes(`63825363 ${options}`);
  const whole = new Uint8Array(Math.max(length ?? 0, 236 + tail.length));
  whole.set(bytes('010106'));
  for (const [at, hex] of Object.entries(fixed)) whole.set(bytes(hex), Number(at));
  whole.set(tail, 236);
  return whole;
}

const MAC = '525400123456';

/** What real clients send, from their sources and documents. */
const vectors = {
  // busybox udhcpc: client id, size 576, list 1 3 6 12 15 28 42, vendor class.
  udhcpc: packet(
    { 4: '1a2b3c4d', 28: MAC },
    `350101 3d0701${MAC} 39020240 3707 01 03 06 0c 0f 1c 2a 3c0c 756468637020312e33362e31 ff`,
    300,
  ),
  // ISC dhclient 4.4: requested address, host name, long list, no client id.
  dhclient: packet(
    { 4: '9f8e7d6c', 8: '0003', 28: MAC },
    `350101 3204c0a87f05 0c06 64656269616e 370d 01 1c 02 03 0f 06 77 0c 2c 2f 1a 79 2a ff`,
    300,
  ),
  // systemd-networkd: DUID-based client id (RFC 4361), rapid commit asked, no padding behind End.
  networkd: packet(
    { 4: '00c0ffee', 8: '0001', 28: MAC },
    `350101 3d13 ff5d1c7b21 00020000ab11 9c7a3f0011223344 3709 01 03 0c 0f 06 21 79 2a 78 39020240 5000 0c05 6775657374 ff`,
  ),
  // Windows: broadcast flag off, client id, host name, vendor class "MSFT 5.0", request with FQDN (81).
  windows: packet(
    { 4: 'deadbeef', 28: MAC },
    `350103 3d0701${MAC} 3204c0a87f02 3604c0a87f01 0c0a 4445534b544f502d3031 510d 000000 4445534b544f502d3031
     3c08 4d53465420352e30 370e 01 03 06 0f 1f 21 2b 2c 2e 2f 77 79 f9 fc ff`,
  ),
};

describe('real clients', () => {
  it('reads udhcpc', () => {
    const got = parseDhcp(vectors.udhcpc) as DhcpMessage;
    expect(got).toMatchObject({ op: 1, xid: 0x1a2b3c4d, chaddr: '52:54:00:12:34:56', broadcast: false });
    expect(readU8(got.options.get(Option.messageType))).toBe(MessageType.discover);
    expect([...got.options.get(Option.parameterList)!]).toEqual([1, 3, 6, 12, 15, 28, 42]);
    expect(readU16(got.options.get(Option.maxMessageSize))).toBe(576);
    expect(readText(got.options.get(Option.vendorClass))).toBe('udhcp 1.36.1');
  });

  it('reads dhclient', () => {
    const got = parseDhcp(vectors.dhclient) as DhcpMessage;
    expect(got.secs).toBe(3);
    expect(readAddress(got.options.get(Option.requestedAddress))).toBe(ip('192.168.127.5'));
    expect(readText(got.options.get(Option.hostName))).toBe('debian');
    expect(got.options.has(Option.clientId)).toBe(false);
  });

  it('reads systemd-networkd', () => {
    const got = parseDhcp(vectors.networkd) as DhcpMessage;
    expect(got.options.get(Option.clientId)).toHaveLength(19);
    expect(got.options.get(80)).toHaveLength(0);
    expect(readText(got.options.get(Option.hostName))).toBe('guest');
  });

  it('reads Windows', () => {
    const got = parseDhcp(vectors.windows) as DhcpMessage;
    expect(readU8(got.options.get(Option.messageType))).toBe(MessageType.request);
    expect(readAddress(got.options.get(Option.serverId))).toBe(ip('192.168.127.1'));
    expect(readText(got.options.get(Option.vendorClass))).toBe('MSFT 5.0');
  });

  it.each(Object.entries(vectors))('writes %s back with the same meaning', (_name, raw) => {
    const got = parseDhcp(raw) as DhcpMessage;
    expect(parseDhcp(encodeDhcp(got))).toEqual(got);
  });

  it.each(Object.entries(vectors))('survives every truncation of %s', (_name, raw) => {
    for (let length = 0; length < raw.length; length++) {
      const got = parseDhcp(raw, 0, length);
      if (length < 240) expect(got).toBe('tooShort');
    }
  });
});

describe('parsing', () => {
  it('names what is wrong', () => {
    const good = packet({ 28: MAC }, '350101ff');
    const broken = (at: number, value: number): Uint8Array => {
      const copy = good.slice();
      copy[at] = value;
      return copy;
    };
    expect(parseDhcp(broken(0, 3))).toBe('badOp');
    expect(parseDhcp(broken(1, 6))).toBe('badHardware');
    expect(parseDhcp(broken(2, 16))).toBe('badHardware');
    expect(parseDhcp(broken(236, 0))).toBe('badCookie');
    expect(parseDhcp(packet({ 28: MAC }, '35ff01'))).toBe('truncatedOption');
    expect(parseDhcp(packet({ 28: MAC }, '35'))).toBe('truncatedOption');
    expect(parseDhcp(packet({ 28: MAC }, '340104ff'))).toBe('badOverload');
    expect(parseDhcp(packet({ 28: MAC }, '34020101ff'))).toBe('badOverload');
    expect(parseDhcp(good, 5)).toBe('tooShort');
    expect(parseDhcp(good, 0, good.length + 1)).toBe('tooShort');
    expect(parseDhcp(good, -1, 240)).toBe('tooShort');
  });

  it('forgives a missing End and skips padding', () => {
    const got = parseDhcp(packet({ 28: MAC }, '000035010100')) as DhcpMessage;
    expect([...got.options.keys()]).toEqual([53]);
  });

  it('reads overloaded options: options, then file, then sname (RFC 3396 section 5)', () => {
    const raw = packet({ 28: MAC, 44: '0f0163 ff', 108: '0f0162 0c0178 ff' }, '340103 350101 0f0161 ff');
    const got = parseDhcp(raw) as DhcpMessage;
    expect(readText(got.options.get(Option.domainName))).toBe('abc');
    expect(readText(got.options.get(Option.hostName))).toBe('x');
    expect(got.options.has(Option.overload)).toBe(false);
    expect(parseDhcp(packet({ 28: MAC, 108: `0cff61` }, '340101 350101 ff'))).toBe('truncatedOption');
    expect(parseDhcp(packet({ 28: MAC, 44: `0cff61` }, '340102 350101 ff'))).toBe('truncatedOption');
  });

  it('ignores sname and file without overload', () => {
    const got = parseDhcp(packet({ 28: MAC, 108: '0fff62' }, '350101ff')) as DhcpMessage;
    expect([...got.options.keys()]).toEqual([53]);
  });

  it('joins an option that comes in pieces, and writes a long one in pieces (RFC 3396)', () => {
    const long = Uint8Array.from({ length: 600 }, (_, i) => i & 255);
    const raw = encodeDhcp(message(MessageType.discover, { extra: [[Option.domainSearch, long]] }));
    expect(raw[240 + 3]).toBe(Option.domainSearch);
    expect(raw[240 + 4]).toBe(255);
    expect((parseDhcp(raw) as DhcpMessage).options.get(Option.domainSearch)).toEqual(long);
  });
});

describe('writing', () => {
  it('fills a dirty buffer and touches nothing beside', () => {
    const wanted = message(MessageType.request, { requested: '192.168.127.2', broadcast: true });
    const dirty = new Uint8Array(1000).fill(0xa5);
    const length = emitDhcp(wanted, dirty, 10);
    expect(length).toBe(300);
    expect(length).toBe(emittedDhcpLength(wanted));
    expect(dirty.subarray(0, 10).every((byte) => byte === 0xa5)).toBe(true);
    expect(dirty.subarray(10 + length).every((byte) => byte === 0xa5)).toBe(true);
    expect(parseDhcp(dirty, 10, length)).toEqual(wanted);
    expect(dirty.subarray(10, 10 + length)).toEqual(encodeDhcp(wanted));
  });

  it('comes back as it went, whatever it is', () => {
    const u32 = fc.integer({ min: 0, max: 0xffffffff }).map(ipv4);
    const code = fc.integer({ min: 1, max: 254 }).filter((c) => c !== 52);
    const arbitrary = fc.record({
      op: fc.constantFrom(1 as const, 2 as const),
      hops: fc.integer({ min: 0, max: 255 }),
      xid: u32,
      secs: fc.integer({ min: 0, max: 65535 }),
      broadcast: fc.boolean(),
      ciaddr: u32,
      yiaddr: u32,
      siaddr: u32,
      giaddr: u32,
      chaddr: fc.constantFrom('02:00:00:00:00:01' as Mac, 'ff:fe:fd:fc:fb:fa' as Mac),
      options: fc
        .array(fc.tuple(code, fc.uint8Array({ maxLength: 700 })), { maxLength: 5 })
        .map((list) => new Map(list)),
    });
    fc.assert(
      fc.property(arbitrary, (m) => {
        expect(parseDhcp(encodeDhcp(m))).toEqual(m);
      }),
      { numRuns: 200 },
    );
  });

  it('never throws on garbage', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (tail) => {
        const raw = new Uint8Array(240 + tail.length);
        raw.set(packet({ 28: MAC }, ''));
        raw.set(tail, 240);
        parseDhcp(raw);
        parseDhcp(tail);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('values', () => {
  it('reads only what has the right shape', () => {
    expect(readU8(bytes('0102'))).toBeUndefined();
    expect(readU16(bytes('01'))).toBeUndefined();
    expect(readU32(bytes('ffffffff'))).toBe(0xffffffff);
    expect(readAddress(undefined)).toBeUndefined();
    expect(readAddresses(bytes('0102030405'))).toBeUndefined();
    expect(readAddresses(new Uint8Array())).toBeUndefined();
    expect(readAddresses(addresses([ip('1.2.3.4'), ip('255.0.0.1')]))).toEqual([
      ip('1.2.3.4'),
      ip('255.0.0.1'),
    ]);
    expect(readText(bytes('61620000'))).toBe('ab');
    expect(text('a€')).toEqual(bytes('613f'));
  });

  it('writes classless routes as in the examples of RFC 3442', () => {
    const router = ip('10.0.0.1');
    const route = (base: string, prefix: number) => ({ destination: { base: ip(base), prefix }, router });
    const list = [
      route('0.0.0.0', 0),
      route('10.0.0.0', 8),
      route('10.17.0.0', 16),
      route('10.229.0.128', 25),
    ];
    expect(routes(list)).toEqual(bytes('00 0a000001 080a 0a000001 100a11 0a000001 190ae50080 0a000001'));
    expect(readRoutes(routes(list))).toEqual(list);
    expect(readRoutes(bytes('21'))).toBeUndefined();
    expect(readRoutes(bytes('180a'))).toBeUndefined();
    expect(readRoutes(bytes('090aff0a000001'))).toEqual([route('10.128.0.0', 9)]);
  });

  it('writes the search list of RFC 3397 section 4', () => {
    const list = searchList(['eng.apple.com.', 'marketing.apple.com.']);
    expect(list).toEqual(bytes('03656e67 056170706c65 03636f6d 00 096d61726b6574696e67 c004'));
    expect(readSearchList(list)).toEqual(['eng.apple.com', 'marketing.apple.com']);
  });

  it('reads search lists without following loops', () => {
    expect(readSearchList(bytes('c000'))).toBeUndefined();
    expect(readSearchList(bytes('0161c000'))).toBeUndefined();
    expect(readSearchList(bytes('0161c005'))).toBeUndefined();
    expect(readSearchList(bytes('016100c0'))).toBeUndefined();
    expect(readSearchList(bytes('00'))).toBeUndefined();
    expect(readSearchList(bytes('0161'))).toBeUndefined();
    expect(readSearchList(bytes('012e00'))).toBeUndefined();
    expect(readSearchList(bytes('016100 0162c000 0163c003'))).toEqual(['a', 'b.a', 'c.b.a']);
  });

  it('leaves out names that are none', () => {
    expect(isSearchDomain('')).toBe(false);
    expect(isSearchDomain('.')).toBe(false);
    expect(isSearchDomain('a..b')).toBe(false);
    expect(isSearchDomain(`${'a'.repeat(64)}.b`)).toBe(false);
    expect(isSearchDomain(Array<string>(128).fill('ab').join('.'))).toBe(false);
    expect(readSearchList(searchList(['a..b', 'c.d']))).toEqual(['c.d']);
  });

  it('search lists come back, also long ones beyond a pointer’s reach', () => {
    const label = fc.stringMatching(/^[a-z0-9-]{1,20}$/);
    const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'));
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 30 }), (names) => {
        expect(readSearchList(searchList(names))).toEqual(names);
      }),
      { numRuns: 200 },
    );
    const many = Array.from({ length: 2500 }, (_, i) => `host-${i}.zone-${i % 50}.example`);
    expect(readSearchList(searchList(many))).toEqual(many);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (raw) => void readSearchList(raw)));
  });
});
