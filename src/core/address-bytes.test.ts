import fc from 'fast-check';
import { isIPv6 } from 'node:net';
import { describe, expect, it } from 'vitest';
import { addressBytes, canonicalAddress } from './address-bytes.js';

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');

describe('addresses', () => {
  it('reads both families', () => {
    expect(text(addressBytes('10.0.0.1'))).toBe('0a000001');
    expect(text(addressBytes('::'))).toBe('0'.repeat(32));
    expect(text(addressBytes('::1'))).toBe(`${'0'.repeat(31)}1`);
    expect(text(addressBytes('fd00::'))).toBe(`fd${'0'.repeat(30)}`);
    expect(text(addressBytes('1:2:3:4:5:6:7:8'))).toBe('00010002000300040005000600070008');
    expect(text(addressBytes('::ffff:10.0.0.1'))).toBe('00000000000000000000ffff0a000001');
    expect(text(addressBytes('1::3:4:5:6:7:8'))).toBe('00010000000300040005000600070008');
  });

  it.each([
    '',
    'x',
    '1.2.3',
    '01.2.3.4',
    ':',
    ':::',
    '1:2',
    '1::2::3',
    '12345::',
    '1:2:3:4:5:6:7:8:9',
    'fe80::1%eth0',
  ])('%s is none', (none) => {
    expect(addressBytes(none)).toBeUndefined();
    expect(canonicalAddress(none)).toBeUndefined();
  });

  it('has one text for each', () => {
    expect(canonicalAddress('10.0.0.1')).toBe('10.0.0.1');
    expect(canonicalAddress('FD00::5')).toBe('fd00:0000:0000:0000:0000:0000:0000:0005');
  });

  it('agrees with Node', () => {
    const part = fc.constantFrom('', '0', '1', 'ffff', '10000', 'g', '1.2.3.4', '1.2.3', 'Ab');
    fc.assert(
      fc.property(fc.array(part, { maxLength: 10 }), (parts) => {
        const address = parts.join(':');
        if (address.includes(':')) expect(addressBytes(address) !== undefined).toBe(isIPv6(address));
      }),
      { numRuns: 5000 },
    );
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        expect(addressBytes(address)).toHaveLength(16);
      }),
    );
  });
});
