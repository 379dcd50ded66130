import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FlowTable } from './flow-table.js';

const word = fc.integer({ min: 0, max: 7 });
const key = fc.tuple(word, word, word, word);

describe('flow table', () => {
  it('behaves as a map of four words', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ key, remove: fc.boolean() }), { maxLength: 400 }), (steps) => {
        const table = new FlowTable<number>([1, 2]);
        const model = new Map<string, number>();
        steps.forEach(({ key: [a, b, c, d], remove }, i) => {
          const name = `${a}/${b}/${c}/${d}`;
          if (remove) expect(table.delete(a, b, c, d)).toBe(model.delete(name));
          else {
            table.set(a, b, c, d, i);
            model.set(name, i);
          }
          expect(table.size).toBe(model.size);
        });
        for (const [name, value] of model) {
          const [a, b, c, d] = name.split('/').map(Number) as [number, number, number, number];
          expect(table.find(a, b, c, d)).toBe(value);
        }
        expect([...table].sort()).toEqual([...model.values()].sort());
      }),
      { numRuns: 60 },
    );
  });

  it('tells signed and unsigned words of one bit pattern as the same', () => {
    const table = new FlowTable<string>([3, 4]);
    table.set(1, 0xc0a87f02, -1, 0x80000000, 'flow');
    expect(table.find(1, 0xc0a87f02 | 0, 0xffffffff, -0x80000000)).toBe('flow');
  });

  it('grows to a hundred thousand flows and shrinks to none', () => {
    const table = new FlowTable<number>([5, 6]);
    for (let i = 0; i < 100_000; i++) table.set(i & 7, i, i * 3, i * 7, i);
    expect(table.size).toBe(100_000);
    for (let i = 0; i < 100_000; i += 999) expect(table.find(i & 7, i, i * 3, i * 7)).toBe(i);
    for (let i = 0; i < 100_000; i++) table.delete(i & 7, i, i * 3, i * 7);
    expect(table.size).toBe(0);
  });
});
