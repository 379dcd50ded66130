import { describe, expect, it } from 'vitest';
import { type Mac, ipv4 } from '../core/index.js';
import { MAX_NEIGHBOURS, NeighbourTable, emitArp, parseArp } from './index.js';

describe('ARP', () => {
  it('survives a round trip; truncations and other hardware are none', () => {
    const packet = {
      operation: 1,
      senderMac: '02:00:00:00:00:01' as Mac,
      senderIp: ipv4(1),
      targetMac: '00:00:00:00:00:00' as Mac,
      targetIp: ipv4(2),
    };
    const bytes = emitArp(packet);
    expect(parseArp(bytes)).toEqual(packet);
    for (let n = 0; n < bytes.length; n++) expect(parseArp(bytes.slice(0, n))).toBeUndefined();
    bytes[1] = 6;
    expect(parseArp(bytes)).toBeUndefined();
  });

  it('keeps the entry of an address whose MAC changes, and is bounded', () => {
    const table = new NeighbourTable(3);
    const entry = table.learn(ipv4(1), 1, 1);
    expect(table.learn(ipv4(1), 2, 2)).toBe(entry);
    expect(entry).toMatchObject({ port: 3, macHigh: 2, macLow: 2 });
    for (let i = 2; i <= MAX_NEIGHBOURS + 1; i++) table.learn(ipv4(i), 0, i);
    expect(table.size).toBe(MAX_NEIGHBOURS);
    expect(table.evicted).toBe(1);
    expect(table.find(ipv4(1))).toBeUndefined();
  });
});
