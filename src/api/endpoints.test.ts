/**
 * Every endpoint against its own schema: what it takes and what it gives. A route without a request in REQUESTS fails the test.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import type { LogThreshold } from '../observe/index.js';
import { type ApiLab, apiLab } from './api.testutil.js';
import { misfits } from './openapi.testutil.js';
import { ROUTES } from './routes.js';
import { problemSchema } from './schemas.js';

const SERVER = '198.51.100.1';

interface Asked {
  /** `METHOD PATH` with real values. */
  readonly line: string;
  readonly body?: object;
  readonly status: number;
  /** What the answer must hold at least; of a page: its first item. */
  readonly holds?: object;
}

/** By `METHOD PATH` of the route. Those of streams are in streams.test.ts. */
const REQUESTS: Readonly<Record<string, readonly Asked[]>> = {
  'GET /v1/version': [{ line: 'GET /v1/version', status: 200, holds: { name: 'netproxy', rights: 'full' } }],
  'GET /v1/health': [
    { line: 'GET /v1/health', status: 200, holds: { status: 'ok', guests: 1, leases: 1, flows: 2 } },
  ],
  'GET /v1/openapi.json': [{ line: 'GET /v1/openapi.json', status: 200, holds: { openapi: '3.1.0' } }],
  'GET /v1/networks': [
    {
      line: 'GET /v1/networks',
      status: 200,
      holds: { name: 'netproxy', subnet: '192.168.127.0/24', mtu: 1500 },
    },
    { line: 'GET /v1/networks?after=1', status: 200 },
  ],
  'GET /v1/guests': [
    {
      line: 'GET /v1/guests',
      status: 200,
      holds: { id: 1, name: 'guest1', ip: '192.168.127.2', link: { kind: 'memory' } },
    },
    { line: 'GET /v1/guests?after=1', status: 200 },
  ],
  'GET /v1/guests/{name}': [
    { line: 'GET /v1/guests/guest1', status: 200, holds: { name: 'guest1' } },
    { line: 'GET /v1/guests/nobody', status: 404 },
    { line: 'GET /v1/guests/a%20b', status: 400 },
    { line: `GET /v1/guests/${'x'.repeat(65)}`, status: 400 },
  ],
  'DELETE /v1/guests/{name}': [
    { line: 'DELETE /v1/guests/nobody', status: 404 },
    { line: 'DELETE /v1/guests/spare', status: 204 },
    { line: 'DELETE /v1/guests/spare', status: 404 },
  ],
  'GET /v1/leases': [
    {
      line: 'GET /v1/leases',
      status: 200,
      holds: { ip: '192.168.127.2', hostname: 'guest1', guest: 'guest1' },
    },
    { line: 'GET /v1/leases?after=3232268035', status: 200 },
  ],
  'GET /v1/flows': [
    {
      line: 'GET /v1/flows',
      status: 200,
      holds: { protocol: 'tcp', peer: `${SERVER}:80`, state: 'ESTABLISHED' },
    },
    {
      line: 'GET /v1/flows?tcp=true&limit=1',
      status: 200,
      holds: { tcp: { state: 'ESTABLISHED', congestion: 'cubic' } },
    },
    {
      line: 'GET /v1/flows?protocol=udp&tcp=true',
      status: 200,
      holds: { protocol: 'udp', direction: 'out' },
    },
  ],
  'GET /v1/flows/{id}': [
    { line: 'GET /v1/flows/1', status: 200, holds: { id: 1, tcp: { state: 'ESTABLISHED' } } },
    { line: 'GET /v1/flows/99', status: 404 },
  ],
  'DELETE /v1/flows/{id}': [
    { line: 'DELETE /v1/flows/2', status: 204 },
    { line: 'DELETE /v1/flows/2', status: 404 },
  ],
  'POST /v1/ports': [
    {
      line: 'POST /v1/ports',
      body: { spec: '127.0.0.1:8080:80' },
      status: 201,
      holds: { id: 1, host: '127.0.0.1', port: 8080, guestPort: 80, target: 'first guest', clients: 0 },
    },
    {
      line: 'POST /v1/ports',
      body: { spec: 'guest1@0:53/udp' },
      status: 201,
      holds: { id: 2, protocol: 'udp', target: 'guest1' },
    },
    {
      line: 'POST /v1/ports',
      body: { spec: '127.0.0.1:8080:80' },
      status: 409,
      holds: { code: 'ERR_NETPROXY_PUBLISH', errno: 'EADDRINUSE' },
    },
    { line: 'POST /v1/ports', body: { spec: '80' }, status: 400, holds: { code: 'ERR_NETPROXY_CONFIG' } },
    { line: 'POST /v1/ports', body: { spec: 80 }, status: 400 },
    { line: 'POST /v1/ports', body: { spec: '1:1', x: 1 }, status: 400 },
    { line: 'POST /v1/ports', body: [], status: 400 },
    { line: 'POST /v1/ports', body: {}, status: 400 },
    {
      line: 'POST /v1/ports',
      body: { spec: '127.0.0.2:8080:80', preserveSource: true, proxyProtocol: 'v2', maxConnections: 9 },
      status: 201,
      holds: { spec: '127.0.0.2:8080:80/tcp,preserve-source,proxy-protocol=v2,max-connections=9' },
    },
    { line: 'POST /v1/ports', body: { spec: '1:1/udp', proxyProtocol: 'v2' }, status: 400 },
    { line: 'POST /v1/ports', body: { spec: '1:1', maxConnections: 0 }, status: 400 },
    { line: 'POST /v1/ports', status: 415 },
  ],
  'POST /v1/ports/range': [
    {
      line: 'POST /v1/ports/range',
      body: { spec: '127.0.0.3:8080-8081:80-81', preserveSource: true },
      status: 201,
      holds: {
        items: [
          { port: 8080, guestPort: 80 },
          { port: 8081, guestPort: 81 },
        ],
      },
    },
    { line: 'POST /v1/ports/range', body: { spec: '127.0.0.3:8079-8080:80-81' }, status: 409 },
    { line: 'POST /v1/ports/range', body: { spec: '1-10001:1-10001' }, status: 400 },
    { line: 'POST /v1/ports/range', body: { spec: '1-2:1-3' }, status: 400 },
  ],
  'GET /v1/ports': [
    { line: 'GET /v1/ports', status: 200, holds: { id: 1, spec: '127.0.0.1:8080:80/tcp' } },
    { line: 'GET /v1/ports?protocol=udp', status: 200, holds: { id: 2 } },
    { line: 'GET /v1/ports?port=8080', status: 200, holds: { id: 1 } },
    { line: 'GET /v1/ports?after=9', status: 200 },
  ],
  'GET /v1/proxy': [{ line: 'GET /v1/proxy', status: 200, holds: { source: 'none', http: [], sources: [] } }],
  'PUT /v1/proxy': [
    {
      line: 'PUT /v1/proxy',
      body: { http: ['http://me:secret@proxy.test:3128'], noProxy: ['.corp'] },
      status: 200,
      holds: { source: 'api', https: ['http://proxy.test:3128'], noProxy: ['.corp'] },
    },
    { line: 'PUT /v1/proxy', body: {}, status: 400 },
    { line: 'PUT /v1/proxy', body: { http: ['ftp://x'] }, status: 400 },
    { line: 'PUT /v1/proxy', body: { pac: 'gopher://x' }, status: 400 },
    { line: 'PUT /v1/proxy', body: { http: Array<string>(17).fill('a') }, status: 400 },
  ],
  'PATCH /v1/proxy': [
    {
      line: 'PATCH /v1/proxy',
      body: { https: ['direct'] },
      status: 200,
      holds: { source: 'api', http: ['http://proxy.test:3128'], https: ['direct'], noProxy: ['.corp'] },
    },
    { line: 'PATCH /v1/proxy', body: { noProxy: ['a..b'] }, status: 400 },
  ],
  'POST /v1/proxy/explain': [
    {
      line: 'POST /v1/proxy/explain',
      body: { url: 'http://a.corp/secret' },
      status: 200,
      holds: { url: 'http://a.corp/', upstreams: ['direct'], past: '.corp' },
    },
    { line: 'POST /v1/proxy/explain', body: { url: 'ftp://x' }, status: 400 },
  ],
  'DELETE /v1/proxy': [
    { line: 'DELETE /v1/proxy', status: 204 },
    { line: 'DELETE /v1/proxy', status: 404 },
  ],
  'GET /v1/dns/explain': [
    {
      line: 'GET /v1/dns/explain?name=gateway.docker.internal',
      status: 200,
      holds: { type: 'A', rcode: 'noError', answers: ['gateway.docker.internal 60 A 192.168.127.1'] },
    },
    { line: 'GET /v1/dns/explain?name=a..b', status: 400 },
    { line: 'GET /v1/dns/explain?name=a.b&type=NOTYPE', status: 400 },
  ],
  'PUT /v1/dns/zones/{name}': [
    {
      line: 'PUT /v1/dns/zones/corp.example',
      body: { name: 'Corp.example.', records: [{ name: 'www', type: 'A', value: '10.0.0.1' }] },
      status: 200,
      holds: { name: 'Corp.example.' },
    },
    { line: 'PUT /v1/dns/zones/corp.example', body: { name: 'corp.example', records: [] }, status: 200 },
    { line: 'PUT /v1/dns/zones/lab.example', body: { name: 'lab.example', ttl: 5 }, status: 200 },
    { line: 'PUT /v1/dns/zones/corp.example', body: { name: 'other.example' }, status: 400 },
    {
      line: 'PUT /v1/dns/zones/z',
      body: { name: 'z', records: [{ name: 'a', type: 'A', value: 'b' }] },
      status: 400,
    },
    { line: 'PUT /v1/dns/zones/a..b', body: { name: 'a..b' }, status: 400 },
  ],
  'GET /v1/dns/zones': [
    { line: 'GET /v1/dns/zones', status: 200, holds: { name: 'corp.example', records: [] } },
    { line: 'GET /v1/dns/zones?after=1', status: 200, holds: { name: 'lab.example' } },
    { line: 'GET /v1/dns/zones?after=2', status: 200 },
  ],
  'GET /v1/dns/zones/{name}': [
    { line: 'GET /v1/dns/zones/LAB.example.', status: 200, holds: { name: 'lab.example', ttl: 5 } },
    { line: 'GET /v1/dns/zones/none.example', status: 404 },
  ],
  'DELETE /v1/dns/zones/{name}': [
    { line: 'DELETE /v1/dns/zones/corp.example', status: 204 },
    { line: 'DELETE /v1/dns/zones/corp.example', status: 404 },
  ],
  'GET /v1/ports/{id}': [
    { line: 'GET /v1/ports/1', status: 200, holds: { id: 1, counters: { connections: 0 } } },
    { line: 'GET /v1/ports/99', status: 404 },
  ],
  'DELETE /v1/ports/{id}': [
    { line: 'DELETE /v1/ports/1', status: 204 },
    { line: 'DELETE /v1/ports/1', status: 404 },
  ],
  'GET /v1/stats': [{ line: 'GET /v1/stats', status: 200, holds: { outbound: { opened: 1 }, guests: {} } }],
  'GET /v1/policy': [
    {
      line: 'GET /v1/policy',
      status: 200,
      holds: { default: 'allow', rules: [], log: 'denied', decisions: { default: 2 } },
    },
  ],
  'PUT /v1/policy': [
    {
      line: 'PUT /v1/policy',
      body: { rules: ['deny 10.0.0.0/8', 'redirect tcp:203.0.113.7:80 to host:8080'], log: 'all' },
      status: 200,
      holds: {
        default: 'allow',
        rules: [{ id: 1, rule: 'deny 10.0.0.0/8', decided: 0 }, { id: 2 }],
        log: 'all',
      },
    },
    {
      line: 'PUT /v1/policy',
      body: { rules: ['permit any'] },
      status: 400,
      holds: { code: 'ERR_NETPROXY_CONFIG' },
    },
    { line: 'PUT /v1/policy', body: { default: 'maybe' }, status: 400 },
  ],
  'POST /v1/policy/rules': [
    {
      line: 'POST /v1/policy/rules',
      body: { rule: 'allow tcp:*.example.com:443', before: 1, end: true },
      status: 201,
      holds: { id: 3, rule: 'allow tcp:*.example.com:443', decided: 0 },
    },
    { line: 'POST /v1/policy/rules', body: { rule: 'allow any', before: 99 }, status: 400 },
    { line: 'POST /v1/policy/rules', body: { rule: 'allow tcp:any:0' }, status: 400 },
  ],
  'DELETE /v1/policy/rules/{id}': [
    { line: 'DELETE /v1/policy/rules/1?end=true', status: 204 },
    { line: 'DELETE /v1/policy/rules/1', status: 404 },
    { line: 'DELETE /v1/policy/rules/2?end=maybe', status: 400 },
  ],
  'GET /v1/policy/asks': [
    { line: 'GET /v1/policy/asks', status: 200, holds: { guest: 'guest1', protocol: 'udp', port: 99 } },
    { line: 'GET /v1/policy/asks?after=999999', status: 200 },
  ],
  'POST /v1/policy/asks/{id}': [
    { line: 'POST /v1/policy/asks/QUESTION', body: { verdict: 'maybe' }, status: 400 },
    { line: 'POST /v1/policy/asks/QUESTION', body: { verdict: 'allow', remember: true }, status: 204 },
    { line: 'POST /v1/policy/asks/QUESTION', body: { verdict: 'allow' }, status: 404 },
  ],
  'GET /v1/policy/learned': [{ line: 'GET /v1/policy/learned', status: 200, holds: { log: 'all' } }],
  'GET /v1/policy/decisions': [
    { line: 'GET /v1/policy/decisions', status: 200, holds: { verdict: 'ask', port: 99 } },
    { line: 'GET /v1/policy/decisions?verdict=deny', status: 200 },
    { line: 'GET /v1/policy/decisions?verdict=perhaps', status: 400 },
  ],
  'GET /v1/policy/explain': [
    {
      line: 'GET /v1/policy/explain?host=127.0.0.1',
      status: 200,
      holds: { verdict: 'deny', how: 'silent', rule: 'loopback' },
    },
    {
      line: 'GET /v1/policy/explain?host=192.168.127.254&port=80',
      status: 200,
      holds: { verdict: 'dial', via: 'alias' },
    },
    {
      line: 'GET /v1/policy/explain?host=192.168.127.1&port=53&protocol=udp&guest=x',
      status: 200,
      holds: { service: 'dns' },
    },
    { line: 'GET /v1/policy/explain', status: 400 },
    { line: 'GET /v1/policy/explain?host=1.1.1.1&port=0', status: 400 },
  ],
  'GET /v1/log-level': [{ line: 'GET /v1/log-level', status: 200, holds: { level: 'info' } }],
  'PUT /v1/log-level': [
    { line: 'PUT /v1/log-level', body: { level: 'debug' }, status: 200, holds: { level: 'debug' } },
    { line: 'PUT /v1/log-level', body: { level: 'loud' }, status: 400 },
  ],
  'POST /v1/shutdown': [{ line: 'POST /v1/shutdown', status: 202 }],
};

