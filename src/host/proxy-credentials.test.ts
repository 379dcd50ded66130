/** Credentials from a command and from the environment. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Logger } from '../core/index.js';
import { type ProxyUpstream, parseUpstream } from '../httpproxy/index.js';
import { ProxyCredentials, parseOutput } from './proxy-credentials.js';

const PROXY = parseUpstream('http://proxy.test:3128') as ProxyUpstream;

describe('what a command prints', () => {
  it.each([
    ['me:secret\n', { user: 'me', password: 'secret' }],
    ['me:se:cret\r\nmore\n', { user: 'me', password: 'se:cret' }],
    ['protocol=http\nhost=x\nusername=me\npassword=a=b\n', { user: 'me', password: 'a=b' }],
    ['username=me\n', { user: 'me', password: '' }],
    ['', undefined],
    ['nothing', undefined],
    [':secret', undefined],
  ])('%j', (text, expected) => {
    expect(parseOutput(text)).toEqual(expected);
  });
});

describe('credentials', () => {
  let folder: string;
  let now = 0;
  const lines: string[] = [];
  const note = (message: string): void => void lines.push(message);
  const logger: Logger = { debug: note, info: note, warn: note, error: note };

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'netproxy-credentials-'));
    lines.length = 0;
    now = 0;
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });
  const made = (command: string): ProxyCredentials =>
    new ProxyCredentials(command, undefined, logger, () => now);

  it('of a command are asked for once, and again when they are refused, but not too often', async () => {
    const secret = path.join(folder, 'secret');
    const asked = path.join(folder, 'asked');
    writeFileSync(secret, 'me:one');
    const command = `cat >> '${asked}'; echo "$NETPROXY_PROXY" >> '${asked}'; cat '${secret}'`;
    const credentials = made(command);
    expect(credentials.source).toBe('command');
    const all = await Promise.all([credentials.of(PROXY), credentials.of(PROXY)]);
    const one = { user: 'me', password: 'one' };
    expect(all).toEqual([one, one]);
    expect(readFileSync(asked, 'utf8')).toBe(
      'protocol=http\nhost=proxy.test:3128\n\nhttp://proxy.test:3128\n',
    );
    writeFileSync(secret, 'me:two');
    const used = { ...PROXY, credentials: one };
    expect(await credentials.refused(used)).toBe(false);
    now = 5000;
    expect(await credentials.refused(used)).toBe(true);
    // The other request that was refused meanwhile.
    expect(await credentials.refused(used)).toBe(true);
    expect(await credentials.of(PROXY)).toEqual({ user: 'me', password: 'two' });
    now = 20_000;
    expect(await credentials.refused({ ...PROXY, credentials: { user: 'me', password: 'two' } })).toBe(false);
    expect(lines.join('\n')).toBe('');
  });

  it.each([
    ['exit 3', 'code 3'],
    ['kill -9 $$', 'SIGKILL'],
    ['echo me-secret', 'printed none'],
    ['head -c 1000000 /dev/zero', /SIGKILL|printed none/],
    ['/nowhere/helper', 'code 127'],
  ])('are missing after "%s", and its output is not told', async (command, words) => {
    await expect(made(`echo topsecret >&2; ${command}`).of(PROXY)).rejects.toThrow(words);
    expect(lines.join('\n')).toMatch(words);
    expect(lines.join('\n')).not.toContain('secret');
  });

  it('of the environment are the same for all', async () => {
    const credentials = new ProxyCredentials(undefined, 'me:secret', logger);
    expect(credentials.source).toBe('environment');
    expect(await credentials.of(PROXY)).toEqual({ user: 'me', password: 'secret' });
    expect(await credentials.refused(PROXY)).toBe(false);
    const none = new ProxyCredentials(undefined, undefined, logger);
    expect([none.source, await none.of(PROXY)]).toEqual([undefined, undefined]);
  });
});
