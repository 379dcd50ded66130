/** `netproxy demo` and `netproxy run` as people start them; as root both stay in a namespace without routes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Lab } from '../netns/lab.js';
import { type ExecResult, exec } from '../support/process.js';
import {
  CLI,
  requireAddon,
  requireBuild,
  requireNamespaces,
  requireTool,
  requirements,
} from '../support/requirements.js';

const cli = [process.execPath, CLI];
const env = { NETPROXY_NO_VSOCK: '1' };

/** Hides every program: only what is named by its path, as node is, can be run. */
const bare = ['/usr/bin/env', 'PATH=/nonexistent'];

const demo = (args: readonly string[], prefix: readonly string[] = []): Promise<ExecResult> =>
  exec([...prefix, ...cli, 'demo', '--size', '5MB', ...args], { env, timeoutMs: 55_000 });

describe.runIf(requirements('demo', requireBuild()))('demo', () => {
  it('passes on the scripted guest, and says that it is not a real one', async () => {
    const { code, stdout } = await demo([], [...bare, 'NETPROXY_NO_ADDON=1']);
    expect(stdout).toMatch(/8 of 8 passed in /);
    expect(stdout).toContain('this is not a real guest');
    expect(code).toBe(0);
  });

  it('tells its steps as JSON', async () => {
    const { code, stdout } = await demo(['--scripted', '--json']);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.slice(0, -1).map((line) => [line['step'], line['ok']])).toEqual(
      ['lease', 'ping', 'dns', 'refused', 'down', 'up', 'udp', 'publish'].map((step) => [step, true]),
    );
    expect(lines.at(-1)).toMatchObject({ summary: true, guest: 'scripted', passed: 8, total: 8 });
    expect(code).toBe(0);
  });

  it('says what --vm lacks', async () => {
    const { code, stderr } = await demo(['--vm'], bare);
    expect(code).toBe(4);
    expect(stderr).toContain('there is no qemu-system-x86_64');
  });
});

const real = requirements(
  'namespaces by netproxy',
  requireBuild(),
  requireNamespaces(),
  requireAddon(),
  requireTool('curl'),
);

describe.runIf(real)('demo in a namespace', () => {
  it('passes with the real programs', async () => {
    const { code, stdout, stderr } = await demo(['--netns']);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/✓ lease 192\.168\.\d+\.2 in /);
    expect(stdout).toMatch(/✓ 5 MB up at .*, sha256 ok/);
    expect(stdout).toMatch(/8 of 8 passed in /);
    expect(code).toBe(0);
  });

  it('passes with nothing but node in the guest', async () => {
    // Without unshare there is no isolation either: the servers listen on loopback, everything else is denied.
    const { code, stdout } = await demo(['--netns'], bare);
    expect(stdout).toMatch(/guest: a network namespace with a TAP, this kernel's TCP\/IP\n/);
    expect(stdout).toMatch(/8 of 8 passed in /);
    expect(code).toBe(0);
  });
});

describe.runIf(real)('run', () => {
  let lab: Lab;
  const run = (args: readonly string[], timeoutMs = 20_000): Promise<ExecResult> =>
    lab.exec(lab.host, [...cli, 'run', ...args], { env, timeoutMs });

  beforeAll(async () => {
    lab = await Lab.create();
  });
  afterAll(async () => {
    await lab?.destroy();
  });

  it('passes the exit code on', async () => {
    expect(await run(['--', 'true'])).toEqual({ code: 0, stdout: '', stderr: '' });
    expect((await run(['--', 'sh', '-c', 'exit 7'])).code).toBe(7);
    expect((await run(['--', 'sh', '-c', 'kill -TERM $$'])).code).toBe(143);
    expect(await run(['no-such-command'])).toMatchObject({
      code: 127,
      stderr: expect.stringContaining('cannot run no-such-command: command not found.'),
    });
    expect(await run(['/etc/hosts'])).toMatchObject({
      code: 126,
      stderr: expect.stringContaining('cannot be executed'),
    });
  });

  it('gives the command an interface, a resolver and a way out', async () => {
    const servers = await lab.serve({ web: { kind: 'http' } });
    const inside =
      'ip -br -4 addr show tap0; ip link show tap0 | grep -o "mtu [0-9]*"; cat /etc/resolv.conf; curl -sS "$0" | wc -c';
    const { code, stdout } = await run([
      '--subnet',
      '10.9.0.0/24',
      '--mac',
      '52:54:00:00:00:09',
      'sh',
      '-c',
      `${inside}; ip link show tap0 | grep -o "ether [0-9a-f:]*"`,
      servers.url('web', '/10K'),
    ]);
    expect(code).toBe(0);
    expect(stdout.split('\n').map((line) => line.trim())).toEqual([
      expect.stringMatching(/^tap0 +\S+ +10\.9\.0\.2\/24$/),
      'mtu 65520',
      'nameserver 10.9.0.1',
      '10240',
      'ether 52:54:00:00:00:09',
      '',
    ]);
  });

  it('has no host alias unless asked, and keeps resolv.conf with --no-dns', async () => {
    const lookup = ['getent', 'ahostsv4', 'host.netproxy.internal'];
    expect((await run(lookup)).code).not.toBe(0);
    expect((await run(['--host-alias', 'on', ...lookup])).stdout).toMatch(/^192\.168\.\d+\.254 /);
    expect((await run(['--no-dns', 'cat', '/etc/resolv.conf'])).stdout).not.toContain('192.168.127.1');
  });

  it('obeys rules, and publishes ports', async () => {
    const servers = await lab.serve({ web: { kind: 'http' } });
    const curl = ['curl', '-sS', '--max-time', '5', servers.url('web', '/10')];
    expect((await run(['--deny', lab.address(), ...curl])).code).toBe(7);
    const child = lab.spawn(
      lab.host,
      [...cli, 'run', '-p', '127.0.0.1:18080:80', '--', 'busybox', 'httpd', '-f', '-p', '80', '-h', lab.dir],
      { env },
    );
    try {
      const args = [
        'curl',
        '-sS',
        '--retry',
        '20',
        '--retry-connrefused',
        '--retry-delay',
        '1',
        '-o',
        '/dev/null',
        '-w',
        '%{http_code}',
        'http://127.0.0.1:18080/none',
      ];
      expect((await lab.exec(lab.host, args)).stdout).toBe('404');
    } finally {
      child.child.kill('SIGTERM');
      expect(await child.waitExit()).toMatchObject({ code: 143 });
    }
  });

  it('forwards signals', async () => {
    const script = 'trap "echo got; exit 3" INT TERM; echo up; while :; do sleep 0.1; done';
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const child = lab.spawn(lab.host, [...cli, 'run', 'sh', '-c', script], { env });
      await child.waitFor(/up/);
      child.child.kill(signal);
      expect(await child.waitExit()).toMatchObject({ code: 3 });
      expect(child.stdout).toContain('got');
    }
  });

  it('refuses what only serve has', async () => {
    expect(await run(['--qemu', '/x', 'true'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("unknown option '--qemu'"),
    });
  });
});
