/** `netproxy policy …` against a netproxy whose control API is on a real socket. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ApiLab, apiLab } from '../api/api.testutil.js';
import { FakeTerminal, netproxy } from './cli.testutil.js';
import { log } from './policy.js';

let api: ApiLab;
beforeEach(async () => {
  api = await apiLab();
});
afterEach(() => api[Symbol.asyncDispose]());

const policy = (...args: string[]) => netproxy('policy', ...args, '--api', api.address);

describe('netproxy policy', () => {
  it('adds rules, lists and removes them', async () => {
    expect(await policy('allow', 'tcp:*.example.com:443', 'dns:any')).toEqual({
      code: 0,
      out: 'allow tcp:*.example.com:443 (id 1)\nallow dns:any (id 2)\n',
      err: '',
    });
    expect((await policy('deny', '10.0.0.0/8', '--before', '2')).out).toBe('deny 10.0.0.0/8 (id 3)\n');
    expect((await policy('redirect', 'tcp:203.0.113.7:80', 'host:8080', '--first')).out).toBe(
      'redirect tcp:203.0.113.7:80 to host:8080 (id 4)\n',
    );
    expect((await policy('default', 'deny', '--end')).out).toBe('default: deny\n');
    expect((await policy('list')).out.split('\n').map((line) => line.trim().split(/\s{2,}/))).toEqual([
      ['ID', 'RULE', 'DECIDED'],
      ['4', 'redirect tcp:203.0.113.7:80 to host:8080', '0'],
      ['1', 'allow tcp:*.example.com:443', '0'],
      ['3', 'deny 10.0.0.0/8', '0'],
      ['2', 'allow dns:any', '0'],
      ['-', 'default: deny', '0'],
      [''],
    ]);
    expect((await policy('remove', '4', '3', '--end')).out).toBe('removed rule 4\nremoved rule 3\n');
    expect(await policy('remove', '4')).toMatchObject({ code: 1, err: 'netproxy: there is no rule 4.\n' });
  });

  it.each([
    [['allow', 'tcp:nonsense'], 'bad policy rule "tcp:nonsense"'],
    [['redirect', 'icmp:any', 'host'], 'only tcp and udp are redirected'],
    [['remove', 'x'], 'is not allowed'],
    [['default', 'maybe'], 'default: "maybe" is not allowed'],
    [['log', '--tell', 'most'], '--tell: "most" is not allowed'],
  ])('%j is refused', async (args, words) => {
    const { code, err } = await policy(...args);
    expect(code).toBe(2);
    expect(err).toContain(words);
  });

  it('prints the audit log, and goes on', async () => {
    await policy('deny', 'tcp:any:25');
    const { lab } = api;
    await lab.run(lab.guest.connect('198.51.100.1', 25).catch(() => undefined));
    expect((await policy('log')).out).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} denied tcp 192\.168\.127\.2:\d+ to 198\.51\.100\.1:25 of guest1 by "deny tcp:any:25" \(decision 1\)\n$/,
    );
    expect((await policy('log', '--guest', 'other')).out).toBe('');
    expect((await policy('log', '--tell', 'all')).code).toBe(0);
    lab.host.accept('*', (socket) => socket.end());
    const terminal = new FakeTerminal();
    const following = log({ api: api.address, follow: true, json: true }, terminal);
    // The first decision is there: it reads the list, so the stream is open.
    for (let n = 0; n < 500 && terminal.stdout === ''; n++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    await lab.run(lab.guest.connect('198.51.100.1', 80));
    for (let n = 0; n < 500 && terminal.stdout.split('\n').length < 3; n++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    api.api.close();
    expect(await following).toBe(0);
    const lines = terminal.stdout.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { id: 1, verdict: 'deny', port: 25 },
      { id: 2, verdict: 'allow', port: 80, rule: 'default' },
    ]);
  });

  it('answers for flows that wait', async () => {
    await policy('ask', 'tcp:any:443');
    const { lab } = api;
    lab.host.accept('*', (socket) => socket.end());
    const waiting = lab.guest.connect('198.51.100.1', 443, { timeout: 25_000 });
    await lab.clock.advance(100);
    const [, line = ''] = (await policy('asks')).out.split('\n');
    expect(line).toMatch(/^ *1 +guest1 +tcp +192\.168\.127\.2:\d+ +198\.51\.100\.1:443 +ask tcp:any:443$/);
    expect((await policy('answer', 'allow', '1', '--remember')).out).toBe('question 1: allow\n');
    await lab.run(waiting);
    expect(await policy('answer', 'allow', '1')).toMatchObject({ code: 1 });
    expect((await policy('list')).out).toContain('allow tcp:198.51.100.1:443@guest1');
    expect((await policy('asks')).out).toBe('');
    expect(await policy('answer', 'maybe', '1')).toMatchObject({ code: 2 });
  });

  it('writes the rules that flows needed', async () => {
    const { lab } = api;
    lab.host.accept('*', (socket) => socket.end());
    expect(await policy('learn')).toEqual({
      code: 0,
      out: '',
      err: 'netproxy looks at all flows from now on; ask again later.\n',
    });
    await lab.run(lab.guest.connect('198.51.100.1', 443));
    expect(await policy('learn')).toEqual({
      code: 0,
      out: 'policy:\n  default: deny\n  rules:\n    - allow tcp:198.51.100.1:443\n',
      err: '',
    });
  });
});
