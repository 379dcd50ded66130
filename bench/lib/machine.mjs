/** What the numbers were measured on and with. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { spawnSync } from 'node:child_process';

/** First line that a command prints on either stream. */
function firstLine(...argv) {
  const { stdout, stderr } = spawnSync(argv[0], argv.slice(1), { encoding: 'utf8', timeout: 10_000 });
  return `${stdout ?? ''}${stderr ?? ''}`.trim().split('\n')[0] ?? '';
}

/** Version of a Debian package, or undefined. */
export function packageVersion(name) {
  const { stdout, status } = spawnSync('dpkg-query', ['-W', '-f', '${Version}', name], { encoding: 'utf8' });
  return status === 0 && stdout !== '' ? stdout : undefined;
}

/** @param {string} tree the checkout that is measured */
export function describeMachine(tree) {
  const cpus = os.cpus();
  const memory = Math.round(os.totalmem() / 2 ** 30);
  const load = os.loadavg()[0];
  const { stdout: commit } = spawnSync('git', ['-C', tree, 'rev-parse', '--short', 'HEAD'], {
    encoding: 'utf8',
  });
  const version = JSON.parse(fs.readFileSync(path.join(tree, 'package.json'), 'utf8')).version;
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: `${cpus.length} x ${cpus[0]?.model.trim() ?? 'unknown'}`,
    virtual: /hypervisor/.test(fs.readFileSync('/proc/cpuinfo', 'utf8')),
    memory: `${memory} GiB`,
    kernel: os.release(),
    system: /PRETTY_NAME="(.*)"/.exec(fs.readFileSync('/etc/os-release', 'utf8'))?.[1] ?? process.platform,
    node: process.versions.node,
    gcc: firstLine('gcc', '--version'),
    netproxy: `${version}${commit ? ` (${commit.trim()})` : ''}`,
    loadBefore: Math.round(load * 100) / 100,
  };
}
