/**
 * The matrix of the HTTP proxy: client × mode (requests to the proxy, CONNECT, intercepted) × upstream × authentication, with real
 * clients in the guest. Another upstream is a line in http-upstreams.ts, another client one in CLIENTS.
 */
import { mkdirSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FULL, count } from '../support/counts.js';
import type { Proc } from '../support/process.js';
import { digestOf } from './bytes.mjs';
import { UPSTREAMS, UPSTREAM_PORT, tinyproxy } from './http-upstreams.js';
import { Lab } from './lab.js';
import type { Netproxy } from './netproxy.js';
import { GATEWAY, scenarioReady, serveTap } from './scenario.js';
import { type Web, startWeb } from './web.js';

const TOOLS = [
  'curl',
  'wget',
  'git',
  'openssl',
  'nc',
  'nginx',
  'dnsmasq',
  'tinyproxy',
  'squid',
  'microsocks',
];
const ready = scenarioReady('HTTP proxy, matrix', ...TOOLS, 'socat', 'ss', 'apt-get');

const SIZE = count(1_000_000, 100_000_000);
const NAME = 'web.lab.test';
const PROXY = `http://${GATEWAY}:3128`;
const BANNER = 'SSH-2.0-lab';
/** Clients at once: they shall meet each other, and the machine shall not be full of them. */
const AT_ONCE = 4;
const TIMEOUT = 50_000;

type Mode = 'requests' | 'CONNECT' | 'intercepted';

interface Client {
  readonly name: string;
  readonly mode: Mode;
  /** A script of bash; `$CA` is the web server's certificate, `$OUT` a folder, `$PROXY` netproxy's URL. */
  readonly script: string;
  /** Takes its time: at reduced counts with every other upstream. */
  readonly slow?: true;
  /** The last line that it prints. */
  readonly says: (web: Web) => string;
}

const bytes = (): string => `${digestOf(SIZE)}  -`;
const commit = ({ commit: id }: Web): string => id;
const HTTP = `http://${NAME}`;
const HTTPS = `https://${NAME}`;

/** An HTTP request through s_client, which ends with the connection. */
const S_CLIENT =
  `printf 'GET /bytes HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error -CAfile "$CA" ` +
  `-servername ${NAME} -connect ${NAME}:443`;
const BODY = `| perl -0777 -pe 's/^.*?\\r\\n\\r\\n//s' | sha256sum`;
const GIT = `GIT_SSL_CAINFO="$CA" git`;
const CLONE = `clone -q ${HTTPS}/repo/.git "$OUT/repo" && git -C "$OUT/repo" rev-parse HEAD`;
const APT = `printf 'deb [trusted=yes] ${HTTP}/apt ./\\n' > "$OUT/list" && mkdir -p "$OUT/lists/partial" "$OUT/cache" &&
  apt-get update -qq -o APT::Sandbox::User=root -o Dir::Etc::SourceList="$OUT/list" -o Dir::Etc::SourceParts=- \
  -o Dir::State::Lists="$OUT/lists" -o Dir::Cache="$OUT/cache" -o Acquire::Retries=0 -o Acquire::GzipIndexes=false `;
const APT_SAYS = ` >&2 && cat "$OUT"/lists/*Packages | head -n 1`;
const FETCH = `fetch(process.argv[1]).then((r) => r.arrayBuffer()).then((b) =>
  console.log(require('node:crypto').createHash('sha256').update(Buffer.from(b)).digest('hex') + '  -'))`;

