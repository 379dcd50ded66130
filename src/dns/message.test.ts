import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fitAnswer } from './answer.js';
import { decode, query, records, respond } from './dns.testutil.js';
import { isAnswerTo, parseQuery, word } from './message.js';
import {
  encodeName,
  isWithin,
  normalName,
  readName,
  reverseAddress,
  reverseName,
  skipName,
} from './names.js';

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replace(/\s/g, ''), 'hex'));
const header = '1234 0100 0001 0000 0000 0000';
const question = '03777777 076578616d706c65 00 0001 0001';

describe('names', () => {
  it('reads and writes', () => {
    const wire = bytes('03575757 076578616d706c65 00');
    expect(readName(wire, 0)).toEqual({ name: 'www.example', next: wire.length });
    expect(encodeName('www.example.')).toEqual(bytes('03777777 076578616d706c65 00'));
    expect(encodeName('.')).toEqual(bytes('00'));
    expect(readName(bytes('00'), 0)).toEqual({ name: '', next: 1 });
  });

  it('escapes what would be misread, so that different names stay different', () => {
    expect(readName(bytes('03612e62 00'), 0)?.name).toBe('a\\046b');
    expect(readName(bytes('02005c 00'), 0)?.name).toBe('\\000\\092');
    expect(readName(bytes('01ff 00'), 0)?.name).toBe('\\255');
  });

  it('rejects what is no name', () => {
    for (const hex of ['', '01', '0161', 'c000', '40', '80']) expect(readName(bytes(hex), 0)).toBeUndefined();
    const long = 'a'.repeat(63);
    expect(encodeName(`${long}.b`)).toHaveLength(67);
    for (const name of [
      `${long}a`,
      'a..b',
      '.a',
      '..',
      'a b',
      'a\\b',
      'ä',
      Array(128).fill('ab').join('.'),
    ]) {
      expect(encodeName(name)).toBeUndefined();
    }
    expect(encodeName(Array(127).fill('a').join('.'))).toHaveLength(255);
    expect(encodeName(`${Array(127).fill('a').join('.')}a`)).toBeUndefined();
    expect(readName(new Uint8Array(300).fill(1), 0)).toBeUndefined();
  });

  it('skips compressed names', () => {
    expect(skipName(bytes('0161c00c'), 0)).toBe(4);
    expect(skipName(bytes('0161c0'), 0)).toBeUndefined();
    expect(skipName(bytes('0161'), 0)).toBeUndefined();
    expect(skipName(bytes('41'), 0)).toBeUndefined();
  });

  it('knows what is in a zone', () => {
    expect(isWithin('a.b', 'b')).toBe(true);
    expect(isWithin('b', 'b')).toBe(true);
    expect(isWithin('ab', 'b')).toBe(false);
    expect(isWithin('x', '')).toBe(true);
    expect(normalName('A.B.')).toBe('a.b');
  });

  it('reads reverse names', () => {
    expect(reverseName(0xc0a87f02)).toBe('2.127.168.192.in-addr.arpa');
    expect(reverseAddress('2.127.168.192.in-addr.arpa')).toBe('192.168.127.2');
    for (const name of [
      '1.2.3.in-addr.arpa',
      '256.1.1.1.in-addr.arpa',
      '01.1.1.1.in-addr.arpa',
      'a',
      'in-addr.arpa',
    ]) {
      expect(reverseAddress(name)).toBeUndefined();
    }
    expect(reverseAddress(`1.${'0.'.repeat(30)}f.ip6.arpa`)).toBe('f000:0000:0000:0000:0000:0000:0000:0001');
    expect(reverseAddress('1.2.ip6.arpa')).toBeUndefined();
    expect(reverseAddress(`x.${'0.'.repeat(31)}ip6.arpa`)).toBeUndefined();
  });
});

