import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatHost, parseAuthority, parseHost } from './host.js';
import { MAX_ENTRIES, NoProxy } from './no-proxy.js';

/** The list, the destination, and the entry that matches; undefined: none. */
const TABLE: readonly (readonly [list: string, destination: string, entry: string | undefined])[] = [
  // Names: itself and what is under it.
  ['example.org', 'example.org', 'example.org'],
  ['example.org', 'www.example.org', 'example.org'],
  ['example.org', 'a.b.example.org:8080', 'example.org'],
  ['example.org', 'badexample.org', undefined],
  ['example.org', 'example.org.evil.net', undefined],
  ['example.org', 'example.com', undefined],
  ['org', 'example.org', 'org'],
  ['localhost', 'localhost', 'localhost'],
  // With a dot before it: only what is under it.
  ['.example.org', 'www.example.org', '.example.org'],
  ['.example.org', 'example.org', undefined],
  ['*.example.org', 'www.example.org', '*.example.org'],
  ['*.example.org', 'example.org', undefined],
  ['*.example.org', 'badexample.org', undefined],
  // Capitals, last dots, white space, separators.
  ['EXAMPLE.org', 'WWW.Example.ORG', 'EXAMPLE.org'],
  ['example.org.', 'www.example.org', 'example.org.'],
  ['example.org', 'example.org.', 'example.org'],
  [' a.test ,\tb.test;c.test\nd.test', 'b.test', 'b.test'],
  [' a.test ,\tb.test;c.test\nd.test', 'd.test', 'd.test'],
  [',,a.test,,', 'a.test', 'a.test'],
  ['', 'a.test', undefined],
  // Names in other scripts.
  ['bücher.example', 'xn--bcher-kva.example', 'bücher.example'],
  ['xn--bcher-kva.example', 'www.bücher.example', 'xn--bcher-kva.example'],
  // Everything, and names without dots.
  ['*', 'example.org', '*'],
  ['*', '10.0.0.1:1', '*'],
  ['*', '[::1]', '*'],
  ['<local>', 'intranet', '<local>'],
  ['<LOCAL>', 'intranet:8080', '<LOCAL>'],
  ['<local>', 'intranet.corp', undefined],
  ['<local>', '10.0.0.1', undefined],
  ['<local>', '[::1]', undefined],
  // Stars elsewhere.
  ['10.1.*', '10.1.2.3', '10.1.*'],
  ['10.1.*', '10.11.2.3', undefined],
  ['192.168.*.1', '192.168.7.1', '192.168.*.1'],
  ['*corp*', 'wiki.corp.example', '*corp*'],
  ['*corp*', 'example.org', undefined],
  ['web*.test', 'web12.test', 'web*.test'],
  ['web*.test', 'aweb12.test', undefined],
  ['a.*.test', 'axb.test', undefined],
  // Addresses and networks.
  ['10.0.0.1', '10.0.0.1:443', '10.0.0.1'],
  ['10.0.0.1', '10.0.0.2', undefined],
  ['10.0.0.0/8', '10.255.255.255', '10.0.0.0/8'],
  ['10.0.0.0/8', '11.0.0.0', undefined],
  ['10.9.9.9/8', '10.1.1.1', '10.9.9.9/8'],
  ['0.0.0.0/0', '8.8.8.8', '0.0.0.0/0'],
  ['0.0.0.0/0', 'example.org', undefined],
  ['10.0.0.0/8', '10.example.org', undefined],
  ['127.0.0.1', '127.1', '127.0.0.1'],
  ['127.0.0.0/8', '0x7f000001', '127.0.0.0/8'],
  ['127.0.0.0/8', '2130706433', '127.0.0.0/8'],
  ['127.0.0.1', '[::ffff:127.0.0.1]', '127.0.0.1'],
  ['::ffff:10.0.0.0/104', '10.1.2.3', '::ffff:10.0.0.0/104'],
  ['::1', '[::1]:80', '::1'],
  ['[::1]', '[0:0:0:0:0:0:0:1]', '[::1]'],
  ['fd00::/8', '[fdab::1]', 'fd00::/8'],
  ['[fd00::]/8', '[fdab::1]', '[fd00::]/8'],
  ['fd00::/8', '[fe80::1]', undefined],
  ['2001:DB8::/32', '[2001:db8:1::1]', '2001:DB8::/32'],
  ['::/0', '[2001:db8::1]', '::/0'],
  ['::/0', '10.0.0.1', undefined],
  // Ports.
  ['example.org:8080', 'example.org:8080', 'example.org:8080'],
  ['example.org:8080', 'www.example.org:8080', 'example.org:8080'],
  ['example.org:8080', 'example.org:80', undefined],
  ['.example.org:8080', 'www.example.org:8080', '.example.org:8080'],
  ['*:8080', 'example.org:8080', '*:8080'],
  ['*:8080', 'example.org:80', undefined],
  ['<local>:81', 'intranet:81', '<local>:81'],
  ['10.0.0.1:443', '10.0.0.1:443', '10.0.0.1:443'],
  ['10.0.0.1:443', '10.0.0.1:80', undefined],
  ['10.0.0.0/8:443', '10.1.1.1:443', '10.0.0.0/8:443'],
  ['[::1]:443', '[::1]:443', '[::1]:443'],
  ['[::1]:443', '[::1]:80', undefined],
  ['[fd00::]/8:443', '[fd00::1]:443', '[fd00::]/8:443'],
  // The first one that matches is told.
  ['b.test, a.test, test', 'x.a.test', 'a.test'],
  // What says nothing matches nothing, and does no harm to the rest.
  ['http://a.test, a.test', 'a.test', 'a.test'],
];

