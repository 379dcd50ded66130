import { afterEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../core/index.js';
import { LookupHelper } from './lookup-helper.js';
import { systemDns } from './system-dns.js';

const open: LookupHelper[] = [];
const helper = (...args: ConstructorParameters<typeof LookupHelper>): LookupHelper => {
  const made = new LookupHelper(...args);
  open.push(made);
  return made;
};
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

describe('lookups in a process of their own', () => {
  it('find what needs no network, several at once', async () => {
    const names = helper();
    const addresses = ['127.0.0.9', '::5', '127.0.0.10'];
    const found = await Promise.all(addresses.map((address) => names.addresses(address)));
    expect(found).toEqual([
      [{ address: '127.0.0.9', family: 4 }],
      [{ address: '::5', family: 6 }],
      [{ address: '127.0.0.10', family: 4 }],
    ]);
    expect(await names.nameOf('127.0.0.1')).toMatch(/./);
  });

  it('pass codes on', async () => {
    const names = helper(
      `process.stdin.on('data', (d) => process.stdout.write(JSON.stringify([JSON.parse(d)[0], 'ENOTFOUND', []]) + '\\n'))`,
    );
    await expect(names.addresses('x')).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it('fail when the process talks nonsense', async () => {
    const names = helper(`process.stdin.on('data', () => process.stdout.write('nonsense\\n'))`);
    await expect(names.addresses('x')).rejects.toMatchObject({ code: 'EAI_AGAIN' });
  });

  it('are what the system is asked by where nobody else has threads', async () => {
    const dns = systemDns({ logger: silentLogger, platform: 'win32' });
    expect(dns.mode()).toBe('resolver');
    expect(await dns.resolver.lookup('127.0.0.9', 4)).toEqual([{ address: '127.0.0.9', family: 4 }]);
    dns.close();
  });

  it('fail while the process is gone, and start another one a second later', async () => {
    let now = 0;
    const names = helper(`process.stdin.once('data', () => process.exit(3))`, () => now);
    await expect(names.addresses('x')).rejects.toMatchObject({ code: 'EAI_AGAIN' });
    await expect(names.addresses('y')).rejects.toMatchObject({ code: 'EAI_AGAIN' });
    now = 1000;
    await expect(names.addresses('z')).rejects.toMatchObject({ code: 'EAI_AGAIN' });
  });

  it('end with the helper: what waits is rejected, nothing is started any more', async () => {
    const names = helper('setInterval(() => undefined, 1000)');
    const waits = names.addresses('x');
    names.close();
    await expect(waits).rejects.toMatchObject({ code: 'EAI_AGAIN' });
    await expect(names.nameOf('127.0.0.1')).rejects.toMatchObject({ code: 'EAI_AGAIN' });
  });
});
