#!/usr/bin/env node
// Builds what the QEMU guest boots: Debian's cloud kernel (its package is unpacked, never installed) and
// an initramfs of busybox and some of this machine's own Debian programs.
//
//   build-guest.mjs [--with-netproxy]     prints {"kernel","initrd"} as JSON; says what it did on stderr
//
// --with-netproxy appends a second archive with Node, dist/, the production dependencies and the built
// crate under /opt/netproxy: for tests that run netproxy itself inside the guest (AF_VSOCK).
// Everything is kept under $NETPROXY_CACHE or ~/.cache/netproxy/vm, named by a hash of what went in, so a
// second call only compares hashes. The archives are not compressed: unpacking gzip under TCG takes longer
// than QEMU needs to copy the plain bytes.

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  appendFileSync,
  copyFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { which } from '../../scripts/guest-packages.mjs';
import { Tree, writeCpio } from './cpio.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const project = dirname(dirname(here));
const cache = process.env.NETPROXY_CACHE || join(homedir(), '.cache', 'netproxy', 'vm');

const KERNEL_META = 'linux-image-cloud-amd64';

/** Drivers the guest may load, each packed with what it depends on; those built into the kernel are skipped. */
const MODULES = [
  ...['virtio_pci', 'virtio_console', 'virtio_net', 'virtio_rng', 'virtio_blk', 'af_packet_diag'],
  ...['vsock', 'vsock_diag', 'vmw_vsock_virtio_transport', 'vsock_loopback'],
  ...['tun', 'veth', 'bridge', 'dummy', 'sch_netem', 'sch_fq', 'tcp_bbr'],
];

/** Programs copied from this machine; busybox stands in for every other command. */
const PROGRAMS = [
  ...['bash', 'iperf3', 'curl', 'dig', 'dhclient', 'socat', 'tcpdump', 'ethtool', 'ip', 'ss'],
  ...['ping', 'traceroute', 'flock'],
];

class BuildError extends Error {}

const say = (line) => process.stderr.write(`guest image: ${line}\n`);

function output(command, ...args) {
  const env = { ...process.env, LC_ALL: 'C' };
  return execFileSync(command, args, {
    encoding: 'utf8',
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 << 20,
  });
}

/** The program's path, or an error that says how to get it. */
function need(program) {
  const path = which(program);
  if (path === undefined) {
    throw new BuildError(`${program} is missing; run: node scripts/guest-packages.mjs --install --group vm`);
  }
  return path;
}

// --- kernel ---------------------------------------------------------------------------------------------

/** Runs an apt command; when it fails, once more after the package lists were refreshed. */
function apt(run) {
  let result = run();
  if (result.status !== 0 || result.stdout.trim() === '') {
    spawnSync(need('apt-get'), ['-q', 'update'], { stdio: 'ignore' });
    result = run();
  }
  if (result.status !== 0)
    throw new BuildError(`cannot get ${KERNEL_META}: ${result.stderr.trim().split('\n').at(-1)}`);
  return result.stdout;
}

/** The folder of the unpacked kernel package: the newest one in the cache, otherwise downloaded. */
function kernelFolder() {
  const kept = readdirSync(cache).filter((name) => name.startsWith('linux-image-'));
  const newest = kept.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
  if (newest !== undefined) return join(cache, newest);

  const options = { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } };
  const depends = apt(() => spawnSync(need('apt-cache'), ['depends', KERNEL_META], options));
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined)
    throw new BuildError(`apt knows no ${KERNEL_META}; its guest needs Debian's amd64 packages`);
  const work = mkdtempSync(join(cache, 'tmp-'));
  try {
    // Runs as root in a folder that apt's own user may not write to: it says so on stderr and goes on.
    apt(() => spawnSync(need('apt-get'), ['download', name], { ...options, cwd: work }));
    const deb = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (deb === undefined) throw new BuildError(`apt-get download ${name} left no file`);
    output(need('dpkg-deb'), '-x', join(work, deb), join(work, 'kernel'));
    const version = kernelVersion(join(work, 'kernel'));
    output(need('depmod'), '-b', join(work, 'kernel'), version);
    moveTo(join(work, 'kernel'), join(cache, name));
    say(`unpacked ${name}`);
    return join(cache, name);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Renames into place; when another process was faster, its result stays. */
function moveTo(from, to) {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!existsSync(to)) throw error;
  }
}

const moduleRoot = (kernel) => (existsSync(join(kernel, 'lib/modules')) ? 'lib/modules' : 'usr/lib/modules');

function kernelVersion(kernel) {
  const [version] = readdirSync(join(kernel, moduleRoot(kernel)));
  if (version === undefined) throw new BuildError(`${kernel} has no modules`);
  return version;
}

const moduleName = (path) =>
  basename(path)
    .replace(/\.ko(\.xz|\.zst)?$/, '')
    .replaceAll('-', '_');

