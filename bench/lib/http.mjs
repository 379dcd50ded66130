/** Bodies over HTTP: through the explicit proxy, through CONNECT, and without a proxy, by curl from nginx. */
import fs from 'node:fs';
import { TARGET } from './lab.mjs';
import { BenchError, which } from './tools.mjs';

const WEB = 8081;
const BODY = 100 * 1024 * 1024;

/** Starts nginx with a body of 100 MiB where it does not run yet. */
async function web(lab) {
  if (lab.web) return;
  for (const program of ['nginx', 'curl'])
    if (which(program) === undefined)
      throw new BenchError(`${program} is missing: apt-get install ${program}`);
  fs.truncateSync(openNew(lab.file('body')), BODY);
  const file = lab.file('nginx.conf');
  fs.writeFileSync(
    file,
    `daemon off; master_process off; user root; pid ${lab.file('nginx.pid')}; error_log stderr;
events { worker_connections 64; }
http { access_log off; sendfile on; client_body_temp_path ${lab.file('temp')};
  server { listen ${TARGET}:${WEB}; root ${lab.dir}; } }
`,
  );
  lab.servers.push(lab.onHost('nginx', '-e', 'stderr', '-c', file));
  lab.web = true;
  await lab.until(() => lab.listens(WEB), 'nginx');
}

function openNew(file) {
  fs.writeFileSync(file, '');
  return file;
}

/** Gbit/s of bodies of 100 MiB, one after the other for `secs`; `flags`: how curl goes about it. */
async function bodies(lab, secs, flags) {
  await web(lab);
  const url = `http://${TARGET}:${WEB}/body`;
  const before = lab.cpu();
  let bytes = 0;
  let took = 0;
  while (took < secs) {
    const line = '%{http_code} %{size_download} %{time_total} %{time_pretransfer}\n';
    const child = lab.onGuest('curl', '-sS', '-m', '60', '-o', '/dev/null', '-w', line, ...flags, url);
    await child.ended;
    const [status, size, total, begun] = child.said.trim().split(' ').map(Number);
    if (status !== 200 || size !== BODY)
      throw new BenchError(`curl: ${child.complaints.trim()} ${child.said.trim()}`);
    bytes += size;
    took += total - begun;
  }
  const gbit = (bytes * 8) / 1e9;
  return { value: gbit / took, gbit, secs: took, cpu: lab.cpu().peer - before.peer };
}

const metric = (id, flagsOf, fits) => ({
  id,
  group: 'http',
  unit: 'Gbit/s',
  run: (lab, options) => bodies(lab, options.secs, flagsOf(lab.peer.httpProxy)),
  fits,
});

const isProxy = (Peer) => Peer.role === 'ours' || Peer.only === 'http';

export const HTTP_METRICS = [
  metric(
    'http_plain',
    () => [],
    (Peer) => Peer.role === 'ours' || Peer.label === 'veth',
  ),
  metric('http_get', (proxy) => ['-x', `http://${proxy}`], isProxy),
  metric('http_connect', (proxy) => ['-p', '-x', `http://${proxy}`], isProxy),
];
