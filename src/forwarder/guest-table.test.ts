import { describe, expect, it } from 'vitest';
import { type GuestEntry, GuestTable } from './guest-table.js';

const entry = (owner: number, key: number, lastUsed = 0): GuestEntry => ({ owner, key, lastUsed });

function rig(perGuest: number, total: number) {
  const gone: string[] = [];
  const table: GuestTable<GuestEntry> = new GuestTable(perGuest, total, (old) => {
    gone.push(`${old.owner}/${old.key}`);
    table.delete(old);
  });
  const add = (owner: number, key: number): GuestEntry => {
    const one = entry(owner, key);
    table.makeRoom(owner);
    table.add(one);
    return one;
  };
  return { table, gone, add };
}

describe('GuestTable', () => {
  it('lets go of the least recently used of a guest at its cap', () => {
    const { table, gone, add } = rig(3, 100);
    const first = add(1, 0);
    for (const key of [1, 2]) add(1, key);
    table.used(first, 999);
    expect(gone).toEqual([]);
    table.used(first, 1000);
    add(1, 3);
    expect(gone).toEqual(['1/1']);
    add(2, 0);
    expect([table.size, [...table.of(1)].length]).toEqual([4, 3]);
  });

  it('at the total, of the guest that has most', () => {
    const { table, gone, add } = rig(10, 6);
    add(1, 0);
    for (let key = 0; key < 5; key++) add(2, key);
    add(3, 0);
    add(1, 1);
    expect(gone).toEqual(['2/0', '2/1']);
    expect(table.size).toBe(6);
  });

  it('forgets what is deleted, on the way too', () => {
    const { table, add } = rig(10, 10);
    const one = add(1, 1);
    add(1, 2);
    add(2, 1);
    expect([table.delete(one), table.delete(one), table.delete(entry(2, 1))]).toEqual([true, false, false]);
    for (const each of table) table.delete(each);
    expect([table.size, [...table], [...table.of(1)], table.get(2, 1)]).toEqual([0, [], [], undefined]);
  });
});
