#!/usr/bin/env node
// The Debian packages that a real guest needs: the tools of the namespace tests and demo (group
// "netns") and QEMU with what its guest image is packed from (group "vm").
//
//   guest-packages.mjs --check   [--group netns|vm|all]   lists what is missing; exit code 1 if anything is
//   guest-packages.mjs --install [--group netns|vm|all]   installs it with apt-get (root on Debian or Ubuntu)
//
// Dependency free: it runs before `npm ci`. The guest's kernel is not in the list on purpose:
// test/vm/build-guest.mjs downloads and unpacks it, it is never installed on this machine.

import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Package name to the programs (or files) that prove it is there, for each group. */
export const GROUPS = {
  netns: {
    'bind9-dnsutils': ['dig'],
    coturn: ['turnserver', 'turnutils_natdiscovery'],
    curl: ['curl'],
    'docker-cli': ['docker'],
    'dnsmasq-base': ['dnsmasq'],
    ethtool: ['ethtool'],
    git: ['git'],
    // iperf3 knows no multicast.
    iperf: ['iperf'],
    iperf3: ['iperf3'],
    iproute2: ['ip', 'ss'],
    'iputils-ping': ['ping'],
    'iputils-tracepath': ['tracepath'],
    'isc-dhcp-client': ['dhclient'],
    knot: ['knotd'],
    'knot-dnsutils': ['kdig'],
    microsocks: ['microsocks'],
    'musl-tools': ['musl-gcc'],
    'netcat-openbsd': ['nc'],
    'nginx-light': ['nginx'],
    nmap: ['nmap'],
    'ntpsec-ntpdig': ['ntpdig'],
    'openssh-client': ['ssh'],
    openssl: ['openssl'],
    perl: ['perl'],
    procps: ['ps', 'sysctl'],
    python3: ['python3'],
    'python3-asyncssh': ['/usr/lib/python3/dist-packages/asyncssh/__init__.py'],
    socat: ['socat'],
    squid: ['squid'],
    // systemd-networkd, which runs in a namespace without systemd as process 1.
    systemd: ['systemd-networkd'],
    tcpdump: ['tcpdump'],
    tinyproxy: ['tinyproxy'],
    traceroute: ['traceroute'],
    tshark: ['tshark'],
    udhcpc: ['udhcpc'],
    'util-linux': ['setpriv', 'unshare'],
    wget: ['wget'],
  },
  vm: {
    'bind9-dnsutils': ['dig'],
    'busybox-static': ['busybox'],
    curl: ['curl'],
    ethtool: ['ethtool'],
    iperf3: ['iperf3'],
    iproute2: ['ip', 'ss'],
    'iputils-ping': ['ping'],
    'isc-dhcp-client': ['dhclient'],
    kmod: ['depmod'],
    'qemu-system-x86': ['qemu-system-x86_64'],
    socat: ['socat'],
    tcpdump: ['tcpdump'],
    traceroute: ['traceroute'],
    'util-linux': ['flock', 'setpriv'],
  },
};

/**
 * Programs of packages that some releases do not have, and where they are there: that package is unpacked and not installed,
 * because it would start an engine.
 */
const UNPACKED = { 'docker-cli': { from: 'docker.io', file: 'usr/bin/docker' } };
const UNPACK_TO = '/usr/local/bin';

const SEARCH_PATH = [
  ...(process.env.PATH ?? '').split(':'),
  '/usr/sbin',
  '/sbin',
  '/usr/bin',
  '/bin',
  '/lib/systemd',
];

/** The full path of a program, looked for in PATH and the sbin folders, or of a file; undefined if it is not there. */
export function which(program) {
  if (program.startsWith('/')) return existsSync(program) ? program : undefined;
  for (const folder of SEARCH_PATH) {
    const path = join(folder || '.', program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not in this folder
    }
  }
  return undefined;
}

/** The packages of a group ('netns', 'vm' or 'all') with their programs, sorted by name. */
export function packagesOf(group) {
  const picked = group === 'all' ? { ...GROUPS.vm, ...GROUPS.netns } : GROUPS[group];
  if (picked === undefined) throw new Error(`unknown group "${group}"; allowed: netns, vm, all`);
  return Object.entries(picked).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** `[package, missing programs]` for every package of the group that is not complete. */
export function missingPackages(group) {
  return packagesOf(group)
    .map(([name, programs]) => [name, programs.filter((program) => which(program) === undefined)])
    .filter(([, programs]) => programs.length > 0);
}

/** True where apt-get and dpkg manage the packages. */
export function isDebian() {
  try {
    return (
      /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(readFileSync('/etc/os-release', 'utf8')) &&
      which('apt-get') !== undefined
    );
  } catch {
    return false;
  }
}

const say = (line) => process.stdout.write(`guest packages: ${line}\n`);

const SPAWN = {
  env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' },
  encoding: 'utf8',
  maxBuffer: 64 << 20,
  stdio: ['ignore', 'pipe', 'pipe'],
};

function apt(...args) {
  return spawnSync('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=300', ...args], SPAWN);
}

