/** The HTTP proxy with real clients in the guest and real upstreams on the host: tinyproxy, squid, microsocks. */
import { afterEach, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { digestOf } from './bytes.mjs';
import { UPSTREAMS, UPSTREAM_PORT, tinyproxy } from './http-upstreams.js';
import { Lab } from './lab.js';
import { GATEWAY, scenarioReady, serveTap } from './scenario.js';
import type { Servers } from './servers.js';

const ready = scenarioReady(
  'HTTP proxy',
  'curl',
  'wget',
  'tinyproxy',
  'squid',
  'microsocks',
  'socat',
  'openssl',
  'ss',
);

const SIZE = count(4_000_000, 100_000_000);
/** As the servers spell it. */
const PATH = `/${SIZE}`;
const PROXY = `http://${GATEWAY}:3128`;

describe.runIf(ready)('the HTTP proxy', () => {
  let lab: Lab;

  afterEach(async () => {
    await lab?.destroy();
  });

  async function begin(flags: (lab: Lab) => readonly string[]): Promise<Servers> {
    lab = await Lab.create();
    const servers = await lab.serve({ web: { kind: 'http', port: 80 }, other: { kind: 'http', port: 443 } });
    await serveTap(lab, flags(lab));
    await lab.dhcp();
    return servers;
  }

  /** Digest of what a client in the guest puts out. */
  async function digest(...argv: readonly string[]): Promise<string> {
    const script = `set -o pipefail; "$@" | sha256sum`;
    return (await lab.check(lab.guest, ['bash', '-c', script, 'bash', ...argv], { timeoutMs: 50_000 })).split(
      ' ',
    )[0]!;
  }

  it.each(UPSTREAMS)('serves curl and wget, by requests and by CONNECT: $name', async ({ flags, start }) => {
    const servers = await begin(flags);
    await start?.(lab);
    const url = servers.url('web', PATH);
    const secured = servers.url('other', PATH);
    const expected = digestOf(SIZE);
    expect(await digest('curl', '-sS', '-f', '-x', PROXY, url)).toBe(expected);
    // A tunnel: to the port that proxies allow.
    expect(await digest('curl', '-sS', '-f', '-p', '-x', PROXY, secured)).toBe(expected);
    expect(await digest('wget', '-q', '-O', '-', '-e', `http_proxy=${PROXY}`, url)).toBe(expected);
  });

  it('says what is wrong while the upstream is dead, and heals when it is back', async () => {
    const servers = await begin(() => ['--http-proxy', `http://127.0.0.1:${UPSTREAM_PORT}`]);
    const url = servers.url('web', '/1000');
    const status = async (): Promise<string> =>
      (await lab.exec(lab.guest, ['curl', '-sS', '-x', PROXY, '-w', '\n%{http_code}', '-o', '-', url]))
        .stdout;
    const first = await tinyproxy(lab);
    expect(await status()).toMatch(/\n200$/);
    await first.kill();
    expect(await status()).toMatch(/connection refused[^]*Check that it runs[^]*\n502$/);
    await tinyproxy(lab);
    expect(await status()).toMatch(/\n200$/);
  });
});
