/** Commands in namespaces of their own: what they see, how they end, what is left. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Frames, Rig, addon, missingRoot, openDescriptors } from './addon.testutil.js';
import { CHILD_SIGNALED, EAGAIN, EBADF, READ, errnoName } from './constants.js';
import type { SpawnOptions } from './addon.js';

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const RESOLV = 'nameserver 192.168.127.1\nsearch example.internal\n';

const DEFAULTS: SpawnOptions = {
  argv: ['true'],
  env: [PATH],
  cwd: '/',
  tapName: 'eth0',
  mtu: 1500,
  mac: '5a:94:ef:e4:0c:ee',
  guestIp: 0xc0a87f02,
  prefix: 24,
  gatewayIp: 0xc0a87f01,
  vnetHeader: false,
  offloads: false,
  txQueueLength: 10_000,
  resolvConf: RESOLV,
  userNamespace: false,
  insideUid: 0,
  insideGid: 0,
  hideNameDaemons: true,
};

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/status`, 'utf8').includes('State:\tZ');
  } catch {
    return false;
  }
}

describe.skipIf(missingRoot())('native spawnInNetns', () => {
  let rig: Rig;
  let folder: string;
  beforeEach(() => {
    rig = new Rig();
    folder = mkdtempSync(join(tmpdir(), 'native-spawn-'));
  });
  afterEach(() => {
    rig.poller.close();
    rmSync(folder, { recursive: true });
  });

  /** Runs a shell script inside; its exit code and what it wrote to $OUT. */
  async function run(
    script: string,
    options: Partial<SpawnOptions> = {},
  ): Promise<{ status: number; out: string }> {
    const file = join(folder, 'out');
    const spawned = rig.poller.spawnInNetns({
      ...DEFAULTS,
      argv: ['sh', '-c', `(${script}) > ${file} 2>&1`],
      ...options,
    });
    expect(spawned).toMatchObject({ errno: 0, step: '' });
    expect(rig.poller.spawnGo(spawned.child)).toBe(0);
    await rig.wait(spawned.child, READ);
    const status = rig.poller.childStatus(spawned.child);
    expect(rig.poller.closeHandle(spawned.child)).toBe(0);
    expect(rig.poller.closeHandle(spawned.tap)).toBe(0);
    return { status, out: existsSync(file) ? readFileSync(file, 'utf8') : '' };
  }

  it('gives the command an interface, an address, a route and a resolv.conf', async () => {
    const outside = readFileSync('/etc/resolv.conf', 'utf8');
    const { status, out } = await run('ip addr; ip route; cat /etc/resolv.conf; exit 7', { mtu: 65520 });
    expect(status).toBe(7);
    expect(out).toMatch(/lo: <LOOPBACK,UP/);
    expect(out).toMatch(/eth0: <BROADCAST,.*UP.* mtu 65520 .* qlen 10000/);
    expect(out).toContain('link/ether 5a:94:ef:e4:0c:ee');
    expect(out).toContain('inet 192.168.127.2/24');
    expect(out).toContain('default via 192.168.127.1 dev eth0');
    expect(out).toContain(RESOLV);
    // Nothing of it outside, and no temporary file is left.
    expect(readFileSync('/etc/resolv.conf', 'utf8')).toBe(outside);
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith('netproxy-resolv'))).toEqual([]);
  });

  it.each([0, 1000])('does the same in a user namespace, as uid %i there', async (insideUid) => {
    if (addon().capabilities().userns !== 0) {
      process.stderr.write('user namespaces are not allowed here: not tested\n');
      return;
    }
    const { status, out } = await run('id -u; id -g; ip -o addr; cat /etc/resolv.conf', {
      userNamespace: true,
      insideUid,
      insideGid: 5,
      vnetHeader: true,
      offloads: true,
    });
    expect(status).toBe(0);
    expect(out.split('\n').slice(0, 2)).toEqual([String(insideUid), '5']);
    expect(out).toContain('192.168.127.2/24');
    expect(out).toContain(RESOLV);
  });

  it('starts the command with a clean slate: signals, environment, folder, descriptors', async () => {
    const { out } = await run(
      'exec < /dev/null; pwd; env; grep ^Sig /proc/self/status; ls -l /proc/self/fd',
      {
        cwd: '/usr',
        env: [PATH, 'NAME=value with spaces'],
      },
    );
    expect(out).toMatch(/^\/usr\n/);
    expect(out).toContain('NAME=value with spaces');
    expect(out).not.toContain('HOME=');
    expect(out).toContain('SigBlk:\t0000000000000000');
    expect(out).toContain('SigIgn:\t0000000000000000');
    // What the runner itself inherited may be there; nothing of ours.
    expect(out).not.toMatch(/socket:|net\/tun|anon_inode/);
  });

  it('carries frames of the command', async () => {
    const frames = new Frames(rig);
    const spawned = rig.poller.spawnInNetns({
      ...DEFAULTS,
      argv: ['bash', '-c', 'echo x > /dev/udp/192.168.127.1/9; sleep 5'],
    });
    rig.poller.spawnGo(spawned.child);
    for (;;) {
      const [arp] = (await frames.collect(spawned.tap, 1)).filter(
        (frame) => frame[12] === 8 && frame[13] === 6,
      );
      if (arp === undefined) continue;
      expect([...arp.subarray(28, 32)]).toEqual([192, 168, 127, 2]);
      expect([...arp.subarray(38, 42)]).toEqual([192, 168, 127, 1]);
      break;
    }
  });

  it('tells exit codes and signals, forwards signals, and none to the dead', async () => {
    const { poller } = rig;
    expect((await run('kill -9 $$')).status).toBe(CHILD_SIGNALED + 9);
    const { child } = poller.spawnInNetns({ ...DEFAULTS, argv: ['sleep', '60'] });
    expect(poller.spawnGo(child)).toBe(0);
    expect(errnoName(poller.spawnGo(child))).toBe('EINVAL');
    expect(poller.childStatus(child)).toBe(EAGAIN);
    expect(poller.kill(child, 15)).toBe(0);
    await rig.wait(child, READ);
    expect(poller.childStatus(child)).toBe(CHILD_SIGNALED + 15);
    expect(poller.childStatus(child)).toBe(CHILD_SIGNALED + 15);
    expect(errnoName(poller.kill(child, 15))).toBe('ESRCH');
    poller.closeHandle(child);
    expect(poller.kill(child, 15)).toBe(EBADF);
  });

  it('says what failed, and leaves nothing behind', async () => {
    const { poller } = rig;
    const before = await openDescriptors();
    const fails = (options: Partial<SpawnOptions>) => {
      const { errno, step } = poller.spawnInNetns({ ...DEFAULTS, ...options });
      return `${step}: ${errnoName(errno)}`;
    };
    expect(fails({ cwd: '/absent' })).toBe('chdir: ENOENT');
    expect(fails({ tapName: 'lo' })).toBe('TUNSETIFF: EINVAL');
    expect(fails({ mtu: 1 << 20 })).toBe('set mtu: EINVAL');
    expect(fails({ gatewayIp: 0x0a000001 })).toBe('set route: ENETUNREACH');
    expect(fails({ mac: '01:00:00:00:00:01' })).toBe('set mac: EADDRNOTAVAIL');
    expect(fails({ mac: 'nonsense' })).toBe('prepare: EINVAL');
    expect(fails({ argv: [] })).toBe('prepare: EINVAL');
    expect(fails({ argv: ['a\0b'] })).toBe('prepare: EINVAL');
    const missing = poller.spawnInNetns({ ...DEFAULTS, argv: ['no-such-command'] });
    expect(errnoName(poller.spawnGo(missing.child))).toBe('ENOENT');
    expect(poller.childStatus(missing.child)).toBeGreaterThanOrEqual(0);
    const forbidden = poller.spawnInNetns({ ...DEFAULTS, argv: ['/etc/passwd'] });
    expect(errnoName(poller.spawnGo(forbidden.child))).toBe('EACCES');
    for (const { child, tap } of [missing, forbidden]) {
      poller.closeHandle(child);
      poller.closeHandle(tap);
    }
    expect(await openDescriptors()).toBe(before);
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith('netproxy-resolv'))).toEqual([]);
  });

  it('ends the command when its handle or the poller is closed, also before it ran', () => {
    const { poller } = rig;
    for (const go of [true, false]) {
      const spawned = poller.spawnInNetns({ ...DEFAULTS, argv: ['sleep', '60'] });
      if (go) poller.spawnGo(spawned.child);
      expect(alive(spawned.pid)).toBe(true);
      poller.closeHandle(spawned.child);
      expect(alive(spawned.pid)).toBe(false);
    }
    const last = poller.spawnInNetns({ ...DEFAULTS, argv: ['sleep', '60'] });
    poller.spawnGo(last.child);
    poller.close();
    expect(alive(last.pid)).toBe(false);
  });

  it('ends the command when the whole process is killed', async () => {
    const file = new URL(
      `../../crates/vsock-bridge/vsock-bridge.${process.platform}-${process.arch}.node`,
      import.meta.url,
    );
    const script = `
      const { Poller } = require(${JSON.stringify(fileURLToPath(file))});
      const poller = new Poller(() => {}, new Int32Array(8));
      const { child, pid } = poller.spawnInNetns(${JSON.stringify({ ...DEFAULTS, argv: ['sleep', '60'] })});
      poller.spawnGo(child);
      console.log(pid);`;
    const parent = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = await new Promise<number>((resolve) =>
      parent.stdout.once('data', (data) => resolve(Number(data))),
    );
    expect(alive(pid)).toBe(true);
    expect(readlinkSync(`/proc/${pid}/ns/net`)).not.toBe(readlinkSync('/proc/self/ns/net'));
    parent.kill('SIGKILL');
    while (alive(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
  });
});
