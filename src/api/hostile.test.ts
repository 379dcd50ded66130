/** Requests that nobody sane sends: each gets a problem, and none an internal error. */
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiLab, apiLab, ask } from './api.testutil.js';
import { ROUTES } from './routes.js';
import { problemSchema } from './schemas.js';

let api: ApiLab;
const warnings: string[] = [];
beforeAll(async () => {
  const nothing = (): void => undefined;
  const logger = {
    debug: nothing,
    info: nothing,
    error: nothing,
    warn: (text: string) => void warnings.push(text),
  };
  api = await apiLab({ logger, logLevel: { level: 'info' } });
});
afterAll(() => api[Symbol.asyncDispose]());

const routes = ROUTES.filter(({ answer }) => answer.kind !== 'stream');
/** What a request line may hold of a path or a query. */
const text = fc
  .string({ unit: 'binary', maxLength: 40 })
  .map((raw) => encodeURIComponent(Buffer.from(raw).toString()));
const rough = fc.stringMatching(/^[!-"$->@-~]{0,40}$/);

async function expectProblem(
  method: string,
  where: string,
  body?: string | Uint8Array,
  type = 'application/json',
) {
  const headers =
    body === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) };
  const reply = await ask({ socketPath: api.socketPath, method, path: where, headers }, body);
  expect([500, 502, 503]).not.toContain(reply.status);
  if (reply.status >= 400 && method !== 'HEAD') problemSchema.parse(reply.body);
  return reply.status;
}

describe('whatever is asked', () => {
  it('in paths and queries', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...routes),
        fc.oneof(text, rough),
        fc.array(
          fc.tuple(fc.oneof(text, fc.constantFrom('limit', 'after', 'port', 'id')), fc.oneof(text, rough)),
          { maxLength: 4 },
        ),
        async (route, value, pairs) => {
          // Names are resolved by the host, which is slow to say no.
          fc.pre(route.path !== '/v1/policy/explain');
          const query = pairs.map(([key, one]) => `${key}=${one}`).join('&');
          const where = `${route.path.replaceAll(/\{\w+\}/g, () => value)}${query === '' ? '' : `?${query}`}`;
          await expectProblem(
            route.method === 'PUT' || route.path === '/v1/shutdown' ? 'GET' : route.method,
            where,
          );
        },
      ),
      { numRuns: 300 },
    );
    expect(warnings).toEqual([]);
  });

  it('in bodies', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('POST /v1/ports', 'PUT /v1/log-level'),
        fc.oneof(
          fc.json(),
          fc.uint8Array({ maxLength: 200 }),
          fc
            .record({ spec: fc.anything() }, { requiredKeys: [] })
            .map((value) => JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? 1 : one))),
          fc.constantFrom(
            '',
            '{',
            '[[[[',
            '{"__proto__":{"spec":"1:1"}}',
            '{"constructor":1}',
            '['.repeat(60_000),
            '"\\ud800"',
            'null',
            '1e999',
          ),
        ),
        async (line, body) => {
          const [method = '', where = ''] = line.split(' ');
          expect([400, 413]).toContain(await expectProblem(method, where, body));
        },
      ),
      { numRuns: 300 },
    );
    expect(warnings).toEqual([]);
  });

  it.each([
    'text/plain',
    '',
    'application/jsonx',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
  ])('a body of type "%s" is 415', async (type) =>
    expect(await expectProblem('POST', '/v1/ports', '{"spec":"1:1"}', type)).toBe(415),
  );

  it('a body of JSON may name its character set', async () => {
    expect(
      await expectProblem('PUT', '/v1/log-level', '{"level":"warn"}', 'application/json; charset=utf-8'),
    ).toBe(200);
  });
});
