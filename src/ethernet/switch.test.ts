import { describe, expect, it } from 'vitest';
import { type Mac, macHigh, macLow } from '../core/index.js';
import {
  MAC_AGE,
  MAX_KEPT_PER_PORT,
  MAX_MACS,
  MAX_MACS_PER_PORT,
  MacTable,
  emitEthernet,
  parseEthernet,
} from './index.js';

const mac = (text: string) => [macHigh(text as Mac), macLow(text as Mac)] as const;
const A = mac('02:00:00:00:00:0a');

describe('Ethernet frames', () => {
  it('survive a round trip; every truncation of the header is none', () => {
    const frame = {
      destination: 'ff:ff:ff:ff:ff:ff' as Mac,
      source: '02:00:00:00:00:01' as Mac,
      etherType: 0x0800,
      payload: new Uint8Array([1, 2]),
    };
    const bytes = emitEthernet(frame);
    expect(parseEthernet(bytes)).toEqual(frame);
    for (let n = 0; n < 14; n++) expect(parseEthernet(bytes.slice(0, n))).toBeUndefined();
  });
});

describe('MAC table', () => {
  it('learns, follows a move, ages', () => {
    const table = new MacTable();
    expect(table.lookup(...A, 0)).toBe(-1);
    table.learn(...A, 1, 0);
    expect(table.lookup(...A, 0)).toBe(1);
    table.learn(...A, 2, 1);
    expect(table.lookup(...A, 1)).toBe(2);
    expect(table.counters.moved).toBe(1);
    expect(table.lookup(...A, MAC_AGE + 2)).toBe(-1);
    expect(table.size).toBe(0);
  });

  it('refuses the limit + 1 of one port and keeps others going', () => {
    const table = new MacTable();
    for (let i = 0; i <= MAX_MACS_PER_PORT; i++) table.learn(0x0200, i, 1, 0);
    expect(table.counters.refused).toBe(1);
    expect(table.learn(...A, 2, 0)).toBe(true);
  });

  it('evicts the oldest at the limit + 1 of all', () => {
    const table = new MacTable();
    for (let i = 0; i <= MAX_MACS; i++) table.learn(0x0200, i, Math.floor(i / 200), i / 1000);
    expect(table.size).toBe(MAX_MACS);
    expect(table.counters.evicted).toBe(1);
    expect(table.lookup(0x0200, 0, 5)).toBe(-1);
  });

  it('forgets a port that went away, and has room for it again', () => {
    const table = new MacTable();
    for (let i = 0; i < MAX_MACS_PER_PORT; i++) table.learn(0x0200, i, 1, 0);
    table.forgetPort(1);
    expect(table.size).toBe(0);
    expect(table.learn(0x0200, 1, 1, 0)).toBe(true);
    expect(table.list()).toEqual([{ mac: '02:00:00:00:00:01', port: 1 }]);
  });

  it('keeps an address for its port: it neither ages nor gives way, and goes with the port', () => {
    const table = new MacTable();
    table.learn(...A, 1, 0);
    expect(table.isTaken(...A, 2, MAC_AGE)).toBe(true);
    expect(table.isTaken(...A, 2, MAC_AGE + 1)).toBe(false);
    expect(table.keep(...A, 1)).toBe(true);
    expect(table.isTaken(...A, 2, 10 * MAC_AGE)).toBe(true);
    expect(table.isTaken(...A, 1, 0)).toBe(false);
    for (let i = 0; i <= MAX_MACS; i++) table.learn(0x0200, i + 16, Math.floor(i / 200) + 2, 1);
    expect(table.lookup(...A, 10 * MAC_AGE)).toBe(1);
    expect(table.list()[0]).toEqual({ mac: '02:00:00:00:00:0a', port: 1 });
    table.forgetPort(1);
    expect(table.lookup(...A, 0)).toBe(-1);
  });

  it('keeps a number of addresses for one port, not one more', () => {
    const table = new MacTable();
    for (let i = 0; i < MAX_KEPT_PER_PORT; i++) expect(table.keep(0x0200, i, 1)).toBe(true);
    expect(table.keep(0x0200, 0x99, 1)).toBe(false);
    expect(table.keep(0x0200, 0x99, 2)).toBe(true);
    expect(table.keep(0x0200, 5, 2)).toBe(false);
    expect(table.keep(0x0200, 5, 2, true)).toBe(true);
    expect(table.lookup(0x0200, 5, 0)).toBe(2);
    expect(table.keep(0x0200, 0x98, 1)).toBe(true);
  });

  it('moves a kept address where the network lets guests take over', () => {
    const table = new MacTable();
    table.keep(...A, 1);
    expect(table.learn(...A, 2, 0)).toBe(true);
    expect(table.lookup(...A, 0)).toBe(2);
    expect(table.counters.moved).toBe(1);
  });
});
