/** Upstream proxies for tests: real ones on the host side's loopback, and how netproxy is told of each. */
import { writeFileSync } from 'node:fs';
import { until } from '../support/deadline.js';
import type { Proc } from '../support/process.js';
import type { Lab } from './lab.js';
import { type Certificate, makeCertificate } from './web.js';

/** Where the upstream of a lab listens. */
export const UPSTREAM_PORT = 3999;
const BEHIND_TLS = 3998;

export interface Upstream {
  readonly name: string;
  /** The kind of its URL. */
  readonly kind: 'none' | 'http' | 'https' | 'socks5' | 'socks5h' | 'PAC';
  readonly authentication: 'none' | 'Basic' | 'user and password';
  /** netproxy's. */
  readonly flags: (lab: Lab) => readonly string[];
  /** Undefined: there is none. */
  readonly start?: (lab: Lab) => Promise<readonly Proc[]>;
}

async function listens(lab: Lab, proc: Proc, port = UPSTREAM_PORT): Promise<Proc> {
  await until(30_000, `${proc.label} listens`, async () =>
    (await lab.check(lab.host, ['ss', '-Hltn', `sport = :${port}`])).includes(String(port)),
  );
  return proc;
}

export function tinyproxy(lab: Lab, more = '', port = UPSTREAM_PORT): Promise<Proc> {
  const file = lab.path(`tinyproxy${port}.conf`);
  writeFileSync(
    file,
    `Port ${port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 100\nDisableViaHeader Yes\n${more}\n`,
  );
  return listens(lab, lab.spawn(lab.host, ['tinyproxy', '-d', '-c', file], { stdin: 'ignore' }), port);
}

function squid(lab: Lab): Promise<Proc> {
  const file = lab.path('squid.conf');
  const lines = [
    `http_port 127.0.0.1:${UPSTREAM_PORT}`,
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
  return listens(
    lab,
    lab.spawn(lab.host, ['unshare', '-m', 'sh', '-c', script, 'sh', file], { stdin: 'ignore' }),
  );
}

function microsocks(lab: Lab, ...more: readonly string[]): Promise<Proc> {
  const argv = ['microsocks', '-i', '127.0.0.1', '-p', String(UPSTREAM_PORT), ...more];
  return listens(lab, lab.spawn(lab.host, argv, { stdin: 'ignore' }));
}

/** TLS in front of tinyproxy. */
async function tlsProxy(lab: Lab): Promise<readonly Proc[]> {
  const behind = await tinyproxy(lab, 'BasicAuth me secret', BEHIND_TLS);
  const { certificate, key } = certificateOf(lab);
  const listen = `openssl-listen:${UPSTREAM_PORT},bind=127.0.0.1,reuseaddr,fork,verify=0,cert=${certificate},key=${key}`;
  const argv = ['socat', listen, `tcp:127.0.0.1:${BEHIND_TLS}`];
  return [behind, await listens(lab, lab.spawn(lab.host, argv, { stdin: 'ignore' }))];
}

const certificates = new WeakMap<Lab, Certificate>();

function certificateOf(lab: Lab): Certificate {
  let made = certificates.get(lab);
  if (made === undefined) certificates.set(lab, (made = makeCertificate(lab.path('proxy'), 'IP:127.0.0.1')));
  return made;
}

const by =
  (url: string): Upstream['flags'] =>
  () => ['--http-proxy', url];

export const UPSTREAMS: readonly Upstream[] = [
  { name: 'none', kind: 'none', authentication: 'none', flags: () => ['--proxy-transparent', 'on'] },
  {
    name: 'tinyproxy',
    kind: 'http',
    authentication: 'none',
    flags: by(`http://127.0.0.1:${UPSTREAM_PORT}`),
    start: async (lab) => [await tinyproxy(lab)],
  },
  {
    name: 'tinyproxy with a password',
    kind: 'http',
    authentication: 'Basic',
    flags: by(`http://me:secret@127.0.0.1:${UPSTREAM_PORT}`),
    start: async (lab) => [await tinyproxy(lab, 'BasicAuth me secret')],
  },
  {
    name: 'squid',
    kind: 'http',
    authentication: 'none',
    flags: by(`http://127.0.0.1:${UPSTREAM_PORT}`),
    start: async (lab) => [await squid(lab)],
  },
  {
    name: 'tinyproxy behind TLS',
    kind: 'https',
    authentication: 'Basic',
    flags: (lab) => [
      '--http-proxy',
      `https://me:secret@127.0.0.1:${UPSTREAM_PORT}`,
      '--proxy-ca',
      certificateOf(lab).certificate,
    ],
    start: tlsProxy,
  },
  {
    name: 'microsocks',
    kind: 'socks5',
    authentication: 'none',
    flags: by(`socks5://127.0.0.1:${UPSTREAM_PORT}`),
    start: async (lab) => [await microsocks(lab)],
  },
  {
    name: 'microsocks with a password',
    kind: 'socks5h',
    authentication: 'user and password',
    flags: by(`socks5h://me:secret@127.0.0.1:${UPSTREAM_PORT}`),
    start: async (lab) => [await microsocks(lab, '-u', 'me', '-P', 'secret')],
  },
  {
    name: 'a proxy auto-config file that names tinyproxy',
    kind: 'PAC',
    authentication: 'none',
    flags: (lab) => {
      const file = lab.path('proxy.pac');
      writeFileSync(
        file,
        `function FindProxyForURL() { return 'PROXY 127.0.0.1:${UPSTREAM_PORT}; DIRECT'; }\n`,
      );
      return ['--proxy-pac', file];
    },
    start: async (lab) => [await tinyproxy(lab)],
  },
];
