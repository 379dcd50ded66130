import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rcode, RecordType, buildAnswer, parseQuery, type AnswerParts } from './index.js';
import { decode, query, records } from './dns.testutil.js';
import { MAX_CHAIN, MAX_RECORDS, MAX_REGEXPS, MAX_ZONES, Zones, type ZoneConfig } from './zones.js';

const CORP: ZoneConfig = {
  name: 'corp.example.',
  ttl: 30,
  records: [
    { name: '@', type: 'A', value: '10.0.0.1' },
    { name: '@', type: 'MX', value: ['10 mail.corp.example', '20 mx.else.example.'] },
    { name: 'www', type: 'A', value: ['10.0.0.2', '10.0.0.3'], ttl: 5 },
    { name: 'WWW', type: 'AAAA', value: 'fd00::2' },
    { name: 'alias', type: 'CNAME', value: 'www.corp.example' },
    { name: 'far', type: 'CNAME', value: 'www.example.org.' },
    { name: 'dangling', type: 'CNAME', value: 'nothing.corp.example' },
    { name: 'loop', type: 'CNAME', value: 'pool.corp.example' },
    { name: 'pool', type: 'CNAME', value: 'loop.corp.example' },
    { name: '_db._tcp', type: 'SRV', value: '0 5 5432 db.corp.example' },
    { name: 'text', type: 'TXT', value: ['v=1', 'x'.repeat(300)] },
    { name: '*.apps', type: 'A', value: '10.0.0.9' },
    { name: 'known.apps', type: 'TXT', value: 'known' },
    { name: '*.wild', type: 'CNAME', value: 'www.corp.example' },
    { regexp: '^node-[0-9]+$', type: 'A', value: '10.0.1.1' },
    { regexp: '^node-[0-9]+$', type: 'TXT', value: 'a node' },
    { name: 'node-7', type: 'A', value: '10.0.1.7' },
    { name: 'below.corp.example.', type: 'A', value: '10.0.0.8' },
  ],
};
const LAB: ZoneConfig = {
  name: 'lab.corp.example',
  defaultIp: '10.9.9.9',
  records: [{ name: 'a.b', type: 'TXT', value: 't' }],
};
const REVERSE: ZoneConfig = {
  name: '1.168.192.in-addr.arpa',
  records: [{ name: '5', type: 'PTR', value: 'five.corp.example' }],
};
const zones = (...configs: ZoneConfig[]): Zones => new Zones(configs);
const all = zones(CORP, LAB, REVERSE);

function ask(name: string, type: string, from = all): AnswerParts | undefined {
  const parsed = parseQuery(query(name, type));
  if (parsed.kind !== 'query') throw new Error('no query');
  return from.resolve(parsed.query.question);
}

/** rcode, answers, `+` for an SOA. */
function told(name: string, type: string, from = all): string {
  const bytes = query(name, type);
  const parsed = parseQuery(bytes);
  const parts = ask(name, type, from);
  if (parts === undefined || parsed.kind !== 'query') return 'not ours';
  const answer = decode(buildAnswer(parsed.query, parts));
  const soa = answer.authorities?.some((record) => record.type === 'SOA') === true ? ' +' : '';
  const found = (answer.answers ?? []).map((record) =>
    records([record])[0]!.replaceAll('[object Object]', JSON.stringify(record)).slice(0, 400),
  );
  return `${answer.rcode}${soa} ${found.join(', ')}`.trim();
}

