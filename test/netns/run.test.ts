/** `netproxy run -- COMMAND`: a command whose only network is ours, as root and as an ordinary user. */
import { chmodSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FULL, count } from '../support/counts.js';
import { until } from '../support/deadline.js';
import type { ExecOptions, ExecResult } from '../support/process.js';
import { CLI } from '../support/requirements.js';
import { digestOf } from './bytes.mjs';
import { Lab } from './lab.js';
import { GATEWAY, GUEST, HOST_ALIAS, scenarioReady } from './scenario.js';
import type { Servers } from './servers.js';

const ready = scenarioReady('netproxy run', 'curl', 'dnsmasq', 'unshare', 'setpriv', 'mknod');

const BYTES = count(50_000_000, 1_073_741_824);
const LONG = count(100_000, 900_000);

describe.runIf(ready)('netproxy run', () => {
  let lab: Lab;
  let servers: Servers;

  beforeAll(async () => {
    lab = await Lab.create();
    await lab.dns(['--host-record=www.lab.test,198.18.0.2']);
    servers = await lab.serve({
      web: { kind: 'http', address: lab.address(1), port: 80 },
      local: { kind: 'http', address: '127.0.0.1', port: 8080 },
      discard: { kind: 'tcp-discard' },
    });
  });

  afterAll(async () => {
    await lab?.destroy();
  });

  const argv = (args: readonly string[]) => [process.execPath, CLI, 'run', ...args];

  function run(args: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return lab.exec(lab.host, argv(args), { timeoutMs: 30_000, ...options });
  }

  const sh = (script: string, ...flags: string[]): Promise<ExecResult> =>
    run([...flags, '--', 'sh', '-c', script]);

  for (const flags of [['--mtu', '1500'], []]) {
    const mtu = flags[1] ?? '65520';
    it(
      `moves ${FULL ? '1 GiB' : '50 MB'} up and down by curl at MTU ${mtu}`,
      async () => {
        const options = { timeoutMs: LONG };
        const seen = await sh('ip link show tap0', ...flags);
        expect(seen.stdout).toContain(` mtu ${mtu} `);
        const url = servers.url('web', `/${BYTES}?offset=3`);
        const down = `curl -sS '${url}' | sha256sum`;
        const got = await run([...flags, '--', 'bash', '-o', 'pipefail', '-c', down], options);
        expect(got).toMatchObject({ code: 0, stdout: `${digestOf(BYTES, 3)}  -\n` });
        const up = `curl -sS '${url}' | curl -sS -T - ${servers.url('web', '/up')}`;
        const put = await run([...flags, '--', 'bash', '-o', 'pipefail', '-c', up], options);
        expect(put).toMatchObject({ code: 0, stdout: `${BYTES} ${digestOf(BYTES, 3)}\n` });
      },
      2 * LONG,
    );
  }

  it('gives the command an address, a route, names and nothing of the host', async () => {
    const facts = await sh('ip -o -4 addr show tap0; ip route; cat /etc/resolv.conf; ip -br link');
    expect(facts.stdout).toContain(`${GUEST}/24`);
    expect(facts.stdout).toContain(`default via ${GATEWAY}`);
    expect(facts.stdout).toContain(`nameserver ${GATEWAY}`);
    expect(facts.stdout).toMatch(/^tap0 /m);
    expect(facts.stdout).not.toContain('deadend');
    expect((await sh('curl -sS -m 20 http://www.lab.test/')).stdout).toContain('hello');
    expect(await lab.check(lab.host, ['cat', '/etc/resolv.conf'])).toContain('127.0.0.1');
    // The host's loopback is not the command's, unless the alias is switched on.
    expect((await sh('curl -sS -m 5 http://127.0.0.1:8080/')).code).not.toBe(0);
    expect((await sh(`curl -sS -m 5 http://${HOST_ALIAS}:8080/`)).code).not.toBe(0);
    const alias = await sh('curl -sS -m 20 http://host.netproxy.internal:8080/', '--host-alias', 'on');
    expect(alias.stdout).toContain('hello');
  });

  it('passes on standard streams and the exit code', async () => {
    expect(await run(['--', 'cat'], { input: 'through and through' })).toMatchObject({
      code: 0,
      stdout: 'through and through',
    });
    expect(await sh('echo out; echo err >&2; exit 7')).toMatchObject({
      code: 7,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    expect((await sh('kill -KILL $$')).code).toBe(137);
    expect((await sh('kill -TERM $$')).code).toBe(143);
    const missing = await run(['--', 'no-such-command-here']);
    expect(missing).toMatchObject({ code: 127, stderr: expect.stringContaining('no-such-command-here') });
    expect((await run(['--', '/etc/passwd'])).code).toBe(126);
    expect((await run(['--mtu', '5', '--', 'true'])).code).toBe(2);
  });

  it('forwards signals to the command and ends with it', async () => {
    const script = 'trap "echo told; exit 9" TERM; echo up; while :; do sleep 0.1; done';
    const proc = lab.spawn(lab.host, argv(['--', 'sh', '-c', script]), { stdin: 'ignore' });
    await proc.waitFor(/up/, 20_000);
    proc.child.kill('SIGTERM');
    expect(await proc.waitExit(20_000)).toMatchObject({ code: 9 });
    expect(proc.stdout).toContain('told');
  });

  it('takes the command with it when it is killed', async () => {
    const mark = `sleep 4${process.pid}`;
    const proc = lab.spawn(lab.host, argv(['--', 'sh', '-c', `echo up; exec ${mark}`]), { stdin: 'ignore' });
    await proc.waitFor(/up/, 20_000);
    const running = async () => (await lab.exec(lab.host, ['pgrep', '-f', `^${mark}`])).code === 0;
    expect(await running()).toBe(true);
    await proc.kill('SIGKILL');
    await until(10_000, 'end of the command', async () => !(await running()));
  });

  it('leaves no interface, namespace or mount behind', async () => {
    const facts = () =>
      lab.check(lab.host, ['sh', '-c', 'ls /sys/class/net; wc -l </proc/mounts; ls /run/netns | wc -l']);
    const before = await facts();
    for (let n = 0; n < 3; n++) expect((await sh('true')).code).toBe(0);
    expect(await facts()).toBe(before);
  });

  it('runs twice at once, each with a network of its own', async () => {
    const one = () =>
      sh(`curl -sS -m 20 ${servers.url('web')} && sleep 0.5 && curl -sS -m 20 ${servers.url('web')}`);
    for (const { code, stdout } of await Promise.all([one(), one(), one()])) {
      expect(code).toBe(0);
      expect(stdout.match(/hello/g)).toHaveLength(2);
    }
  });

  it('publishes ports of the command, and obeys rules', async () => {
    const server = 'while :; do echo inside | nc -lN 80; done';
    const flags = ['--publish', '8181:80', '--deny', '198.18.0.1', '--', 'sh', '-c', `echo up; ${server}`];
    const proc = lab.spawn(lab.host, argv(flags), { stdin: 'ignore' });
    await proc.waitFor(/up/, 20_000);
    const page = await until(20_000, 'the published port', async () => {
      const { stdout } = await lab.exec(lab.host, ['sh', '-c', 'nc -N -w 3 127.0.0.1 8181 </dev/null']);
      return stdout === '' ? undefined : stdout;
    });
    expect(page).toBe('inside\n');
    await proc.kill();
    const denied = await sh(`curl -sS -m 5 ${servers.url('discard')}`, '--deny', '198.18.0.1');
    expect(denied.code).toBe(7);
  });

  describe('without root', () => {
    /** The device node is often root's alone in containers; distributions have it open for all. */
    async function asNobody(args: readonly string[], mode = '666'): Promise<ExecResult> {
      const node = lab.path('tun');
      rmSync(node, { force: true });
      chmodSync(lab.dir, 0o755);
      await lab.check(lab.host, ['mknod', '-m', mode, node, 'c', '10', '200']);
      const user = 'setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs';
      const script = `mount --bind ${node} /dev/net/tun && cd / && exec ${user} "$@"`;
      const options = { env: { HOME: '/tmp' }, timeoutMs: 40_000 };
      return lab.exec(lab.host, ['unshare', '-m', 'sh', '-c', script, 'sh', ...argv(args)], options);
    }

    it('works in a user namespace of its own', async () => {
      const result = await asNobody(['--', 'sh', '-c', 'id -u; curl -sS -m 20 http://www.lab.test/; exit 3']);
      expect(result).toMatchObject({ code: 3, stdout: '65534\nhello from the host side\n' });
      const root = await asNobody(['--map-root', '--', 'id', '-u']);
      expect(root).toMatchObject({ code: 0, stdout: '0\n' });
    });

    it('moves files with the right digests', async () => {
      const bytes = 20_000_000;
      const pipe = `curl -sS '${servers.url('web', `/${bytes}`)}' | sha256sum`;
      const result = await asNobody(['--', 'bash', '-c', pipe]);
      expect(result).toMatchObject({ code: 0, stdout: `${digestOf(bytes)}  -\n` });
    });

    it('says what is in the way where the device is closed', async () => {
      const result = await asNobody(['--', 'true'], '600');
      expect(result.code).toBe(4);
      expect(result.stderr).toMatch(/\/dev\/net\/tun/);
      expect(result.stderr).toMatch(/chmod|0666|udev|rw/i);
    });
  });

  it('leaves resolv.conf alone when told to', async () => {
    const result = await run(['--no-dns', '--', 'cat', '/etc/resolv.conf']);
    expect(result.stdout).toContain('nameserver 127.0.0.1');
  });
});
