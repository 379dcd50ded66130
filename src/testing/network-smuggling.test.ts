/** Requests that two servers could read in two ways: none of them reaches an origin. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestNetwork } from './index.js';
import { ask, ok, proxyLab, serve } from './proxy.testutil.js';

const HOST = 'Host: origin.test\r\n';
const post = (fields: string, body: string, version = '1.1'): string =>
  `POST http://origin.test/ HTTP/${version}\r\n${HOST}${fields}\r\n${body}`;

const TABLE: readonly (readonly [name: string, request: string])[] = [
  [
    'Content-Length and Transfer-Encoding',
    post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
  ],
  [
    'Transfer-Encoding and Content-Length',
    post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n'),
  ],
  ['two lengths', post('Content-Length: 3\r\nContent-Length: 5\r\n', 'abcde')],
  ['two equal lengths', post('Content-Length: 3\r\nContent-Length: 3\r\n', 'abc')],
  ['a list of lengths', post('Content-Length: 3, 3\r\n', 'abc')],
  ['a signed length', post('Content-Length: +3\r\n', 'abc')],
  ['a hexadecimal length', post('Content-Length: 0x3\r\n', 'abc')],
  ['a negative length', post('Content-Length: -3\r\n', 'abc')],
  ['a length beyond numbers', post('Content-Length: 99999999999999999999\r\n', 'abc')],
  ['no length', post('Content-Length:\r\n', 'abc')],
  ['a folded field', post('X-A: b\r\n c\r\n', '')],
  ['a folded coding', post('Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\n')],
  ['white space before the first field', `GET http://origin.test/ HTTP/1.1\r\n Host: a\r\n${HOST}\r\n`],
  ['bare LF behind a field', `GET http://origin.test/ HTTP/1.1\r\n${HOST.replace('\r', '')}X: y\r\n\r\n`],
  ['bare LF everywhere', 'GET http://origin.test/ HTTP/1.1\nHost: origin.test\n\n'],
  ['bare CR', `GET http://origin.test/ HTTP/1.1\r\n${HOST}X: a\rY: b\r\n\r\n`],
  ['NUL', `GET http://origin.test/ HTTP/1.1\r\n${HOST}X: a\0b\r\n\r\n`],
  ['identity', post('Transfer-Encoding: identity\r\n', 'abc')],
  ['chunked, identity', post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n')],
  ['gzip, chunked', post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n')],
  ['chunked twice', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
  ['xchunked', post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n')],
  ['a vertical tab', post('Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n')],
  ['white space before the colon', post('Transfer-Encoding : chunked\r\n', '0\r\n\r\n')],
  ['chunked in HTTP/1.0', post('Transfer-Encoding: chunked\r\n', '0\r\n\r\n', '1.0')],
  ['bare LF in a chunk', post('Transfer-Encoding: chunked\r\n', '1\nx\r\n0\r\n\r\n')],
  ['bare LF behind a chunk', post('Transfer-Encoding: chunked\r\n', '1\r\nx\n0\r\n\r\n')],
  ['bare LF in a chunk extension', post('Transfer-Encoding: chunked\r\n', '1;a\nb\r\nx\r\n0\r\n\r\n')],
  ['0x before a chunk', post('Transfer-Encoding: chunked\r\n', '0x1\r\nx\r\n0\r\n\r\n')],
  ['a chunk beyond numbers', post('Transfer-Encoding: chunked\r\n', '10000000000000001\r\nx\r\n0\r\n\r\n')],
  ['two hosts', `GET http://origin.test/ HTTP/1.1\r\n${HOST}Host: other.test\r\n\r\n`],
  ['a field without a colon', `GET http://origin.test/ HTTP/1.1\r\n${HOST}foo\r\n\r\n`],
  ['a field without a name', `GET http://origin.test/ HTTP/1.1\r\n${HOST}: x\r\n\r\n`],
  ['a control in the target', `GET http://origin.test/\x01 HTTP/1.1\r\n${HOST}\r\n`],
  ['a user in the target', `GET http://a:b@origin.test/ HTTP/1.1\r\n${HOST}\r\n`],
  ['HTTP/1.9', `GET http://origin.test/ HTTP/1.9\r\n${HOST}\r\n`],
  ['HTTP/2.0', `GET http://origin.test/ HTTP/2.0\r\n${HOST}\r\n`],
  ['HTTP/0.9', 'GET http://origin.test/\r\n\r\n'],
  [
    'more fields than anybody needs',
    `GET http://origin.test/ HTTP/1.1\r\n${HOST}${'X: y\r\n'.repeat(300)}\r\n`,
  ],
  ['a head that does not end', `GET http://origin.test/ HTTP/1.1\r\n${HOST}X: ${'y'.repeat(70_000)}\r\n\r\n`],
  ['CONNECT with a path', `CONNECT origin.test:80/ HTTP/1.1\r\n${HOST}\r\n`],
  ['CONNECT without a port', `CONNECT origin.test HTTP/1.1\r\n${HOST}\r\n`],
  [
    'CONNECT with a length',
    `CONNECT origin.test:80 HTTP/1.1\r\n${HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`,
  ],
];

describe('request smuggling: requests', () => {
  let lab: TestNetwork;
  let bodies = '';
  beforeAll(async () => {
    lab = await proxyLab();
    lab.host.accept('*', (socket) =>
      socket.on('data', (chunk: Buffer) => (bodies += chunk.toString('latin1'))),
    );
  });
  afterAll(() => lab.close());

  it.each(TABLE)('%s: 4xx or 505, and the connection ends', async (_name, request) => {
    bodies = '';
    const second = `GET http://origin.test/second HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
    const answer = await ask(lab, request + second);
    expect(answer).toMatch(/^HTTP\/1\.1 (400|431|505) /);
    expect(answer).not.toContain(' 200 ');
    // A head may be gone on before its body turns out to be none; the request is never whole.
    expect(bodies).not.toMatch(/second|0\r\n\r\n$/);
    expect(lab.network.stats().httpProxy.clients).toBe(0);
  });
});

describe('request smuggling: answers', () => {
  it.each([
    ['both framings', 'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two lengths', 'Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc'],
    ['another coding', 'Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    ['a folded field', 'X: a\r\n b\r\nContent-Length: 0\r\n\r\n'],
    ['bare LF', 'X: a\nContent-Length: 0\r\n\r\n'],
  ])('an answer with %s is 502', async (_name, rest) => {
    await using lab = await proxyLab();
    serve(lab, '198.51.100.1:80', (_head, socket) => socket.write(`HTTP/1.1 200 OK\r\n${rest}`));
    const answer = await ask(lab, `GET http://origin.test/ HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 502 /);
  });

  it('stands any bytes, and serves the next guest', async () => {
    await using lab = await proxyLab();
    serve(lab, '198.51.100.1:80', (_head, socket) => socket.write(ok('fine')));
    const words = [
      'GET ',
      'CONNECT ',
      'http://origin.test/',
      ' HTTP/1.1\r\n',
      HOST,
      '\r\n',
      ': ',
      '0\r\n',
      '\0',
    ];
    const text = fc.array(fc.oneof(fc.constantFrom(...words), fc.string()), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(text, async (parts) => {
        // `]` never ends a sound head: whatever came, the connection gets an answer or ends.
        const socket = await lab.run(lab.guest.connect(lab.gateway, 3128));
        socket.on('error', () => undefined);
        socket.write(Buffer.from(parts.join(''), 'latin1'));
        await lab.clock.advance(10);
        socket.destroy();
        await lab.clock.advance(10);
      }),
      { numRuns: 60 },
    );
    const sound = `GET http://origin.test/ HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
    expect(await ask(lab, sound)).toContain('fine');
    await lab.clock.advance(400_000);
    expect(lab.network.stats().httpProxy).toMatchObject({ clients: 0 });
  });
});
