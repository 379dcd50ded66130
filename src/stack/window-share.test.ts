import { describe, expect, it } from 'vitest';
import { Budget } from '../core/index.js';
import { LINK_WINDOW, WindowShare } from './window-share.js';

const flow = () => ({ epoch: 0 });

describe('WindowShare', () => {
  it('leaves one flow its own limits, and divides the link among those that are active', () => {
    const share = new WindowShare(1460, new Budget(1000));
    const flows = Array.from({ length: 8 }, flow);
    expect(share.of(flows[0]!, 1000)).toBe(Number.POSITIVE_INFINITY);
    expect(share.of(flows[0]!, 1050)).toBe(Number.POSITIVE_INFINITY);
    for (const one of flows) share.of(one, 1060);
    expect(share.active).toBe(8);
    expect(share.of(flows[3]!, 1070)).toBe(LINK_WINDOW / 8);
    // The next epoch still knows of them; the one after that only of who is left.
    expect(share.of(flows[0]!, 1110)).toBe(LINK_WINDOW / 8);
    expect(share.of(flows[0]!, 1210)).toBe(Number.POSITIVE_INFINITY);
    expect(share.of(flows[0]!, 99_999)).toBe(Number.POSITIVE_INFINITY);
  });

  it('gives a thousand a few segments each', () => {
    for (const [mss, least] of [
      [536, 4096],
      [1460, 4380],
      [8960, 16_384],
      [65_480, 16_384],
    ] as const) {
      const share = new WindowShare(mss, new Budget(1000));
      const flows = Array.from({ length: 1000 }, flow);
      for (const one of flows) share.of(one, 500);
      expect(share.of(flows[0]!, 500)).toBe(least);
    }
  });

  it('gives everybody the least while memory is tight, and new ones little among many', () => {
    const budget = new Budget(1000);
    const share = new WindowShare(1460, budget);
    expect(share.ofNew(3)).toBe(Number.POSITIVE_INFINITY);
    expect(share.ofNew(16)).toBe(16 * 1024);
    budget.add(750);
    expect([share.of(flow(), 500), share.ofNew(0)]).toEqual([4380, 4380]);
  });
});