describe('parseQuery', () => {
  it('reads a query', () => {
    const parsed = parseQuery(bytes(header + question));
    expect(parsed).toMatchObject({
      kind: 'query',
      query: {
        id: 0x1234,
        question: { name: 'www.example', type: 1, class: 1 },
        questionEnd: 29,
        edns: undefined,
      },
    });
  });

  it('reads EDNS', () => {
    const opt = '00 0029 04d0 00008000 0008 000a 0004 01020304';
    const raw = bytes(`1234 0100 0001 0000 0000 0001 ${question} ${opt}`);
    expect(parseQuery(raw)).toMatchObject({
      kind: 'query',
      query: { edns: { udpSize: 1232, version: 0, dnssecOk: true } },
    });
    const small = bytes(`1234 0100 0001 0000 0000 0001 ${question} 00 0029 0010 00000000 0000`);
    expect(parseQuery(small)).toMatchObject({ query: { edns: { udpSize: 512 } } });
  });

  type Row = [what: string, hex: string, kind: string, rcode?: number];
  it.each<Row>([
    ['nothing', '', 'drop'],
    ['half a header', '123401000001', 'drop'],
    ['a response', `1234 8180 0001 0000 0000 0000 ${question}`, 'drop'],
    ['an update', `1234 2800 0001 0000 0000 0000 ${question}`, 'refuse', 4],
    ['a notify', `1234 2000 0001 0000 0000 0000 ${question}`, 'refuse', 4],
    ['no question', '1234 0100 0000 0000 0000 0000', 'refuse', 1],
    ['two questions', `1234 0100 0002 0000 0000 0000 ${question} ${question}`, 'refuse', 1],
    ['a cut question', `${header} 0377`, 'refuse', 1],
    ['a compressed question', `${header} c00c 0001 0001`, 'refuse', 1],
    [
      'an answer in it',
      `1234 0100 0001 0001 0000 0000 ${question} c00c 0001 0001 00000000 0004 01020304`,
      'refuse',
      1,
    ],
    ['bytes behind', `${header} ${question} 00`, 'refuse', 1],
    ['a missing record', `1234 0100 0001 0000 0000 0001 ${question}`, 'refuse', 1],
    ['a cut record', `1234 0100 0001 0000 0000 0001 ${question} 00 0029 04d0 00000000 0008`, 'refuse', 1],
    [
      'a cut option',
      `1234 0100 0001 0000 0000 0001 ${question} 00 0029 04d0 00000000 0002 000a`,
      'refuse',
      1,
    ],
    [
      'an option that lies',
      `1234 0100 0001 0000 0000 0001 ${question} 00 0029 04d0 00000000 0004 000a0001`,
      'refuse',
      1,
    ],
    [
      'OPT with a name',
      `1234 0100 0001 0000 0000 0001 ${question} 016100 0029 04d0 00000000 0000`,
      'refuse',
      1,
    ],
    [
      'OPT twice',
      `1234 0100 0001 0000 0000 0002 ${question} 00 0029 04d0 00000000 0000 00 0029 04d0 00000000 0000`,
      'refuse',
      1,
    ],
    ['EDNS version 1', `1234 0100 0001 0000 0000 0001 ${question} 00 0029 04d0 00010000 0000`, 'refuse', 16],
  ])('%s', (_what, hex, kind, rcode) => {
    const parsed = parseQuery(bytes(hex));
    expect(parsed.kind).toBe(kind);
    if (parsed.kind === 'refuse') expect(parsed.rcode).toBe(rcode);
  });

  it('survives every truncation', () => {
    const raw = query('www.example.com', 'A', { edns: 4096, dnssec: true });
    for (let length = 0; length < raw.length; length++) {
      expect(parseQuery(raw.subarray(0, length)).kind).toBe(length < 12 ? 'drop' : 'refuse');
    }
  });

  it('survives 100,000 mutations', () => {
    const seeds = [query('a.example', 'A'), query('b.example', 'TXT', { edns: 1232 }), query('', 'NS')];
    let seed = 99;
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 0x100000000) * n);
    };
    for (let round = 0; round < 100_000; round++) {
      const raw = seeds[round % 3]!.slice(0, random(8) === 0 ? random(40) : undefined);
      for (let flips = 1 + random(4); flips > 0 && raw.length > 0; flips--)
        raw[random(raw.length)] = random(256);
      parseQuery(raw);
      fitAnswer(raw, 12 + random(30));
    }
  });
});

