import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Watcher } from './hub.js';
import { Watchers } from './watchers.js';

/** Handles as the addon makes them: a slot, and how often it was used before. */
const handle = fc.tuple(fc.nat(400), fc.integer({ min: 1, max: 3 })).map(([slot, use]) => (use << 20) | slot);

describe('Watchers', () => {
  it('know what a Map knows', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2), handle), { maxLength: 600 }), (steps) => {
        const watchers = new Watchers();
        const model = new Map<number, Watcher>();
        for (const [what, one] of steps) {
          if (what === 0) expect(watchers.delete(one)).toBe(model.delete(one));
          else {
            const watcher = { ready: () => undefined };
            watchers.set(one, watcher);
            model.set(one, watcher);
          }
          expect(watchers.size).toBe(model.size);
        }
        for (const [, one] of steps) expect(watchers.get(one)).toBe(model.get(one));
        watchers.clear();
        for (const [, one] of steps) expect(watchers.get(one)).toBeUndefined();
      }),
    );
  });
});
