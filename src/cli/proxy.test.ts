/** `netproxy proxy`, against a netproxy whose control API is on a real socket. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ApiLab, apiLab } from '../api/api.testutil.js';
import { netproxy } from './cli.testutil.js';

let api: ApiLab;
beforeEach(async () => {
  api = await apiLab();
});
afterEach(() => api[Symbol.asyncDispose]());

const ask = (command: string, ...args: string[]) =>
  netproxy('proxy', ...command.split(' '), '--api', api.address, ...args);

describe('netproxy proxy', () => {
  it('shows, sets, changes, explains and clears; credentials are taken and not given', async () => {
    expect((await ask('show')).out).toBe(
      'settings:    no settings\nhttp:        direct\nhttps:       direct\n',
    );
    const set = await ask('set http://me:secret@a.test:1 b.test:2 --exclude .corp,10.0.0.0/8');
    expect(set).toMatchObject({ code: 0, err: '' });
    expect(set.out).toContain(
      'settings:    the control API\nhttp:        http://a.test:1, http://b.test:2\n',
    );
    expect(set.out).toContain('past them:   .corp 10.0.0.0/8\n');
    expect(set.out).toMatch(/^UPSTREAM +STATE +CONNECTIONS .*\nhttp:\/\/a\.test:1 +up +0 +0 +0 +- +-$/m);
    expect(set.out).not.toContain('secret');
    expect((await ask('explain https://www.corp/x?y')).out).toBe(
      'https://www.corp/\n  direct\n  ".corp" goes past the proxy (the control API)\n',
    );
    const kept = await ask('set --keep --https socks5h://c.test --json');
    expect(JSON.parse(kept.out)).toMatchObject({
      source: 'api',
      http: ['http://a.test:1', 'http://b.test:2'],
      https: ['socks5h://c.test:1080'],
      noProxy: ['.corp', '10.0.0.0/8'],
    });
    expect(JSON.parse((await ask('explain wss://example.org:444 --json')).out)).toEqual({
      url: 'https://example.org:444/',
      source: 'api',
      upstreams: ['socks5h://c.test:1080'],
      why: 'the proxy for https of the control API',
    });
    expect(await ask('clear')).toEqual({ code: 0, out: 'cleared; now: no settings\n', err: '' });
    expect(await ask('clear')).toMatchObject({
      code: 1,
      err: expect.stringContaining('no proxy was set') as string,
    });
    expect((await ask('explain example.org:443')).out).toContain('no upstream proxy for https');
  });

  it('asks a proxy auto-config file', async () => {
    const script =
      'function FindProxyForURL(url, host) { return host === "a.test" ? "PROXY p.test:1; DIRECT" : 7; }';
    expect((await ask('set', '--pac', `data:,${encodeURIComponent(script)}`)).out).toMatch(
      /^pac: +data:,.*…: not read$/m,
    );
    expect((await ask('explain a.test:80')).out).toContain('http://p.test:1, then direct');
    expect((await ask('explain b.test:80')).out).toContain('does not work: its answer is no text');
    expect((await ask('show')).out).toMatch(/^pac: +data:,.*…: fails: its answer is no text$/m);
  });

  it.each([
    ['set', 'proxy set needs an upstream'],
    ['set ftp://a.test', 'set: "ftp://a.test" is no HTTP proxy'],
    ['set a.test --exclude a..b', '--exclude: "a..b" is not allowed'],
    ['set --pac gopher://x', '--pac: "gopher://x" is no proxy auto-config file'],
    ['explain ftp://a.test', 'no URL that a proxy serves'],
  ])('%s is refused', async (command, words) => {
    const { code, err } = await ask(command);
    expect(code).toBe(2);
    expect(err).toContain(words);
  });
});
