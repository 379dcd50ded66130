import { describe, expect, it } from 'vitest';
import { emitIcmp, isIcmpError, parseIcmp } from './index.js';

describe('ICMP', () => {
  it('survives a round trip; truncation and damage are none', () => {
    const message = { type: 8, code: 0, rest: 0x12345678, body: new Uint8Array([1, 2, 3]) };
    const bytes = emitIcmp(message);
    expect(parseIcmp(bytes)).toEqual(message);
    for (let n = 0; n < bytes.length; n++) expect(parseIcmp(bytes.slice(0, n))).toBeUndefined();
    bytes[8] = 9;
    expect(parseIcmp(bytes)).toBeUndefined();
  });

  it('knows its errors', () => {
    expect([0, 3, 4, 5, 8, 11, 12, 13].filter(isIcmpError)).toEqual([3, 4, 5, 11, 12]);
  });
});
