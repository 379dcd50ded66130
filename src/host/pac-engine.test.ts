/** Proxy auto-config scripts: what they may call, and what they cannot do. */
import { afterEach, describe, expect, it } from 'vitest';
import { MAX_NAMES, MAX_WAITING, PacEngine, type PacEngineDeps } from './pac-engine.js';

const open: PacEngine[] = [];
afterEach(() => {
  for (const engine of open.splice(0)) engine.close();
});

const NAMES: Readonly<Record<string, readonly string[]>> = {
  'www.corp.test': ['10.1.2.3'],
  'two.corp.test': ['fd00::5', '10.9.9.9', '10.9.9.10'],
  'six.corp.test': ['fd00::5'],
};

function engine(script: string, deps: Partial<PacEngineDeps> = {}): PacEngine {
  const made = new PacEngine(script, {
    resolve: (name) => Promise.resolve(NAMES[name] ?? []),
    ownAddresses: () => Promise.resolve(['192.168.7.5', 'fd00::7']),
    alert: () => undefined,
    ...deps,
  });
  open.push(made);
  return made;
}

/** A script that answers with the value of an expression. */
const answering = (expression: string): string =>
  `function FindProxyForURL(url, host) { return String(${expression}); }`;

/** Wednesday, 24 December 2025, 16:30:15, of the sandbox's own zone and of UTC. */
const AT = `const Real = Date; Date = class extends Real { constructor(...a) { super(...(a.length ? a : [2025, 11, 24, 16, 30, 15])); }
  getUTCHours() { return this.getHours(); } getUTCDay() { return this.getDay(); } getUTCDate() { return this.getDate(); }
  getUTCMonth() { return this.getMonth(); } getUTCFullYear() { return this.getFullYear(); }
  getUTCMinutes() { return this.getMinutes(); } getUTCSeconds() { return this.getSeconds(); } };`;

const TRUE = [
  'isPlainHostName("www")',
  'dnsDomainIs("www.corp.test", ".corp.test")',
  'dnsDomainIs("WWW.Corp.Test", ".corp.test")',
  'localHostOrDomainIs("www", "www.corp.test")',
  'localHostOrDomainIs("www.corp.test", "www.corp.test")',
  'isResolvable("www.corp.test")',
  'isResolvableEx("six.corp.test")',
  'isInNet("www.corp.test", "10.1.0.0", "255.255.0.0")',
  'isInNet("10.1.2.3", "10.1.2.3", "255.255.255.255")',
  'isInNet("200.1.2.3", "200.0.0.0", "255.0.0.0")',
  'isInNetEx("www.corp.test", "10.0.0.0/8")',
  'isInNetEx("six.corp.test", "fd00::/8")',
  'isInNetEx("::ffff:10.0.0.1", "::ffff:10.0.0.0/104")',
  'isInNetEx("fd00::5", "fd00:0:0:0:0:0:0:5/128")',
  'dnsResolve("two.corp.test") === "10.9.9.9"',
  'dnsResolve("six.corp.test") === null',
  'dnsResolveEx("two.corp.test") === "fd00::5;10.9.9.9;10.9.9.10"',
  'dnsResolveEx("none.test") === ""',
  'myIpAddress() === "192.168.7.5"',
  'myIpAddressEx() === "192.168.7.5;fd00::7"',
  'sortIpAddressList("10.2.3.9;2001:4898:28:3::1;10.2.3.8") === "2001:4898:28:3::1;10.2.3.8;10.2.3.9"',
  'sortIpAddressList("10.2.3.9;x") === ""',
  'getClientVersion() === "1.0"',
  'dnsDomainLevels("www.corp.test") === 2',
  'dnsDomainLevels("www") === 0',
  'shExpMatch("http://a.test/b/c", "*/b/*")',
  'shExpMatch("a.test", "?.t??t")',
  'shExpMatch("a.b", "*")',
  'shExpMatch("a+b(c", "a+b(c")',
  'weekdayRange("WED")',
  'weekdayRange("MON", "FRI")',
  'weekdayRange("SAT", "THU")',
  'weekdayRange("WED", "GMT")',
  'weekdayRange("mon", "fri", "GMT")',
  'dateRange(24)',
  'dateRange(20, 24)',
  'dateRange(24, "DEC")',
  'dateRange("DEC", 24)',
  'dateRange(24, "DEC", 2025)',
  'dateRange("OCT", "DEC")',
  'dateRange("NOV", "JAN")',
  'dateRange(2025)',
  'dateRange(2024, 2025)',
  'dateRange(1, "DEC", 5, "JAN")',
  'dateRange("OCT", 2025, "MAR", 2026)',
  'dateRange(24, "DEC", 2025, 1, "JAN", 2026)',
  'dateRange("DEC", "GMT")',
  'timeRange(16)',
  'timeRange(9, 16)',
  'timeRange(22, 16)',
  'timeRange(16, 30, 16, 30)',
  'timeRange(16, 30, 15, 16, 30, 15)',
  'timeRange(16, "GMT")',
  'typeof require === "undefined" && typeof process === "undefined" && typeof fetch === "undefined"',
];

