import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockPool, plainMemory, SMALL_BLOCK } from './memory.js';
import { SliceQueue } from './slices.js';

function contents(queue: SliceQueue): Uint8Array {
  return Buffer.concat(Array.from({ length: queue.count }, (_, i) => queue.viewAt(i)));
}

describe('SliceQueue', () => {
  it('keeps large slices where they landed and copies small ones together', () => {
    const pool = new BlockPool(plainMemory);
    const queue = new SliceQueue(pool);
    const block = pool.take();
    queue.push(block, 100, 2000);
    expect(queue.blockAt(0)).toBe(block);
    expect(block.refs).toBe(2);
    for (let i = 0; i < 10; i++) queue.push(block, i, 10);
    expect([queue.count, queue.bytes, block.refs]).toEqual([2, 2100, 2]);
    queue.push(block, 0, 0);
    expect(queue.count).toBe(2);
    block.release();
    queue.consume(2000);
    expect(pool.bytesOut).toBe(SMALL_BLOCK);
    queue.consume(1e9);
    expect([queue.bytes, queue.count, pool.bytesOut]).toEqual([0, 0, 0]);
  });

  it('copies out when the pool is low', () => {
    const pool = new BlockPool(plainMemory, 64 * 1024, 1);
    const queue = new SliceQueue(pool);
    const block = pool.take();
    expect(pool.low).toBe(true);
    queue.push(block, 0, 10_000);
    queue.push(block, 0, 20_000);
    expect(block.refs).toBe(2);
    block.release();
    queue.clear();
    expect(pool.bytesOut).toBe(0);
  });

  it('tiny slices pin little: 100,000 of one byte', () => {
    const pool = new BlockPool(plainMemory);
    const queue = new SliceQueue(pool);
    for (let i = 0; i < 100_000; i++) {
      const block = pool.take();
      queue.push(block, i & 1023, 1);
      block.release();
    }
    expect(pool.bytesOut).toBeLessThan(100_000 + 2 * SMALL_BLOCK);
    expect(queue.count).toBeLessThan(10);
    queue.clear();
    expect(pool.bytesOut).toBe(0);
  });

  it('gives out what was put in, in order, whatever the pieces', () => {
    const step = fc.oneof(
      fc.record({ push: fc.integer({ min: 1, max: 20_000 }) }),
      fc.record({ copy: fc.integer({ min: 1, max: 40_000 }) }),
      fc.record({ consume: fc.integer({ min: 0, max: 50_000 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.boolean(), (steps, low) => {
        const pool = new BlockPool(plainMemory, 64 * 1024, low ? 1 : 16);
        const queue = new SliceQueue(pool);
        let expected: number[] = [];
        let value = 0;
        for (const s of steps) {
          if ('consume' in s) {
            expected = expected.slice(s.consume);
            queue.consume(s.consume);
          } else {
            const n = 'push' in s ? s.push : s.copy;
            const bytes = Uint8Array.from({ length: n }, () => value++ & 255);
            for (const b of bytes) expected.push(b);
            if ('copy' in s) queue.copy(bytes, 0, n);
            else {
              const block = pool.take();
              block.region.bytes.set(bytes, 7);
              queue.push(block, 7, n);
              block.release();
            }
          }
          expect(queue.bytes).toBe(expected.length);
        }
        expect(Buffer.compare(contents(queue), Uint8Array.from(expected))).toBe(0);
        queue.clear();
        expect(pool.bytesOut).toBe(0);
      }),
      { numRuns: 100 },
    );
  });
});
