import { encode } from 'dns-packet';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatIpv4 } from '../core/index.js';
import { eachAddress } from './index.js';

function told(bytes: Uint8Array): string[] {
  const found: string[] = [];
  eachAddress(bytes, (ip, ttl) => found.push(`${formatIpv4(ip)} ${ttl}`));
  return found;
}

const ANSWER = new Uint8Array(
  encode({
    type: 'response',
    id: 1,
    questions: [{ type: 'A', name: 'www.example' }],
    answers: [
      { type: 'CNAME', name: 'www.example', ttl: 9, data: 'a.example' },
      { type: 'A', name: 'a.example', ttl: 300, data: '198.51.100.1' },
      { type: 'AAAA', name: 'a.example', ttl: 300, data: '2001:db8::1' },
      { type: 'A', name: 'a.example', ttl: 0xffffffff, data: '255.255.255.254' },
    ],
    additionals: [{ type: 'A', name: 'ns.example', ttl: 300, data: '198.51.100.9' }],
  }),
);

describe('addresses of an answer', () => {
  it('are those of its answer section', () => {
    expect(told(ANSWER)).toEqual(['198.51.100.1 300', '255.255.255.254 4294967295']);
  });

  it('of a cut one are those before the cut', () => {
    for (let length = 0; length < ANSWER.length; length++) {
      const found = told(ANSWER.subarray(0, length));
      expect(found).toEqual(told(ANSWER).slice(0, found.length));
    }
  });

  it('of any bytes: nothing is thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        told(bytes);
      }),
      { numRuns: 300 },
    );
  });
});