/** Whether apt could install it. */
function hasCandidate(name) {
  return /^\s*Candidate: (?!\(none\))/m.test(spawnSync('apt-cache', ['policy', name], SPAWN).stdout ?? '');
}

/** Takes one program out of a package; the result of the step that failed, or of the last one. */
function unpack({ from, file }) {
  const folder = mkdtempSync(join(tmpdir(), 'np-unpack-'));
  try {
    const options = { ...SPAWN, cwd: folder };
    const got = spawnSync('apt-get', ['-q', 'download', from], options);
    if (got.status !== 0) return got;
    const deb = readdirSync(folder).find((name) => name.endsWith('.deb')) ?? '';
    const taken = spawnSync('dpkg-deb', ['-x', deb, 'all'], options);
    if (taken.status === 0) copyFileSync(join(folder, 'all', file), join(UNPACK_TO, basename(file)));
    return taken;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function hasPackageLists() {
  try {
    return readdirSync('/var/lib/apt/lists').some(
      (name) => name.endsWith('_Packages') || name.includes('_Packages.'),
    );
  } catch {
    return false;
  }
}

/** Installs packages; refreshes the lists only where there are none or they are too old to be of use. */
function aptInstall(names) {
  const attempt = () => {
    const inside = names.filter((name) => UNPACKED[name] !== undefined && !hasCandidate(name));
    const whole = names.filter((name) => !inside.includes(name));
    let result =
      whole.length === 0 ? { status: 0 } : apt('install', '-y', '--no-install-recommends', ...whole);
    for (const name of inside) if (result.status === 0) result = unpack(UNPACKED[name]);
    return result;
  };
  const result = hasPackageLists() ? attempt() : undefined;
  if (result?.status === 0) return result;
  const update = apt('update');
  return update.status === 0 ? attempt() : update;
}

function tail(result) {
  const text = `${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}`;
  return text.trimEnd().split('\n').slice(-8).join('\n');
}

/** Installs what the group lacks and says so. Returns the exit code: 0 when everything is there. */
export function installMissing(group) {
  const missing = missingPackages(group).map(([name]) => name);
  if (missing.length === 0) {
    say(`all ${packagesOf(group).length} are here, nothing to do`);
    return 0;
  }
  if (!isDebian()) {
    say(`missing ${missing.join(' ')}; this is not Debian or Ubuntu, install their equivalents yourself`);
    return 1;
  }
  if (process.getuid?.() !== 0) {
    say(`missing; as root run: apt-get install -y --no-install-recommends ${missing.join(' ')}`);
    return 1;
  }
  say(`installing ${missing.join(' ')}`);
  const result = aptInstall(missing);
  const left = missingPackages(group);
  if (result.status === 0 && left.length === 0) {
    say(`installed ${missing.length}`);
    return 0;
  }
  process.stderr.write(`${tail(result)}\n`);
  say(`could not install ${(left.length > 0 ? left.map(([name]) => name) : missing).join(' ')}`);
  return 1;
}

/** Prints what the group lacks. Returns the exit code: 0 when nothing is missing. */
export function check(group) {
  const missing = missingPackages(group);
  if (missing.length === 0) say(`all ${packagesOf(group).length} are here`);
  for (const [name, programs] of missing) say(`missing ${name} (${programs.join(', ')})`);
  return missing.length === 0 ? 0 : 1;
}

function main(args) {
  const usage = 'usage: guest-packages.mjs --check|--install [--group netns|vm|all]';
  const at = args.indexOf('--group');
  const group = at < 0 ? 'all' : args[at + 1];
  const rest = at < 0 ? args : [...args.slice(0, at), ...args.slice(at + 2)];
  if (rest.length !== 1 || (group !== 'all' && GROUPS[group ?? ''] === undefined)) {
    process.stderr.write(`${usage}\n`);
    return 2;
  }
  if (rest[0] === '--check') return check(group);
  if (rest[0] === '--install') return installMissing(group);
  process.stderr.write(`${usage}\n`);
  return 2;
}

if (process.argv[1] !== undefined && fileURLToPath(import.meta.url) === realpathSync(process.argv[1])) {
  process.exitCode = main(process.argv.slice(2));
}
