import { describe, expect, it } from 'vitest';
import { formatBytes, formatCount, formatDuration, formatRate } from './format.js';

describe('numbers for people', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [999.6, '1 kB'],
    [1500, '1.5 kB'],
    [1_230_000, '1.23 MB'],
    [100_000_000, '100 MB'],
    [999_600_000, '1 GB'],
    [-5, '0 B'],
    [5e18, '5000 PB'],
  ])('%d bytes', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  it.each([
    [1_175_000_000, 1000, '9.4 Gbit/s'],
    [125, 1000, '1 kbit/s'],
    [10, 1000, '80 bit/s'],
    [10, 0, '0 bit/s'],
  ])('%d bytes in %d ms', (bytes, ms, text) => expect(formatRate(bytes, ms)).toBe(text));

  it.each([
    [0.42, '0.42 ms'],
    [38, '38 ms'],
    [999.7, '1 s'],
    [1250, '1.25 s'],
    [11_000, '11 s'],
    [59_960, '1 min'],
    [200_000, '3 min 20 s'],
    [7_500_000, '2 h 5 min'],
    [86_400_000 * 3 + 4 * 3_600_000, '3 d 4 h'],
  ])('%d ms', (ms, text) => expect(formatDuration(ms)).toBe(text));

  it('separates thousands', () => {
    expect([0, 999, 1000, 1_234_567].map(formatCount)).toEqual(['0', '999', '1,000', '1,234,567']);
  });
});