describe('own zones', () => {
  it.each([
    ['www.corp.example', 'A', 'NOERROR www.corp.example A 10.0.0.2, www.corp.example A 10.0.0.3'],
    ['wWw.corp.example', 'AAAA', 'NOERROR wWw.corp.example AAAA fd00::2'],
    ['www.corp.example', 'TXT', 'NOERROR +'],
    ['nothing.corp.example', 'A', 'NXDOMAIN +'],
    ['www.example', 'A', 'not ours'],
    ['xcorp.example', 'A', 'not ours'],
    ['corp.example', 'A', 'NOERROR corp.example A 10.0.0.1'],
    ['corp.example', 'NS', 'NOERROR corp.example NS gateway.netproxy.internal'],
    ['corp.example', 'SOA', 'NOERROR corp.example SOA gateway.netproxy.internal'],
    ['below.corp.example', 'A', 'NOERROR below.corp.example A 10.0.0.8'],
    // RFC 8020: a name that only has names below it.
    ['_tcp.corp.example', 'A', 'NOERROR +'],
    ['apps.corp.example', 'A', 'NOERROR +'],
  ])('%s %s', (name, type, expected) => {
    expect(told(name, type)).toBe(expected);
  });

  it.each([
    [
      'alias.corp.example',
      'A',
      'NOERROR alias.corp.example CNAME www.corp.example, www.corp.example A 10.0.0.2, www.corp.example A 10.0.0.3',
    ],
    ['alias.corp.example', 'CNAME', 'NOERROR alias.corp.example CNAME www.corp.example'],
    ['alias.corp.example', 'TXT', 'NOERROR + alias.corp.example CNAME www.corp.example'],
    ['dangling.corp.example', 'A', 'NXDOMAIN + dangling.corp.example CNAME nothing.corp.example'],
    // alias.ts goes on with it.
    ['far.corp.example', 'A', 'not ours'],
    ['far.corp.example', 'CNAME', 'NOERROR far.corp.example CNAME www.example.org'],
    ['loop.corp.example', 'A', 'SERVFAIL'],
  ])('follows the alias %s for %s', (name, type, expected) => {
    expect(told(name, type)).toBe(expected);
  });

  it('knows which names lead out', () => {
    expect(all.chain({ name: 'far.corp.example', type: RecordType.A })).toMatchObject({
      outside: 'www.example.org',
      zone: 'corp.example',
    });
    const out = ['far', 'alias', 'www', 'nothing', 'loop'].map((label) =>
      all.leadsOut(`${label}.corp.example`),
    );
    expect(out).toEqual([true, false, false, false, false]);
    expect(all.leadsOut('www.example.org')).toBe(false);
  });

  it('ends long chains of aliases', () => {
    const chain = (length: number): Zones =>
      zones({
        name: 'z',
        records: [
          ...Array.from({ length }, (_, i) => ({
            name: `n${i}`,
            type: 'CNAME' as const,
            value: `n${i + 1}.z`,
          })),
          { name: `n${length}`, type: 'A', value: '10.0.0.1' },
        ],
      });
    expect(ask('n0.z', 'A', chain(MAX_CHAIN))?.answers).toHaveLength(MAX_CHAIN + 1);
    expect(ask('n0.z', 'A', chain(MAX_CHAIN + 1))?.rcode).toBe(Rcode.servFail);
  });

  // RFC 4592 section 2.2.1: no wildcard for names that exist, or that have a closer name around them.
  it.each([
    ['x.apps.corp.example', 'A', 'NOERROR x.apps.corp.example A 10.0.0.9'],
    ['x.y.apps.corp.example', 'A', 'NOERROR x.y.apps.corp.example A 10.0.0.9'],
    ['x.apps.corp.example', 'TXT', 'NOERROR +'],
    ['known.apps.corp.example', 'A', 'NOERROR +'],
    ['x.known.apps.corp.example', 'A', 'NXDOMAIN +'],
    ['*.apps.corp.example', 'A', 'NOERROR *.apps.corp.example A 10.0.0.9'],
    ['x.*.apps.corp.example', 'A', 'NXDOMAIN +'],
    [
      'q.wild.corp.example',
      'AAAA',
      'NOERROR q.wild.corp.example CNAME www.corp.example, www.corp.example AAAA fd00::2',
    ],
  ])('wildcards: %s %s', (name, type, expected) => {
    expect(told(name, type)).toBe(expected);
  });

  it.each([
    ['node-1.corp.example', 'A', 'NOERROR node-1.corp.example A 10.0.1.1'],
    ['node-1.corp.example', 'TXT', 'NOERROR node-1.corp.example TXT a node'],
    ['node-1.corp.example', 'AAAA', 'NOERROR +'],
    ['node-7.corp.example', 'A', 'NOERROR node-7.corp.example A 10.0.1.7'],
    ['node-7.corp.example', 'TXT', 'NOERROR +'],
    ['node-x.corp.example', 'A', 'NXDOMAIN +'],
    ['x.node-1.corp.example', 'A', 'NXDOMAIN +'],
  ])('regular expressions: %s %s', (name, type, expected) => {
    expect(told(name, type)).toBe(expected);
  });

  it.each([
    ['anything.lab.corp.example', 'A', 'NOERROR anything.lab.corp.example A 10.9.9.9'],
    ['b.lab.corp.example', 'A', 'NOERROR b.lab.corp.example A 10.9.9.9'],
    ['anything.lab.corp.example', 'AAAA', 'NOERROR +'],
    ['a.b.lab.corp.example', 'A', 'NOERROR +'],
    ['lab.corp.example', 'A', 'NOERROR +'],
  ])('the default address: %s %s', (name, type, expected) => {
    expect(told(name, type)).toBe(expected);
  });

  it('answers other types, pointers and ANY', () => {
    expect(told('5.1.168.192.in-addr.arpa', 'PTR')).toBe(
      'NOERROR 5.1.168.192.in-addr.arpa PTR five.corp.example',
    );
    expect(told('_db._tcp.corp.example', 'SRV')).toContain('"port":5432,"target":"db.corp.example"');
    expect(told('corp.example', 'MX')).toContain('"preference":20,"exchange":"mx.else.example"');
    const text = decode(buildAnswer(queryOf('text.corp.example', 'TXT'), ask('text.corp.example', 'TXT')!));
    expect((text.answers ?? []).map((record) => (record as { data: Buffer[] }).data.map(String))).toEqual([
      ['v=1'],
      ['x'.repeat(255), 'x'.repeat(45)],
    ]);
    const any = ask('corp.example', 'ANY')?.answers?.map(({ type }) => type);
    expect(any).toEqual([RecordType.A, RecordType.MX, RecordType.MX, RecordType.SOA, RecordType.NS]);
    expect(all.resolve({ name: 'corp.example', type: RecordType.A, class: 3 })).toBeUndefined();
  });

  it('tells TTLs: of the record, of the zone, of what is not there', () => {
    const ttls = (name: string, type: string): (number | undefined)[] => {
      const parts = ask(name, type);
      return [...(parts?.answers ?? []), ...(parts?.authorities ?? [])].map(({ ttl }) => ttl);
    };
    expect(ttls('www.corp.example', 'A')).toEqual([5, 5]);
    expect(ttls('www.corp.example', 'AAAA')).toEqual([30]);
    expect(ttls('no.corp.example', 'A')).toEqual([30]);
    expect(ttls('any.lab.corp.example', 'A')).toEqual([60]);
  });
});

