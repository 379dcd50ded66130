import { describe, expect, it } from 'vitest';
import { descriptorLimit } from './descriptors.js';

describe('descriptorLimit', () => {
  it('is the soft limit', () => {
    const text =
      'Limit   Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n';
    expect(descriptorLimit(() => text)).toBe(1024);
  });

  it('is not known where there is no such file, or no limit', () => {
    expect(
      descriptorLimit(() => 'Max open files            unlimited            unlimited            files'),
    ).toBeUndefined();
    expect(
      descriptorLimit(() => {
        throw new Error('ENOENT');
      }),
    ).toBeUndefined();
  });

  it.runIf(process.platform === 'linux')('of this process is a number', () => {
    expect(descriptorLimit()).toBeGreaterThan(0);
  });
});