/** The wanted modules with their dependencies, and the tables that modprobe needs for them. */
function addModules(tree, kernel) {
  const version = kernelVersion(kernel);
  const source = join(kernel, moduleRoot(kernel), version);
  const target = `lib/modules/${version}`;
  const lines = readFileSync(join(source, 'modules.dep'), 'utf8').trim().split('\n');
  const known = new Map(
    lines.map((line) => [moduleName(line.split(':')[0]), line.split(':').map((part) => part.trim())]),
  );
  const picked = new Set();
  const pick = (name) => {
    const [path, needs] = known.get(name) ?? [];
    if (path === undefined || picked.has(name)) return;
    picked.add(name);
    for (const other of needs.split(' ').filter(Boolean)) pick(moduleName(other));
  };
  MODULES.forEach(pick);
  const plain = (path) => path.replace(/\.ko\.(xz|zst)$/, '.ko');
  for (const name of picked) {
    const [path] = known.get(name);
    if (path.endsWith('.ko')) tree.copy(`${target}/${path}`, join(source, path));
    else {
      const unpack = path.endsWith('.xz') ? 'xz' : 'zstd';
      tree.file(
        `${target}/${plain(path)}`,
        execFileSync(need(unpack), ['-dcq', join(source, path)], { maxBuffer: 64 << 20 }),
      );
    }
  }
  const dep = [...picked].map((name) => {
    const [path, needs] = known.get(name);
    return `${plain(path)}: ${needs.split(' ').map(plain).join(' ')}`;
  });
  tree.file(`${target}/modules.dep`, `${dep.join('\n')}\n`);
  const aliases = readFileSync(join(source, 'modules.alias'), 'utf8').split('\n');
  tree.file(
    `${target}/modules.alias`,
    `${aliases.filter((line) => picked.has(line.split(' ')[2])).join('\n')}\n`,
  );
  tree.copy(`${target}/modules.builtin`, join(source, 'modules.builtin'));
}

// --- initramfs ------------------------------------------------------------------------------------------

/** Adds the shared libraries of a program or library at the paths where its loader looks for them. */
function addLibraries(tree, path) {
  let listed;
  try {
    listed = output('ldd', path);
  } catch {
    return; // a static program
  }
  if (/=> not found/.test(listed)) throw new BuildError(`${path} lacks a library:\n${listed}`);
  for (const [library] of listed.matchAll(/\/\S+/g)) tree.copy(library, library, 0o755);
}

function addProgram(tree, program) {
  const path = need(program);
  tree.copy(`usr/bin/${program}`, path, 0o755);
  addLibraries(tree, path);
}

function baseTree(kernel) {
  const tree = new Tree();
  for (const path of [
    'bin',
    'sbin',
    'usr/bin',
    'usr/sbin',
    'proc',
    'sys',
    'dev',
    'run',
    'root',
    'etc',
    'var/lib/dhcp',
  ]) {
    tree.dir(path);
  }
  tree.dir('tmp', 0o1777);
  tree.link('var/run', '../run');
  addModules(tree, kernel);
  PROGRAMS.forEach((program) => addProgram(tree, program));
  tree.link('bin/bash', '../usr/bin/bash');

  const busybox = need('busybox');
  tree.copy('bin/busybox', busybox, 0o755);
  addLibraries(tree, busybox);
  for (const applet of output(busybox, '--list-full').trim().split('\n')) {
    if (!PROGRAMS.includes(basename(applet))) tree.link(applet, '/bin/busybox');
  }
  tree.copy('init', join(here, 'image/init'), 0o755);
  tree.copy('agent', join(here, 'image/agent'), 0o755);
  tree.copy('etc/udhcpc/default.script', join(here, 'image/udhcpc-script'), 0o755);
  const dhclientScript = which('dhclient-script');
  if (dhclientScript !== undefined) tree.copy('sbin/dhclient-script', dhclientScript, 0o755);
  tree.file(
    'etc/dhcp/dhclient.conf',
    'request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, domain-search, host-name, interface-mtu, ntp-servers;\n',
  );
  tree.file('etc/passwd', 'root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/:/bin/sh\n');
  tree.file('etc/group', 'root:x:0:\nnogroup:x:65534:\n');
  tree.file('etc/hosts', '127.0.0.1 localhost guest\n');
  tree.file(
    'etc/nsswitch.conf',
    'passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n',
  );
  for (const table of ['etc/services', 'etc/protocols'])
    if (existsSync(`/${table}`)) tree.copy(table, `/${table}`);
  tree.file('etc/fstab', '');
  tree.file('etc/resolv.conf', '');
  return tree;
}

// --- netproxy in the guest ------------------------------------------------------------------------------

