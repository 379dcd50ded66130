/** Lookups on the crate's threads: names that the hosts file knows, refusals, ends. What hangs is tested in test/netns. */
import { readdirSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { EBADF, EINVAL } from './constants.js';
import { Hub } from './hub.js';
import { loadNative } from './loader.js';
import { NativeLookups } from './lookups.js';

const { addon, reason } = loadNative();

describe.skipIf(addon === undefined)(`native lookups${reason === undefined ? '' : `: ${reason}`}`, () => {
  const hub = addon === undefined ? undefined! : new Hub(addon);
  afterAll(() => {
    hub.close();
  });

  it('find addresses and names without asking the network', async () => {
    const lookups = new NativeLookups(hub);
    expect(await lookups.addresses('127.0.0.9')).toEqual([{ address: '127.0.0.9', family: 4 }]);
    expect(await lookups.addresses('::5')).toEqual([{ address: '::5', family: 6 }]);
    const found = await lookups.addresses('localhost');
    expect(found.some(({ address }) => address === '127.0.0.1' || address === '::1')).toBe(true);
    expect(await lookups.nameOf('127.0.0.1')).toMatch(/./);
    lookups.close();
  });

  it('answer many at once, each what it asked', async () => {
    const lookups = new NativeLookups(hub, 2);
    const asked = Array.from({ length: 100 }, (_, i) => `127.0.1.${i}`);
    const found = await Promise.all(asked.map((address) => lookups.addresses(address)));
    expect(found.map(([first]) => first?.address)).toEqual(asked);
    lookups.close();
  });

  it('reject what is no name, what has no room, and what comes after the end', async () => {
    const lookups = new NativeLookups(hub, 1, 1);
    await expect(lookups.addresses('a\0b')).rejects.toMatchObject({ code: 'EAI_AGAIN' });
    await expect(lookups.addresses('')).rejects.toMatchObject({ code: 'EAI_AGAIN' });
    await expect(lookups.nameOf('no address')).rejects.toMatchObject({ code: 'EAI_AGAIN' });
    const all = await Promise.allSettled(
      Array.from({ length: 2000 }, (_, i) => lookups.addresses(`127.0.${i >> 8}.${i & 255}`)),
    );
    expect(all[0]!.status).toBe('fulfilled');
    expect(all.some(({ status }) => status === 'rejected')).toBe(true);
    const last = lookups.addresses('127.0.0.1');
    lookups.close();
    lookups.close();
    await expect(last).rejects.toMatchObject({ code: 'EAI_AGAIN' });
    await expect(lookups.addresses('127.0.0.1')).rejects.toMatchObject({ code: 'EAI_AGAIN' });
  });

  it('refuse wrong numbers', () => {
    const { poller } = hub;
    for (const [threads, queue] of [
      [0, 1],
      [65, 1],
      [1, 0],
      [1, 65_537],
      [-1, -1],
    ] as const) {
      expect(poller.lookupOpen(threads, queue)).toBe(EINVAL);
    }
    const handle = poller.lookupOpen(1, 1);
    expect(poller.lookupName(handle, 'x'.repeat(2000))).toBe(EINVAL);
    expect(poller.lookupTake(handle)).toBeNull();
    expect(poller.closeHandle(handle)).toBe(0);
    expect(poller.lookupName(handle, 'x')).toBe(EBADF);
    expect(poller.lookupTake(handle)).toBeNull();
  });

  it('leave no descriptor behind', async () => {
    const before = readdirSync('/proc/self/fd').length;
    for (let i = 0; i < 20; i++) {
      const lookups = new NativeLookups(hub);
      await lookups.addresses('127.0.0.1');
      const open = lookups.addresses('127.0.0.2').catch(() => undefined);
      lookups.close();
      await open;
    }
    // A thread that is in a call keeps its pool for a moment.
    for (let i = 0; i < 100 && readdirSync('/proc/self/fd').length > before + 1; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before + 1);
  });
});
