import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { silentLogger, type HostAddress } from '../core/index.js';
import { OsResolver } from './resolver.js';
import { isFilesAndDns, parseHosts, parseNsswitch, parseResolvConf, parseServer } from './resolver-files.js';
import { systemDns } from './system-dns.js';
import { WatchedFile } from './watched-file.js';

const four = (address: string): HostAddress => ({ address, family: 4 });
const six = (address: string): HostAddress => ({ address, family: 6 });
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('files', () => {
  it('resolv.conf', () => {
    const text = `# made by something\nnameserver 10.0.0.1\n nameserver\t10.0.0.2 # office\noptions edns0\nsearch a b
nameserver not.an.address\nnameserver fe80::1%eth0;x\nnameserver 10.0.0.4\nnameservers 10.0.0.5\n`;
    expect(parseResolvConf(text).map(({ host }) => host)).toEqual(['10.0.0.1', '10.0.0.2', 'fe80::1%eth0']);
    expect(parseResolvConf('')).toEqual([]);
  });

  it('servers of the configuration', () => {
    expect(parseServer('10.0.0.1')).toEqual({ host: '10.0.0.1', port: 53 });
    expect(parseServer('::1#5353')).toEqual({ host: '::1', port: 5353 });
    for (const none of ['', 'dns.example', '10.0.0.1#', '10.0.0.1#0', '10.0.0.1#65536', '10.0.0.1#5#3']) {
      expect(parseServer(none)).toBeUndefined();
    }
  });

  it.each([
    ['hosts: files dns', true],
    ['hosts:\tfiles  dns # both', true],
    ['passwd: files\n hosts : dns [!UNAVAIL=return] files', true],
    ['hosts: files', false],
    ['hosts: files mdns4_minimal [NOTFOUND=return] dns', false],
    ['hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns', false],
    ['hosts: files sss dns', false],
  ])('nsswitch.conf: %j', (text, expected) => {
    expect(isFilesAndDns(parseNsswitch(text)!)).toBe(expected);
  });

  it('nsswitch.conf without hosts', () => {
    expect(parseNsswitch('passwd: files\n#hosts: files\n')).toBeUndefined();
  });

  it('hosts', () => {
    const table = parseHosts(`127.0.0.1 localhost
# 10.0.0.9 gone
10.0.0.7\tprinter.lan Printer printer.lan # third floor
10.0.0.8 printer
fd00::7 printer.lan
junk printer
10.0.0.10
10.0.0.11 bad..name good`);
    expect(table.addresses.get('printer.lan')).toEqual(['10.0.0.7', 'fd00::7']);
    expect(table.addresses.get('printer')).toEqual(['10.0.0.7', '10.0.0.8']);
    expect(table.names.get('10.0.0.7')).toEqual(['printer.lan', 'Printer']);
    expect(table.names.get('fd00:0000:0000:0000:0000:0000:0000:0007')).toEqual(['printer.lan']);
    expect(table.addresses.get('good')).toEqual(['10.0.0.11']);
    expect(table.addresses.has('gone')).toBe(false);
  });
});