const CLIENTS: readonly Client[] = [
  { name: 'curl', mode: 'requests', script: `curl -sSf -x $PROXY ${HTTP}/bytes | sha256sum`, says: bytes },
  {
    name: 'wget',
    mode: 'requests',
    script: `http_proxy=$PROXY wget -q -O - ${HTTP}/bytes | sha256sum`,
    says: bytes,
  },
  {
    name: 'apt',
    mode: 'requests',
    slow: true,
    script: `${APT} -o Acquire::http::Proxy=$PROXY ${APT_SAYS}`,
    says: () => 'Package: lab',
  },
  {
    name: 'curl',
    mode: 'CONNECT',
    script: `curl -sSf --cacert "$CA" -x $PROXY ${HTTPS}/bytes | sha256sum`,
    says: bytes,
  },
  {
    name: 'wget',
    mode: 'CONNECT',
    script: `https_proxy=$PROXY wget -q --ca-certificate="$CA" -O - ${HTTPS}/bytes | sha256sum`,
    says: bytes,
  },
  { name: 'git', mode: 'CONNECT', slow: true, script: `${GIT} -c http.proxy=$PROXY ${CLONE}`, says: commit },
  {
    name: 'openssl s_client',
    mode: 'CONNECT',
    script: `${S_CLIENT} -proxy ${GATEWAY}:3128 2> /dev/null ${BODY}`,
    says: bytes,
  },
  {
    name: 'nc, the server speaks first',
    mode: 'CONNECT',
    script: `head -c ${BANNER.length} < <(nc -d -X connect -x ${GATEWAY}:3128 198.18.0.2 443 2> /dev/null)`,
    says: () => BANNER,
  },
  { name: 'curl', mode: 'intercepted', script: `curl -sSf ${HTTP}/bytes | sha256sum`, says: bytes },
  {
    name: 'curl, TLS',
    mode: 'intercepted',
    script: `curl -sSf --cacert "$CA" ${HTTPS}/bytes | sha256sum`,
    says: bytes,
  },
  { name: 'wget', mode: 'intercepted', script: `wget -q -O - ${HTTP}/bytes | sha256sum`, says: bytes },
  {
    name: 'wget, TLS',
    mode: 'intercepted',
    script: `wget -q --ca-certificate="$CA" -O - ${HTTPS}/bytes | sha256sum`,
    says: bytes,
  },
  { name: 'git', mode: 'intercepted', slow: true, script: `${GIT} ${CLONE}`, says: commit },
  { name: 'apt', mode: 'intercepted', slow: true, script: `${APT} ${APT_SAYS}`, says: () => 'Package: lab' },
  {
    name: 'Node fetch, TLS',
    mode: 'intercepted',
    slow: true,
    script: `NODE_EXTRA_CA_CERTS="$CA" node -e "${FETCH}" ${HTTPS}/bytes`,
    says: bytes,
  },
  {
    name: 'openssl s_client',
    mode: 'intercepted',
    script: `${S_CLIENT} 2> /dev/null ${BODY}`,
    says: bytes,
  },
  {
    name: 'a server that speaks first',
    mode: 'intercepted',
    script: `exec 3<> /dev/tcp/198.18.0.2/443 && head -c ${BANNER.length} <&3`,
    says: () => BANNER,
  },
];

