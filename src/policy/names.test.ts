import { describe, expect, it } from 'vitest';
import { ipv4 } from '../core/index.js';
import { DnsMemory, GRACE, MAX_ADDRESSES, MAX_NAMES } from './index.js';

const A = ipv4(0x01020304);

function memory() {
  const clock = { now: 0 };
  return { clock, memory: new DnsMemory(() => clock.now) };
}

describe('names of addresses', () => {
  it('are those that led there, the last told one first', () => {
    const { memory: m } = memory();
    m.learn('a.example', A, 60);
    m.learn('b.example', A, 60);
    expect(m.namesOf(A)).toEqual(['b.example', 'a.example']);
    m.learn('a.example', A, 60);
    expect(m.namesOf(A)).toEqual(['a.example', 'b.example']);
    expect(m.namesOf(ipv4(1))).toEqual([]);
  });

  it('are forgotten when TTL and grace are over, and a shorter TTL shortens nothing', () => {
    const { memory: m, clock } = memory();
    m.learn('a.example', A, 60);
    m.learn('a.example', A, 0);
    clock.now = 60_000 + GRACE;
    expect(m.namesOf(A)).toEqual(['a.example']);
    clock.now++;
    expect(m.namesOf(A)).toEqual([]);
    expect(m.size).toBe(0);
  });

  it('change the version when an address gets a name that it did not have', () => {
    const { memory: m, clock } = memory();
    m.learn('a.example', A, 1);
    const { version } = m;
    m.learn('a.example', A, 1);
    expect(m.version).toBe(version);
    m.learn('b.example', A, 1);
    expect(m.version).toBe(version + 1);
    clock.now = 2000 + GRACE;
    m.learn('a.example', A, 1);
    expect(m.version).toBe(version + 2);
  });

  it('are bounded: what was told longest ago goes', () => {
    const { memory: m } = memory();
    for (let n = 0; n <= MAX_NAMES; n++) m.learn(`${n}.example`, A, 60);
    expect(m.namesOf(A)).toHaveLength(MAX_NAMES);
    expect(m.namesOf(A)).not.toContain('0.example');
    expect(m.forgotten).toBe(1);
    for (let n = 0; n < MAX_ADDRESSES; n++) m.learn('x.example', ipv4(n), 60);
    expect(m.size).toBe(MAX_ADDRESSES);
    expect(m.namesOf(A)).toEqual([]);
    expect(m.forgotten).toBe(2);
  });
});
