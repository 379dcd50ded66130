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

describe('SliceQueue memory', () => {
  it('has none before its first use', () => {
    const pool = new BlockPool(plainMemory);
    const queue = new SliceQueue(pool);
    queue.consume(10);
    queue.clear();
    expect([queue.bytes, queue.count, queue.compact()]).toEqual([0, 0, 0]);
  });

  it('compact copies out of big blocks, keeps order, and leaves what is small', () => {
    const pool = new BlockPool(plainMemory, 64 * 1024, 2);
    const queue = new SliceQueue(pool);
    const expected: Buffer[] = [];
    for (let i = 0; i < 10; i++) {
      const block = pool.take();
      block.region.bytes.fill(i + 1);
      queue.push(block, 100, 20_000 + i);
      expected.push(Buffer.alloc(20_000 + i, i + 1));
      block.release();
    }
    queue.consume(7);
    expect(pool.bytesOut).toBe(640 * 1024);
    expect(queue.compact()).toBe(queue.bytes);
    expect(pool.bytesOut).toBeLessThanOrEqual(queue.bytes + SMALL_BLOCK);
    expect(pool.low).toBe(false);
    expect(Buffer.compare(contents(queue), Buffer.concat(expected).subarray(7))).toBe(0);
    expect(queue.compact()).toBe(0);
    queue.clear();
    expect(pool.bytesOut).toBe(0);
  });

  it('compact leaves what is lent where it is', () => {
    const pool = new BlockPool(plainMemory, 64 * 1024, 2);
    const queue = new SliceQueue(pool);
    const block = pool.take();
    block.region.bytes.fill(7);
    for (let i = 0; i < 4; i++) queue.push(block, i * 1000, 1000);
    block.release();
    queue.lent = 1500;
    expect(queue.compact()).toBe(2000);
    expect([queue.blockAt(0), queue.blockAt(1), block.refs]).toEqual([block, block, 2]);
    queue.consume(1000);
    expect(queue.lent).toBe(500);
    queue.consume(1000);
    expect([queue.lent, block.refs]).toEqual([0, 0]);
    expect(contents(queue).every((byte) => byte === 7)).toBe(true);
    queue.clear();
    expect(pool.bytesOut).toBe(0);
  });
});
