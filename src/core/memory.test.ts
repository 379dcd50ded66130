import { describe, expect, it } from 'vitest';
import { BlockPool, plainMemory, SMALL_BLOCK, type Memory, type Region } from './memory.js';

function watched(): { memory: Memory; live: Set<Region> } {
  const live = new Set<Region>();
  const memory: Memory = {
    allocate(size) {
      const region = plainMemory.allocate(size);
      live.add(region);
      return region;
    },
    free(region) {
      if (!live.delete(region)) throw new Error('freed twice');
    },
  };
  return { memory, live };
}

describe('BlockPool', () => {
  it('takes a block back when the last holder lets go, and lends it again', () => {
    const { memory, live } = watched();
    const pool = new BlockPool(memory, 1024, 2);
    const block = pool.take();
    block.retain();
    block.release();
    expect(pool.bytesOut).toBe(1024);
    block.release();
    expect(pool.bytesOut).toBe(0);
    expect(pool.take()).toBe(block);
    expect(block.refs).toBe(1);
    expect(live.size).toBe(1);
  });

  it('is low while its number of blocks is out, and keeps no more than that', () => {
    const { memory, live } = watched();
    const pool = new BlockPool(memory, 1024, 2);
    const blocks = [pool.take(), pool.take(), pool.take()];
    expect(pool.low).toBe(true);
    for (const block of blocks) block.release();
    expect(pool.low).toBe(false);
    expect(live.size).toBe(2);
    pool.drain();
    expect(live.size).toBe(0);
  });

  it('small blocks, and those of a size asked for', () => {
    const { memory, live } = watched();
    const pool = new BlockPool(memory, 256 * 1024, 2);
    const small = pool.takeSmall();
    const odd = pool.takeSmall(40_000);
    expect([small.region.bytes.length, odd.region.bytes.length]).toEqual([SMALL_BLOCK, 40_000]);
    expect(pool.low).toBe(false);
    expect(pool.bytesOut).toBe(SMALL_BLOCK + 40_000);
    odd.release();
    expect(live.size).toBe(1);
    small.release();
    expect(pool.takeSmall(100)).toBe(small);
    const many = Array.from({ length: 300 }, () => pool.takeSmall());
    for (const block of many) block.release();
    small.release();
    expect(live.size).toBe(256);
    pool.drain();
    expect([live.size, pool.bytesOut]).toEqual([0, 0]);
  });
});
