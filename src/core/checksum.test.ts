import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checksum, finish, fold, pseudoSum, sumBytes } from './checksum.js';

/** RFC 1071 section 4.1, word by word. */
function reference(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum = (sum & 0xffff) + 1;
  }
  return ~sum & 0xffff;
}

describe('the Internet checksum (RFC 1071)', () => {
  it('section 3, the numerical example', () => {
    const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
    expect(fold(sumBytes(bytes, 0, 8, 0))).toBe(0xddf2);
    expect(checksum(bytes, 0, 8)).toBe(0x220d);
  });

  it('an IPv4 header of a capture', () => {
    const header = Buffer.from('450000730000400040110000c0a80001c0a800c7', 'hex');
    expect(checksum(header, 0, 20)).toBe(0xb861);
    header.writeUInt16BE(0xb861, 10);
    expect(checksum(header, 0, 20)).toBe(0);
  });

  it('agrees with the reference, at any offset and split', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(8), fc.nat(200), (bytes, offset, where) => {
        const shifted = new Uint8Array(offset + bytes.length + 3).fill(0xa5);
        shifted.set(bytes, offset);
        expect(checksum(shifted, offset, bytes.length)).toBe(reference(bytes));
        // Every piece but the last has even length.
        const split = Math.min(where, bytes.length) & ~1;
        const head = sumBytes(shifted, offset, split, 0);
        const tail = bytes.length - split;
        expect(finish(sumBytes(shifted, offset + split, tail, head))).toBe(reference(bytes));
      }),
    );
  });

  it('64 KiB of ones do not overflow', () => {
    const bytes = new Uint8Array(65_536).fill(0xff);
    expect(checksum(bytes, 0, bytes.length)).toBe(0);
  });

  it('the pseudo header', () => {
    const sum = pseudoSum(0xc0a80001, 0xc0a800c7, 17, 20);
    const bytes = Buffer.from('c0a80001c0a800c700110014', 'hex');
    expect(finish(sum)).toBe(checksum(bytes, 0, 12));
  });
});