describe('OsResolver', () => {
  it('gives one family of what one call found, for both who ask', async () => {
    let calls = 0;
    const resolver = new OsResolver({
      getaddrinfo: async () => {
        calls++;
        return [four('10.0.0.1'), six('fd00::1'), four('10.0.0.2')];
      },
    });
    const [a, aaaa] = await Promise.all([resolver.lookup('x', 4), resolver.lookup('x', 6)]);
    expect(a).toEqual([four('10.0.0.1'), four('10.0.0.2')]);
    expect(aaaa).toEqual([six('fd00::1')]);
    expect(calls).toBe(1);
  });

  it('tells no data from no name, and passes codes on', async () => {
    const fail = (code: string) =>
      new OsResolver({ getaddrinfo: () => Promise.reject(Object.assign(new Error(), { code })) });
    const found = (list: HostAddress[]) => new OsResolver({ getaddrinfo: async () => list });
    await expect(found([four('10.0.0.1')]).lookup('x', 6)).rejects.toMatchObject({ code: 'ENODATA' });
    await expect(found([]).lookup('x', 6)).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(fail('ENOTFOUND').lookup('x', 4)).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(fail('EAI_AGAIN').lookup('x', 4)).rejects.toMatchObject({ code: 'EAI_AGAIN' });
  });

  it('asks again after a second', async () => {
    let now = 0;
    let calls = 0;
    const resolver = new OsResolver({ now: () => now, getaddrinfo: async () => [four(`10.0.0.${++calls}`)] });
    await resolver.lookup('x', 4);
    now = 999;
    expect(await resolver.lookup('x', 4)).toEqual([four('10.0.0.1')]);
    now = 1000;
    expect(await resolver.lookup('x', 4)).toEqual([four('10.0.0.2')]);
  });

  it('runs few at once, the others in order', async () => {
    const running = new Map<string, () => void>();
    const resolver = new OsResolver({
      concurrency: 2,
      getaddrinfo: (name) => new Promise((resolve) => running.set(name, () => resolve([four('10.0.0.1')]))),
    });
    const asked = ['a', 'b', 'c', 'd'].map((name) => resolver.lookup(name, 4));
    await tick();
    expect([...running.keys()]).toEqual(['a', 'b']);
    running.get('b')!();
    await tick();
    expect([...running.keys()]).toEqual(['a', 'b', 'c']);
    for (const name of ['a', 'c']) running.get(name)!();
    await tick();
    running.get('d')!();
    expect(await Promise.all(asked)).toHaveLength(4);
  });

  it('lets nobody wait for calls that hang, and has an end to its queue', async () => {
    const resolver = new OsResolver({
      concurrency: 1,
      timeout: 50,
      getaddrinfo: () => new Promise(() => undefined),
    });
    const asked = Array.from({ length: 513 }, (_, i) => resolver.lookup(`x${i}`, 4));
    const settled = Promise.allSettled(asked);
    await expect(resolver.lookup('one-more', 4)).rejects.toMatchObject({ code: 'EAI_AGAIN' });
    const codes = (await settled).map((result) => (result.status === 'rejected' ? result.reason.code : 'ok'));
    expect(new Set(codes)).toEqual(new Set(['ETIMEDOUT']));
    resolver.close();
    await expect(resolver.lookup('after', 4)).rejects.toMatchObject({ code: 'EAI_AGAIN' });
  });

  it('forgets the oldest results at its limit', async () => {
    let calls = 0;
    const resolver = new OsResolver({
      getaddrinfo: async () => {
        calls++;
        return [four('10.0.0.1')];
      },
    });
    for (let i = 0; i < 1100; i++) await resolver.lookup(`x${i}`, 4);
    await resolver.lookup('x1099', 4);
    expect(calls).toBe(1100);
    await resolver.lookup('x0', 4);
    expect(calls).toBe(1101);
  });

  it('finds names of addresses', async () => {
    const resolver = new OsResolver({
      getnameinfo: (address) =>
        address === '10.0.0.1'
          ? Promise.resolve('a.example')
          : Promise.reject(Object.assign(new Error(), { code: 'ENOTFOUND' })),
    });
    expect(await resolver.reverse('10.0.0.1')).toEqual(['a.example']);
    await expect(resolver.reverse('10.0.0.2')).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it('asks the system itself for what needs no network', async () => {
    const resolver = new OsResolver();
    expect(await resolver.lookup('127.0.0.1', 4)).toEqual([four('127.0.0.1')]);
    await expect(resolver.lookup('127.0.0.1', 6)).rejects.toMatchObject({ code: 'ENODATA' });
  });
});

describe('the system’s settings', () => {
  const folders: string[] = [];
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
  });
  const folder = (): string => {
    const made = mkdtempSync(path.join(tmpdir(), 'netproxy-dns-'));
    folders.push(made);
    return made;
  };

  it('a file is read again when it changes, at most twice a second', () => {
    const file = path.join(folder(), 'x');
    let now = 0;
    let reads = 0;
    const watched = new WatchedFile(
      file,
      (text) => {
        reads++;
        return text ?? 'missing';
      },
      silentLogger,
      () => now,
    );
    expect(watched.get()).toBe('missing');
    writeFileSync(file, 'one');
    expect(watched.get()).toBe('missing');
    now = 500;
    expect(watched.get()).toBe('one');
    writeFileSync(`${file}.new`, 'two');
    renameSync(`${file}.new`, file);
    now = 1000;
    expect(watched.get()).toBe('two');
    now = 1500;
    watched.get();
    expect(reads).toBe(3);
    rmSync(file);
    now = 2000;
    expect(watched.get()).toBe('missing');
  });

  it('a file that cannot be read is said once', () => {
    const said: string[] = [];
    let now = 0;
    const logger = { ...silentLogger, warn: (message: string) => void said.push(message) };
    const watched = new WatchedFile(
      folder(),
      (text) => text ?? 'none',
      logger,
      () => now,
    );
    for (; now < 3000; now += 1000) expect(watched.get()).toBe('none');
    expect(said).toHaveLength(1);
  });

  function system(files: { resolvConf?: string; nsswitch?: string; hosts?: string }, more = {}) {
    const dir = folder();
    const paths = { resolvConf: '', nsswitch: '', hosts: '' };
    for (const name of ['resolvConf', 'nsswitch', 'hosts'] as const) {
      paths[name] = path.join(dir, name);
      if (files[name] !== undefined) writeFileSync(paths[name], files[name]);
    }
    return systemDns({ logger: silentLogger, platform: 'linux', paths, ...more });
  }

  it('files and dns alone: relay, after the hosts file', () => {
    const dns = system({
      resolvConf: 'nameserver 127.0.0.53\n',
      nsswitch: 'hosts: files dns',
      hosts: '10.0.0.7 a.lan',
    });
    expect(dns.mode()).toBe('relay');
    expect(dns.servers()).toEqual([{ host: '127.0.0.53', port: 53 }]);
    expect(dns.hosts.addresses('a.lan')).toEqual(['10.0.0.7']);
    expect(dns.hosts.names('10.0.0.7')).toEqual(['a.lan']);
    dns.close();
  });

  it('other modules, macOS and Windows: the C library', () => {
    expect(system({ nsswitch: 'hosts: files resolve dns' }).mode()).toBe('resolver');
    expect(system({}, { platform: 'darwin' }).mode()).toBe('resolver');
    expect(system({}, { platform: 'win32' }).mode()).toBe('resolver');
    for (const server of system({}, { platform: 'win32' }).servers()) expect(server.port).toBeGreaterThan(0);
  });

  it('nothing there: as the C library does without files', () => {
    const dns = system({});
    expect(dns.mode()).toBe('relay');
    expect(dns.servers()).toEqual([{ host: '127.0.0.1', port: 53 }]);
    expect(dns.hosts.addresses('x')).toBeUndefined();
  });

  it('servers of the configuration replace the system’s', () => {
    const dns = system({ nsswitch: 'hosts: resolve' }, { servers: ['127.0.0.1#5353', 'junk', '::1'] });
    expect(dns.mode()).toBe('relay');
    expect(dns.servers()).toEqual([
      { host: '127.0.0.1', port: 5353 },
      { host: '::1', port: 53 },
    ]);
  });
});
