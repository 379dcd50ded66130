/** The HTTP proxy while its settings change, while its upstream dies, and what becomes of credentials meanwhile. */
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { until } from '../support/deadline.js';
import type { Proc } from '../support/process.js';
import { digestOf } from './bytes.mjs';
import { Lab } from './lab.js';
import type { Netproxy } from './netproxy.js';
import { GATEWAY, scenarioReady, serveTap } from './scenario.js';
import type { Servers } from './servers.js';

const ready = scenarioReady('HTTP proxy, live', 'curl', 'bash');

const PEER = path.join(import.meta.dirname, 'proxy-peer.mjs');
const CHANGES = count(25, 100);
const CLIENTS = 50;
const BYTES = count(500_000, 5_000_000);
/** Bytes a second of each client: the changes happen meanwhile. */
const RATE = count(150_000, 400_000);
const DEAD_MS = count(2_000, 10_000);
const PORTS = { one: 3991, two: 3992 } as const;
const USER = 'me:topsecret';
const PROXY = `http://${GATEWAY}:3128`;
const LONG = count(100_000, 600_000);

describe.runIf(ready)('the HTTP proxy, live', () => {
  let lab: Lab;
  let netproxy: Netproxy;
  let servers: Servers;

  afterEach(async () => {
    await lab?.destroy();
  });

  async function begin(...flags: readonly string[]): Promise<void> {
    lab = await Lab.create();
    servers = await lab.serve({ web: { kind: 'http', port: 80, quiet: true } });
    netproxy = await serveTap(lab, ['--services', `unix:${lab.path('api')}`, ...flags]);
    await lab.dhcp();
  }

  async function upstream(name: keyof typeof PORTS, user = USER): Promise<Proc> {
    const proc = lab.spawn(lab.host, [process.execPath, PEER, 'proxy', String(PORTS[name]), name, user]);
    await until(30_000, `${name} listens`, () => proc.stdout.includes('"ready"'));
    return proc;
  }

  /** One request to the control API. */
  function api(method: string, where: string, body?: object): Promise<string> {
    return new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json' };
      const sent = request({ socketPath: lab.path('api'), method, path: where, headers }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        answer.on('end', () => {
          if ((answer.statusCode ?? 500) < 300) resolve(text);
          else reject(new Error(`${method} ${where}: ${answer.statusCode ?? ''} ${text}`));
        });
      });
      sent.once('error', reject).end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  const use = (name: keyof typeof PORTS): Promise<string> =>
    api('PUT', '/v1/proxy', { http: [`http://${USER}@127.0.0.1:${PORTS[name]}`] });

  const curl = async (...argv: readonly string[]): Promise<string> =>
    (await lab.exec(lab.guest, ['curl', '-sS', '-x', PROXY, ...argv], { timeoutMs: LONG })).stdout;

  it(
    `goes by another upstream ${CHANGES} times while ${CLIENTS} clients download`,
    async () => {
      await begin();
      await upstream('one');
      await upstream('two');
      await use('one');
      const script = `for i in $(seq ${CLIENTS}); do
      [ $((i % 2)) = 0 ] && tunnel=-p || tunnel=
      (set -o pipefail; curl -sS -f $tunnel --limit-rate ${RATE} -x "$1" "$2" | sha256sum || echo failed) &
    done; wait`;
      const clients = lab.spawn(lab.guest, [
        'bash',
        '-c',
        script,
        'bash',
        PROXY,
        servers.url('web', `/${BYTES}`),
      ]);
      const small = servers.url('web', '/1000');
      for (let i = 0; i < CHANGES; i++) {
        const name = i % 2 === 0 ? 'two' : 'one';
        await use(name);
        // The next request, not only one a second later.
        expect(await curl('-o', '/dev/null', '-w', '%header{x-proxy}', small)).toBe(name);
      }
      await until(LONG, 'all clients are done', () => clients.ended !== undefined);
      const digest = digestOf(BYTES);
      const lines = clients.stdout.trim().split('\n');
      expect(clients.stderr).toBe('');
      expect(lines).toHaveLength(CLIENTS);
      expect(new Set(lines)).toEqual(new Set([`${digest}  -`]));
      const proxy = JSON.parse(await api('GET', '/v1/proxy')) as {
        upstreams: { name: string; failures: number }[];
      };
      expect(proxy.upstreams.map(({ name, failures }) => [name, failures]).toSorted()).toEqual(
        Object.values(PORTS).map((port) => [`http://127.0.0.1:${port}`, 0]),
      );
      await api('DELETE', '/v1/proxy');
      expect(await curl('-o', '/dev/null', '-w', '%{http_code}%header{x-proxy}', small)).toBe('200');
    },
    LONG,
  );

  it(
    `says why nothing works while the upstream is dead for ${DEAD_MS} ms, and heals`,
    async () => {
      await begin();
      const first = await upstream('one');
      await use('one');
      const url = servers.url('web', '/1000');
      const ask = (): Promise<string> => curl('-D', '-', '-w', '\n%{http_code}', '-o', '-', url);
      expect(await ask()).toMatch(/\n200$/);
      await first.kill();
      const end = performance.now() + DEAD_MS;
      do {
        expect(await ask()).toMatch(
          /Proxy-Status: netproxy; error=connection_refused; next-hop="http:\/\/127[^]*connection refused[^]*\n502$/i,
        );
        expect(await curl('-p', url)).toBe('');
      } while (performance.now() < end);
      const status = JSON.parse(await api('GET', '/v1/proxy')) as { upstreams: { state: string }[] };
      expect(status.upstreams[0]).toMatchObject({ state: 'down' });
      await upstream('one');
      // At once: what is down is tried when there is no other.
      expect(await ask()).toMatch(/\n200$/);
      expect(JSON.parse(await api('GET', '/v1/proxy'))).toMatchObject({ upstreams: [{ state: 'up' }] });
    },
    LONG,
  );

  it(
    'keeps credentials from origins, logs, statistics and answers',
    async () => {
      await begin('--log-level', 'debug');
      await upstream('one');
      await upstream('two', 'somebody:else');
      const headers = servers.url('web', '/headers');
      const seen: string[] = [];
      await use('one');
      // The guest's own, too.
      const guest = ['-U', 'guest:hushhush', '-D', '-'];
      seen.push(await curl(...guest, headers), await curl(...guest, '-p', headers));
      expect(seen.join('')).toMatch(/"via":/);
      // Refused ones, and none asked.
      await use('two');
      seen.push(await curl('-D', '-', headers), await curl('-D', '-', '-p', headers));
      expect(seen.at(-2)).toContain('502');
      await api('PATCH', '/v1/proxy', { noProxy: ['*'] });
      seen.push(await curl(...guest, headers));
      await api('POST', '/v1/proxy/explain', { url: `http://${USER}@a.test/` });
      const places = [
        '/v1/proxy',
        '/v1/stats',
        '/v1/flows',
        '/v1/guests',
        '/v1/policy/decisions',
        '/v1/openapi.json',
      ];
      for (const place of places) seen.push(await api('GET', place));
      for (const place of ['/v1/events', '/v1/dns/log'])
        seen.push(await api('GET', `${place}?last=256&follow=false`));
      const { stdout, stderr } = netproxy.proc;
      expect(stderr).toContain('HTTP proxy:');
      seen.push(stdout, stderr, readFileSync(`/proc/${netproxy.pid}/cmdline`, 'utf8'));
      const secrets = [USER, 'guest:hushhush'].flatMap((user) => [
        user.split(':')[1]!,
        Buffer.from(user).toString('base64'),
      ]);
      for (const secret of secrets) expect(seen.join('\n')).not.toContain(secret);
    },
    LONG,
  );
});
