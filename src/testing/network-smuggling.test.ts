/** Requests that two servers could read in two ways: none of them reaches an origin. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestNetwork } from './index.js';
import { ask, ok, proxyLab, serve } from './proxy.testutil.js';
import { smugglingTable } from './smuggling.testutil.js';

const HOST = 'Host: origin.test\r\n';
const TABLE = smugglingTable('origin.test', 'http://origin.test/');

describe('request smuggling: requests', () => {
  let lab: TestNetwork;
  let bodies = '';
  beforeAll(async () => {
    lab = await proxyLab({ httpProxy: { transparent: 'on' } });
    lab.host.accept('*', (socket) =>
      socket.on('data', (chunk: Buffer) => (bodies += chunk.toString('latin1'))),
    );
  });
  afterAll(() => lab.close());

  const INTERCEPTED = smugglingTable('origin.test', '/').filter(([name]) => !name.startsWith('CONNECT'));

  it.each([
    ...TABLE.map((row) => [...row, undefined] as const),
    ...INTERCEPTED.map(([name, request]) => [`intercepted: ${name}`, request, ['198.51.100.1', 80]] as const),
  ])('%s: 4xx or 505, and the connection ends', async (_name, request, where) => {
    bodies = '';
    const second = `GET http://origin.test/second HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
    const answer = await ask(lab, request + second, undefined, where);
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