function addFolder(tree, target, source, skip = () => false) {
  for (const entry of readdirSync(source, { withFileTypes: true })) {
    const from = join(source, entry.name);
    if (skip(entry.name)) continue;
    const info = statSync(from);
    if (info.isDirectory()) addFolder(tree, `${target}/${entry.name}`, from, skip);
    else tree.copy(`${target}/${entry.name}`, from, info.mode & 0o111 ? 0o755 : 0o644);
  }
}

const notForRunning = (name) =>
  name === '.bin' || name === 'node_modules' || /\.(d\.[cm]?ts|map|md)$/.test(name);

/** The folders of the production dependencies, from the lock file, relative to the project. */
function productionModules() {
  const lock = JSON.parse(readFileSync(join(project, 'package-lock.json'), 'utf8'));
  return Object.entries(lock.packages)
    .filter(([path, entry]) => path.startsWith('node_modules/') && !entry.dev && !entry.devOptional)
    .map(([path]) => path)
    .filter((path) => existsSync(join(project, path)));
}

/** The crate's built library, wherever its build leaves it. */
function crateFiles() {
  const folder = join(project, 'crates/vsock-bridge');
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter(
    (name) => /\.(node|js|cjs|mjs)$/.test(name) || name === 'package.json',
  );
  return names.map((name) => join(folder, name));
}

function netproxyTree() {
  const dist = join(project, 'dist');
  if (!existsSync(join(dist, 'cli/main.js')))
    throw new BuildError('dist/cli/main.js is missing; run: npm run build');
  const tree = new Tree();
  const root = 'opt/netproxy';
  tree.copy('usr/bin/node', realpathSync(process.execPath), 0o755);
  addLibraries(tree, realpathSync(process.execPath));
  tree.copy(`${root}/package.json`, join(project, 'package.json'));
  addFolder(tree, `${root}/dist`, dist, (name) => /\.(d\.ts|map)$/.test(name));
  for (const path of productionModules())
    addFolder(tree, `${root}/${path}`, join(project, path), notForRunning);
  for (const file of crateFiles()) {
    tree.copy(`${root}/${relative(project, file)}`, file, 0o755);
    if (file.endsWith('.node')) addLibraries(tree, file);
  }
  // The tests' own peers run beside netproxy in the guest.
  for (const name of readdirSync(join(project, 'test/netns')).filter((file) => file.endsWith('.mjs'))) {
    tree.copy(`${root}/test/netns/${name}`, join(project, 'test/netns', name));
  }
  tree.file('usr/bin/netproxy', `#!/bin/sh\nexec /usr/bin/node /${root}/dist/cli/main.js "$@"\n`, 0o755);
  return tree;
}

// --- artifacts ------------------------------------------------------------------------------------------

function hashOf(tree) {
  const hash = createHash('sha256');
  for (const [name, { mode, data, source }] of tree.entries) {
    const content = source === undefined ? data : readFileSync(source);
    hash.update(`${name}\0${mode}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex').slice(0, 16);
}

/** Writes an artifact unless it is there; old ones of the same kind go after an hour. */
function artifact(kind, hash, write) {
  const file = join(cache, `${kind}-${hash}.cpio`);
  if (!existsSync(file)) {
    const draft = `${file}.${process.pid}`;
    write(draft);
    renameSync(draft, file);
    say(`wrote ${file} (${Math.round(statSync(file).size / 1e6)} MB)`);
  }
  for (const name of readdirSync(cache)) {
    const other = join(cache, name);
    if (!name.startsWith(`${kind}-`) || other === file) continue;
    if (Date.now() - (statSync(other, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) > 3_600_000)
      rmSync(other, { force: true });
  }
  return file;
}

function build(withNetproxy) {
  if (process.arch !== 'x64')
    throw new BuildError(`the guest image is for x86-64 machines; this one is ${process.arch}`);
  mkdirSync(cache, { recursive: true });
  const folder = kernelFolder();
  const vmlinuz = readdirSync(join(folder, 'boot')).find((name) => name.startsWith('vmlinuz-'));
  if (vmlinuz === undefined) throw new BuildError(`${folder} has no kernel`);
  const kernel = join(folder, 'boot', vmlinuz);
  const base = baseTree(folder);
  const baseHash = hashOf(base);
  const initrd = artifact('initramfs', baseHash, (file) => writeCpio(base, file));
  if (!withNetproxy) return { kernel, initrd };

  const extra = netproxyTree();
  // QEMU takes one file; the kernel unpacks archives that follow each other.
  const both = artifact('netproxy', `${baseHash}-${hashOf(extra)}`, (file) => {
    const second = `${file}.extra`;
    writeCpio(extra, second);
    copyFileSync(initrd, file);
    appendFileSync(file, readFileSync(second));
    rmSync(second);
  });
  return { kernel, initrd: both };
}

try {
  process.stdout.write(`${JSON.stringify(build(process.argv.includes('--with-netproxy')))}\n`);
} catch (error) {
  process.stderr.write(`guest image: ${error instanceof BuildError ? error.message : error.stack}\n`);
  process.exitCode = 1;
}
