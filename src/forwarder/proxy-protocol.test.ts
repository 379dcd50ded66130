import { describe, expect, it } from 'vitest';
import { proxyHeader } from './proxy-protocol.js';

const v4 = [
  { host: '192.0.2.7', port: 40_000 },
  { host: '198.51.100.1', port: 443 },
] as const;
const v6 = [
  { host: 'fe80::7%eth0', port: 1 },
  { host: '2001:db8::1', port: 65_535 },
] as const;
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const SIGNATURE = '0d0a0d0a000d0a515549540a';

describe('the header of the PROXY protocol', () => {
  it('is a line in version 1', () => {
    expect(text(proxyHeader('v1', ...v4))).toBe('PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n');
    expect(text(proxyHeader('v1', ...v6))).toBe('PROXY TCP6 fe80::7 2001:db8::1 1 65535\r\n');
  });

  it('is binary in version 2', () => {
    expect(hex(proxyHeader('v2', ...v4))).toBe(`${SIGNATURE}2111000cc0000207c63364019c4001bb`);
    expect(hex(proxyHeader('v2', ...v6))).toBe(
      `${SIGNATURE}21210024fe80000000000000000000000000000720010db80000000000000000000000010001ffff`,
    );
  });

  it.each([
    ['a unix socket', undefined, undefined],
    ['two families', v4[0], v6[1]],
    ['no address', { host: 'somebody', port: 1 }, v4[1]],
  ])('says that the client is not known: %s', (_what, client, server) => {
    expect(text(proxyHeader('v1', client, server))).toBe('PROXY UNKNOWN\r\n');
    expect(hex(proxyHeader('v2', client, server))).toBe(`${SIGNATURE}20000000`);
  });
});
