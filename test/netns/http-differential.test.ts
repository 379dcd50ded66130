/**
 * Ambiguous requests through netproxy to nginx: what netproxy passes on is what nginx sees, request by request, and its body has the
 * length that it would have if nginx had been asked directly.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { smugglingTable } from '../../src/testing/smuggling.testutil.js';
import { count } from '../support/counts.js';
import { until } from '../support/deadline.js';
import { Lab } from './lab.js';
import type { Netproxy } from './netproxy.js';
import { GATEWAY, scenarioReady, serveTap } from './scenario.js';
import { startNginx } from './web.js';

const ready = scenarioReady('HTTP proxy, ambiguous requests', 'nginx', 'ss');

const RAW = join(dirname(fileURLToPath(import.meta.url)), 'raw-http.mjs');
const RUNS = count(300, 10_000);
const SEED = 20_261_121;

const FIELDS = [
  ...['5', '0', '44', '05', '5, 5', '+5', '5 ', '', '0x5', '5\t'].map((value) => `Content-Length: ${value}`),
  ...['chunked', 'Chunked', '\tchunked', 'chunked ', 'chunked, chunked', 'chunked, identity', 'identity'].map(
    (value) => `Transfer-Encoding: ${value}`,
  ),
  ...['chunked;a=b', '"chunked"', ',chunked', 'xchunked', 'gzip'].map(
    (value) => `Transfer-Encoding: ${value}`,
  ),
  'Content-Length : 5',
  ' Content-Length: 5',
  'content-length:5',
  'transfer-encoding:chunked',
  'Transfer-Encoding : chunked',
  'Transfer_Encoding: chunked',
  'Transfer-Encoding:\r\n chunked',
  'X: y\r\n Transfer-Encoding: chunked',
  'X: y\rTransfer-Encoding: chunked',
  'X: y\nTransfer-Encoding: chunked',
  'Connection: close, Content-Length',
  'Connection: Transfer-Encoding',
  'Connection: keep-alive, Host',
  'Expect: 100-continue',
  'Upgrade: h2c',
  'TE: trailers',
  'Trailer: Content-Length',
  'Host: other.lab.test',
  'X-A: b',
] as const;

const BODIES = [
  '',
  'hello',
  '5\r\nhello\r\n0\r\n\r\n',
  '5;x="\r\n"\r\nhello\r\n0\r\n\r\n',
  '5;x=y\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n',
  '5\nhello\n0\n\n',
  '005\r\nhello\r\n0\r\n\r\n',
  '5 \r\nhello\r\n0\r\n\r\n',
  '0x5\r\nhello\r\n0\r\n\r\n',
  '+5\r\nhello\r\n0\r\n\r\n',
  '5\r\nhello0\r\n\r\n',
  '0\r\n\r\n',
  '0\r\n\r\nSMUGGLED',
  'SMUGGLED',
  '5\r\nhello\r\n0\r\n\r\nSMUGGLED',
] as const;

/** A message: what goes over one connection, to be sent to `url` (as in smugglingTable). */
type Message = (authority: string, url: string) => string;

