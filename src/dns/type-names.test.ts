import { describe, expect, it } from 'vitest';
import { recordType, typeName } from './type-names.js';

describe('names of types', () => {
  it('go both ways', () => {
    expect(['A', 'aaaa', 'https', 'TYPE65280', '257'].map(recordType)).toEqual([1, 28, 65, 65_280, 257]);
    expect(['', 'X', 'TYPE0', 'TYPE65536', '-1'].map(recordType)).toEqual(Array(5).fill(undefined));
    expect([1, 257, 65_280].map(typeName)).toEqual(['A', 'CAA', 'TYPE65280']);
  });
});
