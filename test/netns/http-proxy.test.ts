/** The HTTP proxy with real clients in the guest and real upstreams on the host: tinyproxy, squid, microsocks. */
import { writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { until } from '../support/deadline.js';
import type { Proc } from '../support/process.js';
import { digestOf } from './bytes.mjs';
import { Lab } from './lab.js';
import { GATEWAY, scenarioReady, serveTap } from './scenario.js';
import type { Servers } from './servers.js';

const ready = scenarioReady('HTTP proxy', 'curl', 'wget', 'tinyproxy', 'squid', 'microsocks', 'ss');

const SIZE = count(4_000_000, 100_000_000);
/** As the servers spell it. */
const PATH = `/${SIZE}`;
const PORT = 3999;
const PROXY = `http://${GATEWAY}:3128`;

/** How each upstream is started, and how netproxy is told of it. */
interface Upstream {
  readonly name: string;
  readonly flags: readonly string[];
  readonly start?: (lab: Lab) => Proc;
}

function tinyproxy(lab: Lab, more = ''): Proc {
  const file = lab.path('tinyproxy.conf');
  writeFileSync(
    file,
    `Port ${PORT}\nListen 127.0.0.1\nTimeout 600\nMaxClients 100\nDisableViaHeader Yes\n${more}\n`,
  );
  return lab.spawn(lab.host, ['tinyproxy', '-d', '-c', file], { stdin: 'ignore' });
}

function squid(lab: Lab): Proc {
  const file = lab.path('squid.conf');
  const lines = [
    `http_port 127.0.0.1:${PORT}`,
    'http_access allow all',
    'cache deny all',
    'pid_filename none',
    'access_log none',
    'cache_log /dev/null',
    // Squid does not run as root.
    'cache_effective_user nobody',
    'dns_nameservers 127.0.0.1',
    'pinger_enable off',
    'netdb_filename none',
    'shutdown_lifetime 0 seconds',
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  // Its shared memory has a fixed name and outlives it: a /dev/shm of its own goes with it.
  const script = 'mount -t tmpfs tmpfs /dev/shm && exec squid -N -f "$1"';
  return lab.spawn(lab.host, ['unshare', '-m', 'sh', '-c', script, 'sh', file], { stdin: 'ignore' });
}

const UPSTREAMS: readonly Upstream[] = [
  { name: 'none', flags: [] },
  { name: 'tinyproxy', flags: [`http://127.0.0.1:${PORT}`], start: tinyproxy },
  {
    name: 'tinyproxy with a password',
    flags: [`http://me:secret@127.0.0.1:${PORT}`],
    start: (lab) => tinyproxy(lab, 'BasicAuth me secret'),
  },
  { name: 'squid', flags: [`http://127.0.0.1:${PORT}`], start: squid },
  {
    name: 'microsocks',
    flags: [`socks5h://me:secret@127.0.0.1:${PORT}`],
    start: (lab) =>
      lab.spawn(lab.host, ['microsocks', '-i', '127.0.0.1', '-p', String(PORT), '-u', 'me', '-P', 'secret'], {
        stdin: 'ignore',
      }),
  },
];

describe.runIf(ready)('the HTTP proxy', () => {
  let lab: Lab;

  afterEach(async () => {
    await lab?.destroy();
  });

  async function listens(): Promise<void> {
    await until(30_000, 'the upstream listens', async () =>
      (await lab.check(lab.host, ['ss', '-Hltn', `sport = :${PORT}`])).includes(String(PORT)),
    );
  }

  async function begin(flags: readonly string[]): Promise<Servers> {
    lab = await Lab.create();
    const servers = await lab.serve({ web: { kind: 'http', port: 80 }, other: { kind: 'http', port: 443 } });
    await serveTap(
      lab,
      flags.flatMap((flag) => ['--http-proxy', flag]),
    );
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
    if (start !== undefined) {
      start(lab);
      await listens();
    }
    const url = servers.url('web', PATH);
    const secured = servers.url('other', PATH);
    const expected = digestOf(SIZE);
    expect(await digest('curl', '-sS', '-f', '-x', PROXY, url)).toBe(expected);
    // A tunnel: to the port that proxies allow.
    expect(await digest('curl', '-sS', '-f', '-p', '-x', PROXY, secured)).toBe(expected);
    expect(await digest('wget', '-q', '-O', '-', '-e', `http_proxy=${PROXY}`, url)).toBe(expected);
  });

  it('says what is wrong while the upstream is dead, and heals when it is back', async () => {
    const servers = await begin([`http://127.0.0.1:${PORT}`]);
    const url = servers.url('web', '/1000');
    const status = async (): Promise<string> =>
      (await lab.exec(lab.guest, ['curl', '-sS', '-x', PROXY, '-w', '\n%{http_code}', '-o', '-', url]))
        .stdout;
    const first = tinyproxy(lab);
    await listens();
    expect(await status()).toMatch(/\n200$/);
    await first.kill();
    expect(await status()).toMatch(/connection refused[^]*Check that it runs[^]*\n502$/);
    tinyproxy(lab);
    await listens();
    expect(await status()).toMatch(/\n200$/);
  });
});
