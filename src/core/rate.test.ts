import { describe, expect, it } from 'vitest';
import { Rate } from './index.js';

describe('Rate', () => {
  it('lets a burst pass, then as many as its rate says, and never saves up more than a burst', () => {
    const rate = new Rate(10, 3);
    const taken = (now: number): number => {
      let n = 0;
      while (n < 100 && rate.take(now)) n++;
      return n;
    };
    expect(taken(1000)).toBe(3);
    expect(taken(1000)).toBe(0);
    expect(taken(1099)).toBe(0);
    expect(taken(1100)).toBe(1);
    expect(taken(1300)).toBe(2);
    expect(taken(60_000)).toBe(3);
  });
});