function queryOf(name: string, type: string) {
  const parsed = parseQuery(query(name, type));
  if (parsed.kind !== 'query') throw new Error('no query');
  return parsed.query;
}

describe('changing own zones', () => {
  it('adds, replaces and removes, and says so', () => {
    const own = zones();
    expect(own.put(CORP)).toBe(true);
    expect(own.put({ name: 'CORP.example', records: [] })).toBe(false);
    expect(told('www.corp.example', 'A', own)).toBe('NXDOMAIN +');
    expect(own.get('corp.EXAMPLE.')).toEqual({ name: 'CORP.example', records: [] });
    expect(own.list()).toHaveLength(1);
    expect(own.covers('a.corp.example')).toBe(true);
    expect(own.delete('corp.example.')).toBe(true);
    expect(own.delete('corp.example.')).toBe(false);
    expect(own.covers('a.corp.example')).toBe(false);
    expect(told('www.corp.example', 'A', own)).toBe('not ours');
    expect(own.changes).toBe(3);
  });

  const record = { name: 'a', type: 'A', value: '10.0.0.1' } as const;
  it.each<[string, unknown, string]>([
    ['a bad name', { name: 'a..b' }, 'no name of a zone'],
    ['the root', { name: '.' }, 'no name of a zone'],
    ['a bad address', { name: 'z', records: [{ ...record, value: '10.0.0' }] }, 'no value of a A record'],
    ['an IPv6 A', { name: 'z', records: [{ ...record, value: '::1' }] }, 'no value of a A record'],
    ['a bad MX', { name: 'z', records: [{ ...record, type: 'MX', value: 'mail.z' }] }, 'MX record'],
    ['a bad SRV', { name: 'z', records: [{ ...record, type: 'SRV', value: '0 0 65536 a.z' }] }, 'SRV record'],
    ['a long TXT', { name: 'z', records: [{ ...record, type: 'TXT', value: 'x'.repeat(16_385) }] }, 'TXT'],
    ['another type', { name: 'z', records: [{ ...record, type: 'NS' }] }, 'no type of a record'],
    ['no value', { name: 'z', records: [{ ...record, value: [] }] }, 'without a value'],
    ['no name', { name: 'z', records: [{ type: 'A', value: '10.0.0.1' }] }, 'needs a name or a regexp'],
    ['both', { name: 'z', records: [{ ...record, regexp: 'a' }] }, 'needs a name or a regexp'],
    ['a bad regexp', { name: 'z', records: [{ regexp: '(', type: 'A', value: '10.0.0.1' }] }, 'regular'],
    ['a name outside', { name: 'z', records: [{ ...record, name: 'a.y.' }] }, 'no name in the zone z'],
    [
      'a long name',
      { name: 'z', records: [{ ...record, name: `${'a.'.repeat(130)}b` }] },
      'no name in the zone',
    ],
    ['a bad TTL', { name: 'z', ttl: -1 }, 'TTL'],
    ['a bad default', { name: 'z', defaultIp: 'fd00::1' }, 'no default address'],
    ['an alias at the top', { name: 'z', records: [{ name: '@', type: 'CNAME', value: 'a.z' }] }, 'itself'],
    [
      'an alias and more',
      { name: 'z', records: [record, { name: 'a', type: 'CNAME', value: 'b.z' }] },
      'another record',
    ],
    ['two aliases', { name: 'z', records: [{ name: 'a', type: 'CNAME', value: ['b.z', 'c.z'] }] }, 'another'],
    [
      'an answer that fits no message',
      { name: 'z', records: [{ name: 'a', type: 'TXT', value: Array(4).fill('x'.repeat(16_000)) }] },
      'more TXT records than fit',
    ],
    [
      'too many patterns',
      {
        name: 'z',
        records: Array.from({ length: MAX_REGEXPS + 1 }, (_, i) => ({
          regexp: `a${i}`,
          type: 'A',
          value: '10.0.0.1',
        })),
      },
      'regular expressions',
    ],
  ])('refuses %s and keeps what was there', (_, config, why) => {
    const own = zones({ name: 'z', records: [{ name: 'old', type: 'A', value: '10.0.0.7' }] });
    expect(() => own.put(config as ZoneConfig)).toThrow(
      expect.objectContaining({
        code: 'ERR_NETPROXY_CONFIG',
        message: expect.stringContaining(why) as string,
      }),
    );
    expect(told('old.z', 'A', own)).toBe('NOERROR old.z A 10.0.0.7');
  });

  it('has limits for zones and records', () => {
    const own = zones(...Array.from({ length: MAX_ZONES }, (_, i) => ({ name: `z${i}` })));
    expect(() => own.put({ name: 'more' })).toThrow('that is the limit');
    expect(own.put({ name: 'z0', records: [] })).toBe(false);
    const many = (count: number) => Array.from({ length: count }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
    const half = Array.from({ length: 25 }, (_, i) => ({
      name: `n${i}`,
      type: 'A' as const,
      value: many(1000),
    }));
    own.put({ name: 'z1', records: half });
    own.put({ name: 'z2', records: half });
    expect(() => own.put({ name: 'z3', records: [record] })).toThrow(`${MAX_RECORDS + 1} records`);
    own.delete('z2');
    own.put({ name: 'z3', records: [record] });
    expect(() => zones({ name: 'a.b' }, { name: 'A.B.' })).toThrow('there twice');
  });

  it('answers anything without throwing', () => {
    const name = fc.array(
      fc.constantFrom('www', 'apps', '*', 'x', 'corp', 'example', 'lab', 'node-1', 'alias'),
    );
    fc.assert(
      fc.property(name, fc.integer({ min: 0, max: 300 }), (labels, type) => {
        const parts = all.resolve({ name: labels.join('.'), type, class: 1 });
        if (parts === undefined) return;
        const told = (parts.answers ?? []).length + (parts.authorities ?? []).length;
        expect(told > 0 || parts.rcode === Rcode.servFail).toBe(true);
      }),
    );
  });
});
