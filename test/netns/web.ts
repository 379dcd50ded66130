/** A real web server for tests: nginx with files by http and https, a git repository, an apt repository. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../support/deadline.js';
import { pieces } from './bytes.mjs';
import type { Lab } from './lab.js';

/** Files in PEM. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

/** A self-signed one, which is its own authority. `names` as openssl writes them: `DNS:web.lab.test,IP:127.0.0.1`. */
export function makeCertificate(path: string, names: string): Certificate {
  const files = { certificate: `${path}.crt`, key: `${path}.key` };
  const argv = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
  ];
  argv.push('-subj', '/CN=lab', '-addext', `subjectAltName=${names}`);
  execFileSync('openssl', [...argv, '-keyout', files.key, '-out', files.certificate], { stdio: 'ignore' });
  return files;
}

export interface Web extends Certificate {
  /** The commit that its repository holds. */
  readonly commit: string;
}

function makeRepository(folder: string): string {
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', folder, '-c', 'user.name=lab', '-c', 'user.email=lab@lab.test', ...args], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], GIT_CONFIG_NOSYSTEM: '1', HOME: folder },
    }).trim();
  mkdirSync(folder, { recursive: true });
  git('init', '-q');
  writeFileSync(join(folder, 'file'), 'content\n');
  git('add', 'file');
  git('commit', '-q', '-m', 'one');
  // For git's protocol without a program on the server.
  git('update-server-info');
  return git('rev-parse', 'HEAD');
}

/**
 * Starts nginx at the lab's first address, ports 80 and 443, with `/bytes` (the test stream, `size` bytes), `/repo/.git` and `/apt`, as
 * `name`.
 */
export async function startWeb(lab: Lab, name: string, size: number): Promise<Web> {
  const root = lab.path('www');
  mkdirSync(join(root, 'apt'), { recursive: true });
  writeFileSync(join(root, 'bytes'), Buffer.concat([...pieces(size)]));
  const fields = ['Package: lab', 'Version: 1', 'Architecture: all', 'Maintainer: lab', 'Description: lab'];
  fields.push('Filename: ./lab.deb', 'Size: 1', `SHA256: ${'0'.repeat(64)}`);
  writeFileSync(join(root, 'apt', 'Packages'), `${fields.join('\n')}\n`);
  const commit = makeRepository(join(root, 'repo'));
  const files = makeCertificate(lab.path('web'), `DNS:${name}`);
  const address = lab.address();
  await startNginx(
    lab,
    `server {
    listen ${address}:80; listen ${address}:443 ssl; root ${root};
    ssl_certificate ${files.certificate}; ssl_certificate_key ${files.key};
  }`,
    443,
  );
  return { ...files, commit };
}

/** Starts nginx with these `server` blocks and waits until it listens on `port`. */
export async function startNginx(lab: Lab, servers: string, port: number): Promise<void> {
  const file = lab.path('nginx.conf');
  writeFileSync(
    file,
    `daemon off; master_process off; worker_processes 1; user root; pid ${lab.path('nginx.pid')}; error_log stderr;
events { worker_connections 512; }
http {
  access_log off; client_body_temp_path ${lab.path('body')}; proxy_temp_path ${lab.path('proxied')}; sendfile on;
  ${servers}
}
`,
  );
  const nginx = lab.spawn(lab.host, ['nginx', '-e', 'stderr', '-c', file], { stdin: 'ignore' });
  await until(30_000, `${nginx.label} listens`, async () =>
    (await lab.check(lab.host, ['ss', '-Hltn', `sport = :${port}`])).includes(`:${port}`),
  );
}
