import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cidrContains,
  cidrLast,
  formatCidr,
  formatIpv4,
  ipv4,
  isGroupMac,
  isMulticastIpv4,
  macFrom,
  macHigh,
  macLow,
  parseCidr,
  parseIpv4,
  parseMac,
  prefixMask,
  readMac,
  writeMac,
  type Mac,
} from './address.js';

const address = fc.integer({ min: 0, max: 0xffffffff }).map((n) => ipv4(n));

describe('IPv4 addresses', () => {
  it('text and number', () => {
    expect(parseIpv4('192.168.127.1')).toBe(0xc0a87f01);
    expect(parseIpv4('255.255.255.255')).toBe(0xffffffff);
    expect(formatIpv4(ipv4(-1))).toBe('255.255.255.255');
    fc.assert(
      fc.property(address, (ip) => {
        expect(parseIpv4(formatIpv4(ip))).toBe(ip);
      }),
    );
  });

  it('nothing but four decimal parts (RFC 6943 section 3.1.1)', () => {
    for (const text of [
      '',
      '1',
      '1.2.3',
      '1.2.3.4.5',
      '01.2.3.4',
      '1.2.3.256',
      '1.2.3.-4',
      '0x1.2.3.4',
      '1.2.3.4 ',
      '1..3.4',
      'a.b.c.d',
      '1.2.3.4e0',
      '::1',
    ])
      expect(parseIpv4(text), text).toBeUndefined();
  });

  it('networks', () => {
    const net = parseCidr('192.168.127.77/24')!;
    expect(formatCidr(net)).toBe('192.168.127.0/24');
    expect(formatIpv4(cidrLast(net))).toBe('192.168.127.255');
    expect(cidrContains(net, parseIpv4('192.168.127.254')!)).toBe(true);
    expect(cidrContains(net, parseIpv4('192.168.128.0')!)).toBe(false);
    expect(formatCidr(parseCidr('10.1.2.3')!)).toBe('10.1.2.3/32');
    const all = parseCidr('0.0.0.0/0')!;
    expect([prefixMask(0), cidrLast(all), cidrContains(all, ipv4(77))]).toEqual([0, 0xffffffff, true]);
    expect(prefixMask(32)).toBe(0xffffffff);
    for (const text of ['1.2.3.4/33', '1.2.3.4/', '1.2.3.4/a', '1.2.3.4/-1', '1.2.3/8', '/8', '1.2.3.4/8/8'])
      expect(parseCidr(text), text).toBeUndefined();
  });

  it('a network holds its own addresses and no others', () => {
    fc.assert(
      fc.property(address, fc.integer({ min: 0, max: 32 }), address, (base, prefix, ip) => {
        const net = parseCidr(`${formatIpv4(base)}/${prefix}`)!;
        expect(cidrContains(net, base)).toBe(true);
        expect(cidrContains(net, ip)).toBe(ip >= net.base && ip <= cidrLast(net));
      }),
    );
  });

  it('multicast is 224.0.0.0/4', () => {
    for (const [text, is] of [
      ['223.255.255.255', false],
      ['224.0.0.1', true],
      ['239.255.255.255', true],
      ['240.0.0.0', false],
    ] as const)
      expect(isMulticastIpv4(parseIpv4(text)!)).toBe(is);
  });
});

describe('MAC addresses', () => {
  it('text in both fashions, bytes and numbers', () => {
    const mac = parseMac('5A-94-EF-e4-0c-DD')!;
    expect(mac).toBe('5a:94:ef:e4:0c:dd');
    const bytes = new Uint8Array(10).fill(0xa5);
    writeMac(bytes, 2, mac);
    expect(Buffer.from(bytes).toString('hex')).toBe('a5a5' + '5a94efe40cdd' + 'a5a5');
    expect(readMac(bytes, 2)).toBe(mac);
    expect(macFrom(macHigh(mac), macLow(mac))).toBe(mac);
    const view = new DataView(bytes.buffer);
    expect([view.getUint16(2), view.getUint32(4)]).toEqual([macHigh(mac), macLow(mac)]);
    for (const text of ['', '5a:94:ef:e4:0c', '5a:94:ef:e4:0c:dd:00', '5a94efe40cdd', '5g:94:ef:e4:0c:dd'])
      expect(parseMac(text), text).toBeUndefined();
  });

  it('round trips', () => {
    const pair = fc.tuple(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0, max: 0xffffffff }));
    fc.assert(
      fc.property(pair, ([high, low]) => {
        const mac = macFrom(high, low);
        expect([macHigh(mac), macLow(mac)]).toEqual([high, low]);
        expect(parseMac(mac)).toBe(mac);
      }),
    );
  });

  it('the group bit', () => {
    expect(isGroupMac('01:00:5e:00:00:01' as Mac)).toBe(true);
    expect(isGroupMac('ff:ff:ff:ff:ff:ff' as Mac)).toBe(true);
    expect(isGroupMac('5a:94:ef:e4:0c:dd' as Mac)).toBe(false);
  });
});
