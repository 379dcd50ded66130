import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bag, OUTSIDE } from './bag.js';

describe('Bag', () => {
  it('holds what a Set holds', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(9)), { maxLength: 200 }), (steps) => {
        const items = Array.from({ length: 10 }, (_, id) => ({ id, place: OUTSIDE }));
        const bag = new Bag<(typeof items)[number]>();
        const model = new Set<(typeof items)[number]>();
        for (const [add, id] of steps) {
          const item = items[id]!;
          if (add) {
            bag.add(item);
            model.add(item);
          } else expect(bag.delete(item)).toBe(model.delete(item));
          expect(bag.size).toBe(model.size);
        }
        expect(new Set(bag)).toEqual(model);
        for (const item of items) expect(item.place === OUTSIDE).toBe(!model.has(item));
      }),
    );
  });
});
