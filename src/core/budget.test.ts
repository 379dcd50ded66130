import { describe, expect, it } from 'vitest';
import { Budget } from './budget.js';
import { plainMemory } from './memory.js';
import { LEAST_RING, SendRing } from './ring.js';

const KIB = 1024;

describe('Budget', () => {
  it('is full when it, or the one that it is part of, has nothing left', () => {
    const all = new Budget(100);
    const one = new Budget(60, all);
    const other = new Budget(60, all);
    one.add(59);
    expect([one.full, one.tight, all.tight]).toEqual([false, true, false]);
    one.add(1);
    expect([one.full, other.full]).toEqual([true, false]);
    other.add(40);
    expect([other.full, all.full, all.used]).toEqual([true, true, 100]);
    one.add(-60);
    expect([one.full, other.full, other.tight]).toEqual([false, false, false]);
    expect([all.peak, one.peak]).toEqual([100, 60]);
  });

  it('rings grow no more when it is full, but each may have LEAST_RING', () => {
    const budget = new Budget(64 * KIB);
    const first = new SendRing(plainMemory, 1024 * KIB, budget);
    const second = new SendRing(plainMemory, 1024 * KIB, budget);
    const third = new SendRing(plainMemory, 1024 * KIB, budget);
    expect(first.write(new Uint8Array(64 * KIB))).toBe(64 * KIB);
    expect(budget.full).toBe(true);
    expect([first.room, second.room, third.room]).toEqual([0, LEAST_RING, LEAST_RING]);
    expect(second.write(new Uint8Array(64 * KIB))).toBe(LEAST_RING);
    // Nothing that was taken is lost, and what leaves makes room again.
    first.release(1000);
    expect(first.room).toBe(1000);
    first.release(first.bytes);
    first.free();
    expect(budget.used).toBe(LEAST_RING);
    expect(third.write(new Uint8Array(20 * KIB))).toBe(20 * KIB);
    second.free();
    third.free();
    expect(budget.used).toBe(0);
  });

  it('a ring takes no more than it is allowed, and keeps what it has', () => {
    const ring = new SendRing(plainMemory, 64 * KIB);
    ring.allow(20 * KIB);
    expect(ring.write(new Uint8Array(64 * KIB))).toBe(20 * KIB);
    ring.allow(10 * KIB);
    expect([ring.room, ring.bytes]).toEqual([0, 20 * KIB]);
    ring.allow(1024 * KIB);
    expect(ring.room).toBe(44 * KIB);
  });
});
