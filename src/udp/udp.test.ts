import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ipv4 } from '../core/index.js';
import { emitUdp, parseUdp } from './index.js';

const from = ipv4(0xc0a87f02);
const to = ipv4(0x08080808);

describe('UDP', () => {
  it('survives a round trip', () => {
    fc.assert(
      fc.property(
        fc.nat(65535),
        fc.nat(65535),
        fc.uint8Array({ maxLength: 200 }),
        (sourcePort, destinationPort, payload) => {
          const datagram = { sourcePort, destinationPort, payload };
          expect(parseUdp(emitUdp(datagram, from, to), from, to)).toEqual(datagram);
        },
      ),
    );
  });

  it('rejects every truncation, other addresses and damage; takes a checksum of 0 as none', () => {
    const bytes = emitUdp(
      { sourcePort: 1, destinationPort: 2, payload: new Uint8Array([1, 2, 3]) },
      from,
      to,
    );
    for (let n = 0; n < bytes.length; n++) expect(parseUdp(bytes.slice(0, n), from, to)).toBeUndefined();
    expect(parseUdp(bytes, to, to)).toBeUndefined();
    bytes[9] = 77;
    expect(parseUdp(bytes, from, to)).toBeUndefined();
    bytes.fill(0, 6, 8);
    expect(parseUdp(bytes, from, to)?.payload[1]).toBe(77);
  });
});