describe('isAnswerTo', () => {
  const asked = query('www.example', 'A');
  const good = respond(asked, []);
  const changed = (at: number, value: number): Uint8Array => {
    const copy = good.slice();
    copy[at] = value;
    return copy;
  };

  it('takes the right one, whatever the case of letters', () => {
    expect(isAnswerTo(good, asked)).toBe(true);
    expect(isAnswerTo(changed(13, 0x57), asked)).toBe(true);
  });

  it('takes no other', () => {
    expect(isAnswerTo(changed(0, 9), asked)).toBe(false);
    expect(isAnswerTo(changed(2, 0), asked)).toBe(false);
    expect(isAnswerTo(changed(2, 0xa8), asked)).toBe(false);
    expect(isAnswerTo(changed(13, 0x78), asked)).toBe(false);
    expect(isAnswerTo(changed(26, 28), asked)).toBe(false);
    expect(isAnswerTo(good.subarray(0, 20), asked)).toBe(false);
    expect(isAnswerTo(new Uint8Array(3), asked)).toBe(false);
    // Type 65 and type 97 are not upper and lower case of each other.
    const https = query('www.example', 'A');
    https[26] = 65;
    const other = good.slice();
    other[26] = 97;
    expect(isAnswerTo(other, https)).toBe(false);
  });

  it('takes a refusal without a question, but no success', () => {
    expect(isAnswerTo(bytes('1234 8181 0000 0000 0000 0000'), asked)).toBe(true);
    expect(isAnswerTo(bytes('1234 8180 0000 0000 0000 0000'), asked)).toBe(false);
    expect(isAnswerTo(bytes('1234 8181 0002 0000 0000 0000'), asked)).toBe(false);
  });
});

describe('fitAnswer', () => {
  const addresses = (n: number) =>
    Array.from(
      { length: n },
      (_, i) => ({ type: 'A', name: 'x.example', ttl: 1, data: `10.0.0.${i}` }) as const,
    );

  it('leaves alone what fits', () => {
    const answer = respond(query('x.example', 'A'), addresses(3));
    expect(fitAnswer(answer, answer.length)).toBe(answer);
  });

  it('cuts at the border of a record, sets TC, keeps OPT', () => {
    const answer = respond(query('x.example', 'A', { edns: 1232 }), addresses(64));
    const cut = decode(fitAnswer(answer, 512));
    expect(cut.flag_tc).toBe(true);
    expect(cut.answers!.length).toBeGreaterThan(15);
    expect(records(cut.answers)).toEqual(records(decode(answer).answers).slice(0, cut.answers!.length));
    expect(cut.additionals?.map((record) => record.type)).toEqual(['OPT']);
    for (let limit = 40; limit < answer.length; limit++) {
      const fitted = fitAnswer(answer, limit);
      expect(fitted.length).toBeLessThanOrEqual(limit);
      expect(decode(fitted).flag_tc).toBe(true);
    }
  });

  it('lets additional records go silently', () => {
    const answer = respond(query('x.example', 'A'), addresses(2)).slice();
    const extra = respond(query('x.example', 'A'), addresses(1)).subarray(27);
    const whole = new Uint8Array(answer.length + extra.length);
    whole.set(answer);
    whole.set(extra, answer.length);
    whole[11] = 1;
    const cut = fitAnswer(whole, answer.length + 3);
    expect(cut).toEqual(answer);
  });

  it('cuts garbage down to its question', () => {
    const answer = respond(query('x.example', 'A'), addresses(30)).slice(0, 600);
    answer[7] = 200;
    const cut = fitAnswer(answer, 512);
    expect(cut.length).toBeLessThanOrEqual(512);
    expect(word(cut, 2) & 0x0200).not.toBe(0);
    expect(decode(cut).answers!.length).toBe(word(cut, 6));
    const worse = new Uint8Array(600).fill(0xff);
    expect(fitAnswer(worse, 512)).toHaveLength(12);
  });

  it('drops an OPT record or a question that is larger than the limit', () => {
    const answer = respond(query('x.example', 'A', { edns: 1232 }), []);
    const opt = new Uint8Array(700);
    opt.set(answer);
    opt[answer.length - 2] = (700 - answer.length) >> 8;
    opt[answer.length - 1] = (700 - answer.length) & 255;
    expect(decode(fitAnswer(opt, 512)).additionals).toEqual([]);
    expect(fitAnswer(answer, 20)).toHaveLength(12);
  });

  it('never throws and never exceeds', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 12, max: 200 }), (raw, limit) => {
        expect(fitAnswer(raw, limit).length).toBeLessThanOrEqual(Math.max(limit, 12));
      }),
      { numRuns: 3000 },
    );
  });
});