const name = ({ method, path: where }: { method: string; path: string }): string => `${method} ${where}`;
const ended = resolvers();
const logLevel: { level: LogThreshold } = { level: 'info' };
let api: ApiLab;
/** The number of a question that waits. */
let question: number | undefined;

function resolvers() {
  let resolve!: () => void;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

/** A datagram that somebody is asked about. */
async function waitingFlow({ lab }: ApiLab): Promise<void> {
  lab.network.policy.add('ask udp:any:99');
  lab.guest.udp(5001).send(Buffer.from('ping'), SERVER, 99);
  await lab.clock.advance(100);
  question = lab.network.policy.asks()[0]?.id;
}

beforeAll(async () => {
  api = await apiLab({ logLevel, shutdown: () => ended.resolve() });
  const { lab } = api;
  lab.host.accept(SERVER, () => undefined);
  const socket = await lab.run(lab.guest.connect(SERVER, 80));
  socket.on('error', () => undefined);
  const udp = lab.guest.udp(5000);
  udp.send(Buffer.from('ping'), SERVER, 7);
  await lab.clock.advance(1000);
});
afterAll(() => api[Symbol.asyncDispose]());

describe('every endpoint', () => {
  const cases = ROUTES.filter(({ answer }) => answer.kind !== 'stream');

  it('is asked here or in streams.test.ts', () => {
    expect(Object.keys(REQUESTS).toSorted()).toEqual(cases.map(name).toSorted());
  });

  it.each(
    Object.values(REQUESTS).flatMap((asked) =>
      asked.map((one) => ({ ...one, what: JSON.stringify(one.body) ?? '' })),
    ),
  )('$line $what is $status', async ({ line, body, status, holds }) => {
    if (line === 'DELETE /v1/guests/spare' && status === 204) await api.lab.attach({ name: 'spare' });
    if (line === 'GET /v1/policy/asks') await waitingFlow(api);
    const reply = await api.ask(line.replace('QUESTION', String(question)), body);
    expect(reply.status).toBe(status);
    const [method = '', where = ''] = line.split(' ');
    const route = cases.find(
      (one) =>
        one.method === method &&
        new RegExp(`^${one.path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(where.split('?')[0] ?? ''),
    )!;
    expect(misfits(method, route.path, reply)).toEqual([]);
    if (status >= 400) {
      expect(problemSchema.parse(reply.body)).toMatchObject({ status, ...holds });
      return;
    }
    if (route.answer.kind === 'none') {
      expect(reply.text).toBe('');
    } else if (route.answer.kind === 'json') {
      expect(reply.headers['content-type']).toBe('application/json');
      expect(route.answer.schema.parse(reply.body)).toMatchObject(holds ?? {});
    } else if (route.answer.kind === 'page') {
      const page = z
        .strictObject({ items: z.array(route.answer.item), next: z.int().optional() })
        .parse(reply.body);
      if (holds === undefined) expect(page.items).toEqual([]);
      else expect(page.items[0]).toMatchObject(holds);
    }
  });

  it('that shuts down does so after it answered', async () => {
    await ended.promise;
    expect(logLevel.level).toBe('debug');
  });

  it('whose part is missing says so', async () => {
    await using bare = await apiLab();
    for (const line of ['GET /v1/log-level', 'POST /v1/shutdown'])
      expect(await bare.ask(line)).toMatchObject({ status: 501, body: { code: 'ERR_NETPROXY_UNSUPPORTED' } });
    expect((await bare.ask('GET /v1/version')).body).not.toMatchObject({
      features: expect.arrayContaining(['shutdown']) as string[],
    });
  });
});
