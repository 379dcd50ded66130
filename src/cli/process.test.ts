import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Lifecycle, isIgnored } from './lifecycle.js';
import { writePidFile } from './pid-file.js';
import { inForeground, runConfig } from './run.js';
import { checkServe, namespacePath } from './serve.js';
import { tellReady } from './ready.js';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'np-cli-'));
});
afterAll(() => {
  rmSync(dir, { recursive: true });
});

describe('pid file', () => {
  it('is written whole, and removed', () => {
    const file = path.join(dir, 'a.pid');
    writeFileSync(file, 'old\n');
    const remove = writePidFile(file, 4711);
    expect(readFileSync(file, 'utf8')).toBe('4711\n');
    expect(existsSync(`${file}.4711.tmp`)).toBe(false);
    remove();
    expect(existsSync(file)).toBe(false);
    remove();
  });

  it('of another process stays', () => {
    const file = path.join(dir, 'b.pid');
    const remove = writePidFile(file, 4711);
    writeFileSync(file, '4712\n');
    remove();
    expect(readFileSync(file, 'utf8')).toBe('4712\n');
  });

  it('that cannot be written is an error', () => {
    expect(() => writePidFile(path.join(dir, 'none', 'c.pid'))).toThrow(/cannot write the pid file .*ENOENT/);
  });
});

describe('signals', () => {
  it('knows what was ignored at the start', () => {
    // SIGHUP is 1, SIGINT 2.
    expect(isIgnored('SIGHUP', 'SigBlk:\t0\nSigIgn:\t0000000000001001\n')).toBe(true);
    expect(isIgnored('SIGINT', 'SigIgn:\t0000000000001001\n')).toBe(false);
    expect(isIgnored('SIGHUP', '')).toBe(false);
  });

  it('ends once, for the first reason', async () => {
    const before = process.listenerCount('SIGTERM');
    const life = new Lifecycle();
    life.watchParent();
    life.end('one');
    life.end('two');
    expect(await life.ended).toBe('one');
    life.close();
    expect(process.listenerCount('SIGTERM')).toBe(before);
  });

  it('ends by a signal', async () => {
    const life = new Lifecycle();
    process.emit('SIGTERM');
    expect(await life.ended).toBe('SIGTERM');
    life.close();
  });

  it('tells whether the terminal sends its keys to us', () => {
    // pid (comm) state ppid pgrp session tty tpgid
    expect(inForeground('12 (a b) c) S 1 12 12 34816 12 4194304')).toBe(true);
    expect(inForeground('12 (node) S 1 12 12 34816 99 4194304')).toBe(false);
    expect(inForeground('12 (node) S 1 12 12 0 -1 4194304')).toBe(false);
  });
});

describe('checks before the start', () => {
  it('run has its own defaults', () => {
    expect(runConfig({ version: 1 })).toEqual({ version: 1, hostAlias: 'off', mtu: 65520 });
    expect(runConfig({ version: 1, hostAlias: 'on', mtu: 1500 })).toMatchObject({
      hostAlias: 'on',
      mtu: 1500,
    });
    expect(() => runConfig({ version: 1, links: [], pidFile: 'x' })).toThrow(
      'netproxy run has no use for links, pidFile',
    );
  });

  it('serve wants a link or the control API', () => {
    expect(() => {
      checkServe({ version: 1 });
    }).toThrow('there is no link');
    checkServe({ version: 1, services: 'unix:/x' });
    expect(() => {
      checkServe({ version: 1, links: [{ kind: 'stdio' }], guestMac: '52:54:00:00:00:01' });
    }).toThrow('--mac needs --guest-ip');
    checkServe({
      version: 1,
      links: [{ kind: 'qemu', address: '/x' }],
      guestMac: '52:54:00:00:00:01',
      guestIp: '10.0.0.2',
    });
  });

  it('namespaces are names or paths', () => {
    expect(namespacePath('/proc/self/ns/net')).toBe('/proc/self/ns/net');
    expect(() => namespacePath('no-such-namespace')).toThrow(
      'cannot enter the network namespace no-such-namespace: it does not exist',
    );
  });

  it('a descriptor that is not open cannot be told', () => {
    expect(() => {
      tellReady(987_654, {});
    }).toThrow('--ready-fd: cannot write to descriptor 987654: it is not open for writing');
  });
});
