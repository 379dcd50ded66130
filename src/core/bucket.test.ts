import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bucket } from './index.js';

describe('token bucket', () => {
  it('gives its burst at once, then its rate', () => {
    const bucket = new Bucket(1500, 10);
    for (let i = 0; i < 10; i++) expect(bucket.take(5, 1)).toBe(true);
    expect(bucket.take(5, 1)).toBe(false);
    let given = 0;
    for (let now = 6; now <= 2005; now++) while (bucket.take(now, 1)) given++;
    expect(given).toBe(3000);
  });

  it('takes nothing when there is too little, and all of it when there is enough', () => {
    const bucket = new Bucket(1000, 5);
    expect(bucket.take(1, 6)).toBe(false);
    expect(bucket.take(1, 5)).toBe(true);
  });

  it('lets one overdraw and says how long that lasts', () => {
    const bucket = new Bucket(1000, 100);
    expect(bucket.inDebt(1)).toBe(false);
    bucket.spend(1, 150);
    expect(bucket.inDebt(1)).toBe(true);
    expect(bucket.wait(1)).toBe(50);
    expect(bucket.inDebt(50)).toBe(true);
    expect(bucket.wait(51)).toBe(0);
    bucket.spend(51, 200);
    expect(bucket.inDebt(51, 199)).toBe(true);
    expect(bucket.inDebt(51, 200)).toBe(false);
    bucket.spend(51, 1e12);
    expect(bucket.wait(51)).toBe(2 ** 30);
  });

  it('gives at most burst and rate, whatever the steps of the clock, an hour or backwards', () => {
    const step = fc.integer({ min: -5, max: 5000 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e10 }), fc.array(step, { maxLength: 50 }), (rate, steps) => {
        const bucket = new Bucket(rate, 1000);
        let now = 1;
        let latest = 1;
        let given = 0;
        for (const by of [...steps, 3_600_000]) {
          now += by;
          latest = Math.max(latest, now);
          while (bucket.take(now, 1)) given++;
        }
        expect(given).toBeLessThanOrEqual(1000 + (rate * (latest - 0)) / 1000);
        expect(given).toBeLessThanOrEqual(1000 * (steps.length + 1));
      }),
    );
  });
});