const NONSENSE = [
  'http://a.test',
  'a..test',
  '10.0.0.0/33',
  'fd00::/129',
  'a.test:0',
  'a.test:70000',
  '.',
  'a_b!.test',
  '[::1',
  '<locals>',
  'a*b*c*d*e*f',
  'example.org/8',
];

describe('NO_PROXY', () => {
  it.each(TABLE)('"%s" and %s: %s', (list, destination, entry) => {
    const { host, port = 80 } = parseAuthority(destination)!;
    expect(new NoProxy(list).explain(host, port)).toBe(entry);
  });

  it.each(NONSENSE)('tells that "%s" says nothing', (text) => {
    const list = new NoProxy([text, 'b.test']);
    expect(list.invalid).toEqual([text]);
    expect(list.matches(parseHost('b.test')!, 80)).toBe(true);
  });

  it('takes several lists, and no more entries than it can look at', () => {
    expect(new NoProxy(['a.test', 'b.test c.test']).matches(parseHost('c.test')!, 80)).toBe(true);
    const many = new NoProxy([...new Array<string>(MAX_ENTRIES).fill('a.test'), 'last.test']);
    expect(many.invalid).toEqual(['last.test']);
    expect(many.matches(parseHost('last.test')!, 80)).toBe(false);
  });

  it('takes any text without harm, and says the same of every spelling of a host', () => {
    fc.assert(
      fc.property(fc.string(), fc.domain(), fc.integer({ min: 1, max: 65_535 }), (list, name, port) => {
        const parsed = new NoProxy(list);
        const spellings = [name, name.toUpperCase(), `${name}.`].map((text) => parseHost(text)!);
        const [first, ...others] = spellings.map((host) => parsed.explain(host, port));
        for (const other of others) expect(other).toBe(first);
        expect(new NoProxy(name).matches(spellings[1]!, port)).toBe(true);
      }),
    );
  });

  it('knows an address in its networks, and none beside them', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 1, max: 32 }), (text, prefix) => {
        const host = parseHost(text)!;
        expect(new NoProxy(`${text}/${prefix}`).matches(host, 80)).toBe(true);
        const other = host.kind === 'ipv4' ? (host.ip ^ (1 << (32 - prefix))) >>> 0 : 0;
        expect(new NoProxy(`${text}/${prefix}`).matches(parseHost(String(other))!, 80)).toBe(false);
      }),
    );
  });
});

describe('hosts', () => {
  it.each([
    ['Example.ORG.', 'example.org'],
    ['127.1', '127.0.0.1'],
    ['0177.0.0.1', '127.0.0.1'],
    ['017700000001', '127.0.0.1'],
    ['[::FFFF:7f00:1]', '127.0.0.1'],
    ['[2001:DB8:0:0::1]', '[2001:db8::1]'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['under_score.example', 'under_score.example'],
  ])('%s is %s', (text, host) => expect(formatHost(parseHost(text)!)).toBe(host));

  it.each([
    '',
    '.',
    'a b',
    'a..b',
    'a/b',
    'a@b',
    '1.2.3.4.5',
    '256.1.1.1',
    '[::1',
    '::g',
    '[fe80::1%1]',
    '[1.2.3.4]',
    'a%00',
  ])('"%s" is none', (text) => expect(parseHost(text)).toBeUndefined());

  it.each([
    ['a.test:80', 'a.test', 80],
    ['a.test', 'a.test', undefined],
    ['[::1]:8080', '[::1]', 8080],
  ])('%s has host and port', (text, host, port) => {
    const parsed = parseAuthority(text)!;
    expect([formatHost(parsed.host), parsed.port]).toEqual([host, port]);
  });

  it.each([':80', 'a.test:', 'a.test:0', 'a.test:65536', '::1:80:', 'a:b:c', 'a.test:+1'])(
    '"%s" is no authority',
    (text) => expect(parseAuthority(text)).toBeUndefined(),
  );
});