const FALSE = [
  'isPlainHostName("www.corp.test")',
  'isPlainHostName("fd00::5")',
  'dnsDomainIs("corp.test", ".corp.test")',
  'localHostOrDomainIs("www.other.test", "www.corp.test")',
  'isResolvable("none.test")',
  'isInNet("none.test", "0.0.0.0", "0.0.0.0")',
  'isInNet("www.corp.test", "10.2.0.0", "255.255.0.0")',
  'isInNet("10.1.2.3", "10.1", "255.0.0.0")',
  'isInNetEx("www.corp.test", "fd00::/8")',
  'isInNetEx("www.corp.test", "10.0.0.0/33")',
  'isInNetEx("www.corp.test", "10.0.0.0")',
  'isInNetEx("fd00::5::1", "fd00::/8")',
  'shExpMatch("a.test", "b*")',
  'shExpMatch("a.test", "a?test?")',
  'shExpMatch("axtest", "a.test")',
  'weekdayRange("THU")',
  'weekdayRange("THU", "TUE")',
  'weekdayRange("nonsense")',
  'dateRange()',
  'dateRange("nonsense")',
  'dateRange(25)',
  'dateRange("JAN", "NOV")',
  'dateRange(24, "DEC", 2024)',
  'dateRange(2026, 2027)',
  'dateRange("JAN", 2025, "NOV", 2025)',
  'timeRange(17)',
  'timeRange(17, 15)',
  'timeRange(16, 31, 16, 29)',
  'timeRange(1, 2, 3)',
  'timeRange("x")',
];

describe('the functions of a script', () => {
  it.each([
    ['true', TRUE],
    ['false', FALSE],
  ] as const)('are %s where they should be', async (value, expressions) => {
    const script = `${AT} const all = [${expressions.map((one) => `() => ${one}`).join(',\n')}];
      function FindProxyForURL(url) { return String(all[Number(url)]()); }`;
    const asked = engine(script);
    for (const [i, expression] of expressions.entries())
      expect([expression, await asked.find(String(i), 'x')]).toEqual([expression, value]);
  });

  it('get the URL and the host; what is defined last counts, in the language of today', async () => {
    const script = `const rules = new Map([['a.test', { via: 'PROXY p:1' }]]);
      function FindProxyForURL(url, host) { return rules.get(host)?.via ?? \`DIRECT; \${url}\`; }`;
    const asked = engine(script);
    expect(await asked.find('http://a.test/', 'a.test')).toBe('PROXY p:1');
    expect(await asked.find('http://b.test/', 'b.test')).toBe('DIRECT; http://b.test/');
    expect(await engine('function FindProxyForURLEx() { return "DIRECT" }').find('', '')).toBe('DIRECT');
    expect(await engine('function FindProxyForURL() {}').find('', '')).toBe('');
  });

  it('ask for many names without holding up other questions', async () => {
    let release: (() => void) | undefined;
    const slow = new Promise<void>((resolve) => (release = resolve));
    const script = `function FindProxyForURL(url, host) { try { return host + dnsResolve(host); } catch { return 'caught'; } }`;
    const asked = engine(script, {
      resolve: async (name) => {
        if (name === 'slow.test') await slow;
        return [`10.0.0.${name.length}`];
      },
    });
    const first = asked.find('', 'slow.test');
    expect(await asked.find('', 'fast.test')).toBe('fast.test10.0.0.9');
    release?.();
    expect(await first).toBe('slow.test10.0.0.9');
    // Names that would be something else in an object of JavaScript.
    expect(await asked.find('', 'constructor')).toBe('constructor10.0.0.11');
    expect(await asked.find('', '__proto__')).toBe('__proto__10.0.0.9');
  });

  it('tell what alert says', async () => {
    const said: string[] = [];
    const script = 'function FindProxyForURL() { alert("a".repeat(500)); return ""; }';
    await engine(script, { alert: (text) => void said.push(text) }).find('', '');
    expect(said).toEqual(['a'.repeat(200)]);
  });
});

