import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type HelloRead, MAX_HELLO, MAX_RECORDS, readClientHello } from './client-hello.js';
import { ECH, GREASE, clientHello, extension, helloMessage, records, serverName } from './hello.testutil.js';

const named = (name: string | undefined): HelloRead => ({ kind: 'hello', name });
const OTHER: HelloRead = { kind: 'other' };

describe('readClientHello', () => {
  it.each<readonly [what: string, bytes: Buffer, read: HelloRead]>([
    ['a name', clientHello('www.example.org'), named('www.example.org')],
    ['capitals and a last dot', clientHello('WWW.Example.ORG.'), named('www.example.org')],
    ['the outer name with ECH', clientHello('outer.example', { extensions: [ECH] }), named('outer.example')],
    ['GREASE around it', records(helloMessage([GREASE, serverName('a.b'), GREASE])), named('a.b')],
    ['no extension of names', records(helloMessage([GREASE])), named(undefined)],
    ['no extensions', records(helloMessage([])), named(undefined)],
    ['records of 1 byte, too many', clientHello('a.example', { record: 1 }), OTHER],
    ['records of 16 bytes', clientHello('a.example', { record: 16 }), named('a.example')],
    ['what follows it', Buffer.concat([clientHello('a.example'), Buffer.alloc(99, 1)]), named('a.example')],
    [
      'two extensions of names',
      records(helloMessage([serverName('a.b'), serverName('c.d')])),
      named(undefined),
    ],
    ['two names', records(helloMessage([serverName('a.b', 'c.d')])), named(undefined)],
    ['an address', clientHello('192.0.2.1'), named(undefined)],
    ['a number', clientHello('3221225985'), named(undefined)],
    ['an empty name', clientHello(''), named(undefined)],
    ['a space', clientHello('a b'), named(undefined)],
    ['a zero byte', clientHello('good.example\0.bad.example'), named(undefined)],
    ['a slash', clientHello('a/b'), named(undefined)],
    ['bytes above 127', clientHello('b\u00fccher.example'), named(undefined)],
    ['a long name', clientHello(`${'a.'.repeat(200)}example`), named(undefined)],
    [
      'a name of another kind',
      records(helloMessage([extension(0, Buffer.from([0, 4, 1, 0, 1, 97]))])),
      named(undefined),
    ],
    [
      'an extension that is cut',
      records(helloMessage([extension(0, Buffer.from([0, 9, 0]))])),
      named(undefined),
    ],
    ['the hello of SSL 2', Buffer.from([0x80, 0x2e, 1, 3, 1, 0]), OTHER],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n'), OTHER],
    ['SSH', Buffer.from('SSH-2.0-x\r\n'), OTHER],
    ['an alert', Buffer.from([21, 3, 1, 0, 2, 1, 0]), OTHER],
    ['another message', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0]), OTHER],
    ['an empty record', Buffer.from([22, 3, 1, 0, 0]), OTHER],
    ['a record that is too long', Buffer.from([22, 3, 1, 0x40, 1, 1]), OTHER],
    [
      'an alert between its records',
      Buffer.concat([clientHello('a.b', { record: 99 }).subarray(0, 104), Buffer.from([21])]),
      OTHER,
    ],
    [
      'more than it may have',
      records(helloMessage([extension(21, Buffer.alloc(MAX_HELLO)), serverName('a.b')])),
      OTHER,
    ],
  ])('%s', (_what, bytes, read) => {
    expect(readClientHello(bytes)).toEqual(read);
  });

  it('reads one of nearly 32 KiB', () => {
    const big = records(
      helloMessage([extension(21, Buffer.alloc(MAX_HELLO - 200)), serverName('big.example')]),
    );
    expect(readClientHello(big)).toEqual(named('big.example'));
  });

  it('waits for what is missing, and never longer than that: every cut, in records of any size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 6, max: 400 }), fc.nat(), (record, seed) => {
        const bytes = clientHello('cut.example', { record });
        const cut = seed % bytes.length;
        const read = readClientHello(bytes.subarray(0, cut));
        if (read.kind !== 'more') throw new Error(`cut at ${cut}: ${read.kind}`);
        expect(read.need).toBeGreaterThan(cut);
        expect(read.need).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 500 },
    );
  });

  it('needs few looks, however it is cut', () => {
    const bytes = clientHello('a.example', { record: 8 });
    let looks = 0;
    let need = 1;
    for (let length = 1; length <= bytes.length; length++) {
      if (length < need) continue;
      looks++;
      const read = readClientHello(bytes.subarray(0, length));
      if (read.kind === 'more') need = read.need;
    }
    expect(looks).toBeLessThanOrEqual(2 * MAX_RECORDS + 2);
  });

  it('takes anything', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(), fc.nat(255), (noise, at, value) => {
        readClientHello(Buffer.from(noise));
        readClientHello(records(Buffer.concat([Buffer.from([1, 0, 0, noise.length]), noise])));
        const bent = clientHello('bent.example');
        bent[at % bent.length] = value;
        const read = readClientHello(bent);
        if (read.kind === 'hello' && read.name !== undefined) expect(read.name).toMatch(/^[a-z0-9._-]+$/);
      }),
      { numRuns: 3000 },
    );
  });
});