describe.runIf(ready)('the HTTP proxy, client by client', () => {
  let lab: Lab;
  let web: Web;
  let netproxy: Netproxy | undefined;
  let upstreams: readonly Proc[] = [];
  let runs = 0;

  beforeAll(async () => {
    lab = await Lab.create();
    web = await startWeb(lab, NAME, SIZE);
    await lab.serve({
      banner: { kind: 'tcp-banner', address: '198.18.0.2', port: 443, text: `${BANNER}\r\n` },
    });
    await lab.dns([`--host-record=${NAME},${lab.address()}`]);
  });

  afterAll(async () => {
    await lab?.destroy();
  });

  afterEach(async () => {
    await netproxy?.stop();
    for (const proc of upstreams) await proc.kill();
    netproxy = undefined;
    upstreams = [];
  });

  async function begin(flags: readonly string[]): Promise<void> {
    netproxy = await serveTap(lab, ['--services', `unix:${lab.path('api')}`, ...flags]);
    await lab.dhcp();
  }

  const env = (out: string, proxy = PROXY) => ({
    CA: web.certificate,
    OUT: out,
    PROXY: proxy,
    HOME: out,
    GIT_CONFIG_NOSYSTEM: '1',
  });

  async function run({ name, mode, script }: Client, index: number): Promise<string> {
    const out = lab.path(`out${runs}-${index}`);
    mkdirSync(out);
    const argv = ['bash', '-c', `set -o pipefail; ${script}`];
    const { code, stdout, stderr } = await lab.exec(lab.guest, argv, { env: env(out), timeoutMs: TIMEOUT });
    const said = stdout.trim().split('\n').at(-1) ?? '';
    return `${name}, ${mode}: ${code === 0 ? said : `${code}: ${said} ${stderr}`}`;
  }

  /** What the control API says of the proxy's counters. */
  async function counters(): Promise<Record<string, number>> {
    const argv = ['curl', '-sS', '--unix-socket', lab.path('api'), 'http://api/v1/stats'];
    return (JSON.parse(await lab.check(lab.host, argv)) as { httpProxy: Record<string, number> }).httpProxy;
  }

  it.each(UPSTREAMS.map((upstream, row) => ({ ...upstream, row })))(
    'all get what is there: $name',
    async ({ name: what, row, flags, start }) => {
      const clients = CLIENTS.filter(({ slow }, index) => FULL || slow !== true || (index + row) % 2 === 0);
      runs++;
      upstreams = (await start?.(lab)) ?? [];
      await begin(flags(lab));
      const results: string[] = [];
      const left = clients.entries();
      const worker = async (): Promise<void> => {
        for (const [index, client] of left) results[index] = await run(client, index);
      };
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
      expect(results).toEqual(clients.map(({ name, mode, says }) => `${name}, ${mode}: ${says(web)}`));
      const stats = await counters();
      // One for each client at least; on a slow machine others than the server that speaks first are silent at first.
      const intercepted = clients.filter(({ mode }) => mode === 'intercepted').length;
      expect(stats['intercepted']).toBeGreaterThanOrEqual(intercepted);
      expect(stats['silent']).toBeGreaterThanOrEqual(1);
      expect(stats['failed'], what).toBe(0);
    },
  );

  it('never answers for a dead upstream, and says what is wrong where it can', async () => {
    await begin(['--http-proxy', `http://127.0.0.1:${UPSTREAM_PORT}`]);
    const curl = async (...argv: string[]): Promise<string> => {
      const { code, stdout } = await lab.exec(lab.guest, ['curl', '-sS', '-w', '%{http_code}', ...argv]);
      return `${code} ${stdout}`;
    };
    const refused = async (): Promise<void> => {
      // 7: nobody took the connection.
      for (const url of [`${HTTP}/bytes`, `${HTTPS}/bytes`, 'http://198.18.0.2:443/'])
        expect(await curl('-o', '/dev/null', url)).toBe('7 000');
      expect(await curl('-x', PROXY, `${HTTP}/bytes`)).toMatch(/^0 [^]*connection refused[^]*502$/);
    };
    await refused();
    upstreams = [await tinyproxy(lab)];
    expect(await curl('-o', '/dev/null', `${HTTP}/bytes`)).toBe('0 200');
    await upstreams[0]?.kill();
    await refused();
  });

  it('passes on whom an upstream wants: a password of the guest where it speaks to the proxy, nothing where it does not', async () => {
    await begin(['--http-proxy', `http://127.0.0.1:${UPSTREAM_PORT}`]);
    upstreams = [await tinyproxy(lab, 'BasicAuth me secret')];
    const curl = (...argv: string[]) =>
      lab.exec(lab.guest, ['curl', '-sS', '-o', '/dev/null', '-w', '%{http_code} %{http_connect}', ...argv]);
    const own = ['-x', PROXY.replace('//', '//me:secret@'), '--cacert', web.certificate];
    expect((await curl(...own, `${HTTP}/bytes`)).stdout).toBe('200 000');
    expect((await curl(...own, `${HTTPS}/bytes`)).stdout).toBe('200 200');
    expect((await curl('-x', PROXY, `${HTTP}/bytes`)).stdout).toBe('407 000');
    expect((await curl(`${HTTP}/bytes`)).stdout).toBe('502 000');
    // A reset in the middle of TLS.
    expect((await curl(`${HTTPS}/bytes`)).code).toBe(35);
    expect((await counters())['refusedTunnels']).toBe(1);
  });
});
