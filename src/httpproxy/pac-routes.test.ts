/** Answers of proxy auto-config files: their grammar, how long they hold, and what holds without them. */
import { describe, expect, it } from 'vitest';
import { parseHost } from './host.js';
import { parsePacResult } from './pac-result.js';
import { ANSWER_MILLIS, FAILURE_MILLIS, MAX_ANSWERS, type PacFailure, PacRoutes } from './pac-routes.js';
import { parseUpstream } from './upstream.js';

describe('an answer', () => {
  it.each([
    ['DIRECT', ['direct']],
    ['', ['direct']],
    [' ; ;', ['direct']],
    ['PROXY a.test:3128', ['http://a.test:3128']],
    ['proxy a.test', ['http://a.test:80']],
    ['HTTP a:1', ['http://a:1']],
    ['HTTPS a.test', ['https://a.test:443']],
    ['SOCKS a:1', ['socks5h://a:1']],
    ['SOCKS5 [fd00::1]', ['socks5h://[fd00::1]:1080']],
    ['PROXY a:1;PROXY b:2 ; DIRECT;', ['http://a:1', 'http://b:2', 'direct']],
    ['SOCKS4 a:1; DIRECT', ['direct'], ['SOCKS4 a:1']],
    ['PROXY a:99999; PROXY; DIRECT x; PROXY b:1', ['http://b:1'], ['PROXY a:99999', 'PROXY', 'DIRECT x']],
    ['PROXY me:secret@a:1; DIRECT', ['direct'], ['PROXY me:secret@a:1']],
    ['constructor a:1', undefined],
    ['nonsense', undefined],
  ])('%j', (text, names, unknown = []) => {
    const result = parsePacResult(text);
    expect(result?.upstreams.map(({ name }) => name)).toEqual(names);
    if (result !== undefined) expect(result.unknown).toEqual(unknown);
  });
});

describe('routes', () => {
  function made(answer: (url: string, host: string) => string, failure: PacFailure = 'direct') {
    const state = { now: 0 };
    const asked: string[] = [];
    const said: string[] = [];
    const routes = new PacRoutes('the file', failure, {
      now: () => state.now,
      evaluate: async (url, host) => {
        asked.push(url);
        await Promise.resolve();
        return answer(url, host);
      },
      complain: (message) => void said.push(message),
    });
    const find = async (name: string, port = 80, behind: readonly string[] = []) => {
      const query = { scheme: port === 443 ? 'https' : 'http', host: parseHost(name)!, port } as const;
      return (await routes.find(query, behind.map(parseUpstream))).upstreams.map((one) => one.name);
    };
    return { state, asked, said, routes, find };
  }

  it('are asked for by scheme, host and port, once in a while', async () => {
    const { state, asked, routes, find } = made((_url, host) => `PROXY ${host}:1`);
    expect(await Promise.all([find('a.test'), find('A.test.'), find('a.test', 443)])).toEqual([
      ['http://a.test:1'],
      ['http://a.test:1'],
      ['http://a.test:1'],
    ]);
    await find('a.test', 8080);
    expect(asked).toEqual(['http://a.test/', 'https://a.test/', 'http://a.test:8080/']);
    state.now = ANSWER_MILLIS - 1;
    await find('a.test');
    expect(asked).toHaveLength(3);
    state.now = ANSWER_MILLIS;
    await find('a.test');
    expect(asked).toHaveLength(4);
    routes.clear();
    await find('a.test');
    expect(asked).toHaveLength(5);
    expect(routes.counters).toEqual({ asked: 5, kept: 2, failed: 0 });
  });

  it('are kept for so many places only', async () => {
    const { asked, find } = made(() => 'DIRECT');
    for (let i = 0; i <= MAX_ANSWERS; i++) await find(`h${i}.test`);
    await find('h1.test');
    expect(asked).toHaveLength(MAX_ANSWERS + 1);
    await find('h0.test');
    expect(asked).toHaveLength(MAX_ANSWERS + 2);
  });

  it('without an answer are those behind it, or straight, or none, and it is asked again soon', async () => {
    const fails = (): string => {
      throw new Error('no way');
    };
    const { state, asked, said, find } = made(fails);
    expect(await find('a.test', 80, ['http://b:1'])).toEqual(['http://b:1']);
    expect(await find('a.test')).toEqual(['direct']);
    expect(asked).toHaveLength(1);
    state.now = FAILURE_MILLIS;
    await find('a.test');
    expect(asked).toHaveLength(2);
    expect(said[0]).toBe('the file does not work: no way');
    await expect(made(fails, 'deny').find('a.test')).rejects.toMatchObject({ status: 503 });
    await expect(made(() => 'nonsense', 'deny').find('a.test')).rejects.toThrow('it answers "nonsense"');
  });
});