describe('a script that does not work', () => {
  it.each([
    ['throws', answering('nothing.there'), 'script', 'nothing'],
    ['is no JavaScript', 'function {', 'script', 'SyntaxError'],
    ['has no function', 'const a = 1;', 'script', 'no function FindProxyForURL'],
    ['answers with something else', 'function FindProxyForURL() { return 7 }', 'script', 'no text'],
    ['loops', answering('(() => { for (;;); })()'), 'time', 'interrupted'],
    ['loops while it is read', 'for (;;);', 'time', 'interrupted'],
    ['catches everything', answering('(() => { for (;;) try { for (;;); } catch {} })()'), 'time', ''],
    ['has a regular expression that explodes', answering('/(a+)+$/.test("a".repeat(50) + "b")'), 'time', ''],
    [
      'takes memory',
      answering('(() => { for (let a = [];;) a.push(Array(10000).fill(1)); })()'),
      'memory',
      '',
    ],
    [
      'asks for too many names',
      answering('[...Array(50).keys()].map((i) => dnsResolve(i + ".test"))'),
      'time',
      `${MAX_NAMES} names`,
    ],
  ])('%s', async (_what, script, kind, words) => {
    const asked = engine(script, { cpu: kind === 'time' ? 300 : 20_000 });
    await expect(asked.find('http://x/', 'x')).rejects.toMatchObject({
      kind,
      message: expect.stringContaining(words) as string,
    });
  });

  it('is ended where the engine cannot stop it, and started again, later each time', async () => {
    const script = `function FindProxyForURL(url) {
      if (url === 'good') return 'DIRECT';
      return String([1].sort.call({ length: 2 ** 53 - 1 }, () => 0));
    }`;
    const asked = engine(script, { patience: 1000 });
    expect(await asked.find('good', '')).toBe('DIRECT');
    const [bad, behind] = await Promise.allSettled([asked.find('bad', ''), asked.find('good', '')]);
    expect(bad).toMatchObject({ status: 'rejected', reason: { kind: 'time' } });
    expect(behind).toMatchObject({ status: 'rejected', reason: { kind: 'ended' } });
    expect(asked.ended).toBe(1);
    await expect
      .poll(() => asked.find('good', '').catch(() => 'not yet'), { timeout: 60_000, interval: 200 })
      .toBe('DIRECT');
  }, 90_000);

  it('has only so many questions waiting, and none when it was closed', async () => {
    const asked = engine(answering('1'));
    const all = Array.from({ length: MAX_WAITING + 1 }, () => asked.find('', ''));
    await expect(all.at(-1)).rejects.toMatchObject({ kind: 'busy' });
    expect(await all[0]).toBe('1');
    await Promise.all(all.slice(0, -1));
    asked.close();
    await expect(asked.find('', '')).rejects.toMatchObject({ kind: 'ended' });
    expect(asked.ended).toBe(0);
  });
});