function generated(): Message[] {
  const arbitrary = fc.record({
    method: fc.constantFrom('GET', 'POST', 'POST', 'PUT', 'HEAD', 'OPTIONS'),
    version: fc.constantFrom('1.1', '1.1', '1.1', '1.0'),
    fields: fc.array(fc.constantFrom(...FIELDS), { maxLength: 3 }),
    end: fc.constantFrom('\r\n', '\r\n', '\r\n', '\n'),
    body: fc.constantFrom(...BODIES),
  });
  return fc
    .sample(arbitrary, { numRuns: RUNS, seed: SEED })
    .map(({ method, version, fields, end, body }, n) => {
      return (authority, url) => {
        const smuggled = `GET ${url}s${n} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
        const head = [`${method} ${url}m${n} HTTP/${version}`, `Host: ${authority}`, ...fields].join(end);
        return `${head}${end}${end}${body.replace('SMUGGLED', () => smuggled)}`;
      };
    });
}

function tabled(): Message[] {
  const rows = smugglingTable('a', '/').length;
  return Array.from({ length: rows }, (_, row): Message => {
    return (authority, url) => smugglingTable(authority, url)[row]![1];
  });
}

describe.runIf(ready)('ambiguous requests', () => {
  let lab: Lab;

  afterEach(async () => {
    await lab?.destroy();
  });

  /** The answers to messages, each with a last request behind it. */
  async function send(netns: string, [host, port]: readonly [string, number], texts: readonly string[]) {
    const input = texts.map((text) => Buffer.from(text, 'latin1').toString('base64')).join('\n');
    const argv = [process.execPath, RAW, host, String(port)];
    const said = await lab.check(netns, argv, { input, timeoutMs: 100_000 });
    return said
      .split('\n')
      .map((line) => (line === 'late' ? line : Buffer.from(line, 'base64').toString('latin1')));
  }

  /** Requests that nginx served. */
  const served = (): string[] =>
    readFileSync(lab.path('access.log'), 'utf8')
      .split('\n')
      .flatMap((line) => /^(\S+ \S+) 200$/.exec(line)?.[1] ?? []);

  /** Requests that netproxy passed on and that were served. */
  const passed = ({ proc }: Netproxy): string[] =>
    [...proc.stderr.matchAll(/HTTP proxy: (\S+) http:\/\/[^/ ]+(\/\S*): 200/g)].map(
      ([, method, path]) => `${method} ${path}`,
    );

  /** Status and body of the first answer. */
  function first(answer: string): string {
    const final = answer.replace(/^(?:HTTP\/1\.1 1\d\d[^]*?\r\n\r\n)+/, '');
    const [, status, fields = ''] = /^HTTP\/1\.1 (\d+)[^\r]*\r\n([^]*?)\r\n\r\n/.exec(final) ?? [];
    if (status === undefined) return final === '' ? 'nothing' : 'no HTTP';
    const body = final.slice(final.indexOf('\r\n\r\n') + 4);
    const length = Number(/^content-length: (\d+)/im.exec(fields)?.[1] ?? 0);
    // nginx says nothing where there was no body, netproxy says that its length is 0.
    return status === '200' ? `200 ${body.slice(0, length) || '0'}` : status;
  }

  it.each([
    ['explicit', true],
    ['intercepted', false],
  ])('are seen by nginx as by netproxy: %s', async (_mode, explicit) => {
    lab = await Lab.create();
    const origin = lab.address();
    // A body is read to its end before anything is answered.
    await startNginx(
      lab,
      `log_format seen '$request_method $request_uri $status';
  client_header_timeout 2s; client_body_timeout 2s; keepalive_timeout 2s;
  server { listen ${origin}:8080; location / { return 200 "$content_length"; } }
  server {
    listen ${origin}:80; access_log ${lab.path('access.log')} seen;
    location / { proxy_pass http://${origin}:8080; }
  }`,
      80,
    );
    const messages = [...tabled(), ...generated()];
    const text = (message: Message, n: number, url: string): string =>
      `${message(origin, url)}GET ${url}e${n} HTTP/1.1\r\nHost: ${origin}\r\nConnection: close\r\n\r\n`;
    const direct = await send(
      lab.host,
      [origin, 80],
      messages.map((message, n) => text(message, n, '/')),
    );
    const before = served().length;
    const netproxy = await serveTap(lab, ['--proxy-transparent', 'on', '--log-level', 'debug']);
    await lab.dhcp();
    const where = explicit ? ([GATEWAY, 3128] as const) : ([origin, 80] as const);
    const url = explicit ? `http://${origin}/` : '/';
    const answers = await send(
      lab.guest,
      where,
      messages.map((message, n) => text(message, n, url)),
    );

    const late = answers.flatMap((answer, n) => (answer === 'late' ? text(messages[n]!, n, url) : []));
    expect(late, 'connections that do not end').toEqual([]);
    const different = answers.flatMap((answer, n) => {
      const [through, straight] = [first(answer), first(direct[n] ?? '')];
      const both = through.startsWith('200') && straight.startsWith('200');
      return both && through !== straight ? [{ text: text(messages[n]!, n, url), through, straight }] : [];
    });
    expect(different, 'bodies that are read in two ways').toEqual([]);
    const seen = (): string[] => served().slice(before).sort();
    await until(20_000, 'both logs say the same', () => seen().length === passed(netproxy).length);
    expect(seen()).toEqual(passed(netproxy).sort());
    // They were not all refused.
    expect(seen().length).toBeGreaterThan(messages.length / 4);
  });
});
