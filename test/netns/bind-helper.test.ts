/** `netproxy bind-helper`: a netproxy without privileges gets the ports that the helper's rules grant its user, and no others. */
import { chmodSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CLI,
  requireAddon,
  requireBuild,
  requireNamespaces,
  requireTool,
  requirements,
} from '../support/requirements.js';
import { Lab } from './lab.js';

const ready = requirements(
  'bind helper',
  requireNamespaces(),
  requireBuild(),
  requireAddon(),
  requireTool('ss'),
);
/** Nobody's, and somebody else's. */
const [USER, OTHER] = [64_123, 64_124];

describe.runIf(ready)('the bind helper', () => {
  let lab: Lab;
  let socket: string;

  beforeAll(async () => {
    lab = await Lab.create();
    chmodSync(lab.dir, 0o755);
    // This namespace, too, takes ports below 1024 for privileged.
    await lab.check(lab.host, ['sysctl', '-qw', 'net.ipv4.ip_unprivileged_port_start=1024']);
    socket = lab.path('bind');
    const helper = [process.execPath, CLI, 'bind-helper', '--socket', socket];
    const rules = ['--allow-user', String(USER), '--allow-ports', '80,53', '--allow-ports', '443'];
    const proc = lab.spawn(lab.host, [...helper, ...rules], { stdin: 'ignore' });
    await proc.waitFor(/bind helper at/, 20_000, 'stderr');
  });

  afterAll(async () => {
    await lab?.destroy();
  });

  /** `netproxy serve` as a user, in a folder of its own, with these ports. */
  const serve = (uid: number, name: string, ...specs: string[]) => {
    const folder = lab.path(name);
    mkdirSync(folder, { mode: 0o777 });
    chmodSync(folder, 0o777);
    const setpriv = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--'];
    const argv = [...setpriv, process.execPath, CLI, 'serve', '--qemu', `unix:${folder}/vm.sock`];
    const flags = ['--subnet', '192.168.127.0/24', '--bind-helper', socket];
    return lab.spawn(lab.host, [...argv, ...flags, ...specs.flatMap((spec) => ['--publish', spec])], {
      stdin: 'ignore',
      env: { NETPROXY_NO_VSOCK: '1' },
    });
  };

  it('binds TCP and UDP ports for who may ask', async () => {
    const proc = serve(
      USER,
      'a',
      '0.0.0.0:80:80',
      '127.0.0.1:53:53/udp',
      '[::1]:443:443',
      '127.0.0.1:8080:80',
    );
    await proc.waitFor(/ready: network/, 20_000, 'stderr');
    const listening = await lab.check(lab.host, ['ss', '-Hlntup']);
    const of = (place: string): string =>
      listening.split('\n').find((line) => line.includes(` ${place} `)) ?? '';
    for (const place of ['0.0.0.0:80', '127.0.0.1:53', '[::1]:443', '127.0.0.1:8080'])
      expect(of(place)).toContain(`pid=${proc.pid}`);
    // The socket was handed over: netproxy takes what comes, and resets it for want of a guest.
    const late = await lab.client({ mode: 'hold', address: '127.0.0.1', port: 80 }, 30_000, lab.host);
    expect(late.error ?? late.how).toMatch(/reset/i);
    await proc.kill();
  });

  it.each([
    ['a port that is not allowed', USER, '127.0.0.1:81:80', /port 81 is none of its ports/],
    ['a user that may not ask', OTHER, '127.0.0.1:80:80', /user 64124 may not ask it/],
  ])('refuses %s', async (_what, uid, spec, why) => {
    const proc = serve(uid, `r${uid}${spec.length}`, spec);
    const { code } = await proc.waitExit(20_000);
    expect(code).toBe(3);
    expect(proc.stderr).toMatch(why);
    expect(proc.stderr).toContain('permission denied');
  });

  it('says who holds a port that is taken', async () => {
    const first = serve(USER, 'first', '127.0.0.1:80:80');
    await first.waitFor(/ready: network/, 20_000, 'stderr');
    const second = serve(USER, 'second', '127.0.0.1:80:80');
    expect((await second.waitExit(20_000)).code).toBe(3);
    expect(second.stderr).toMatch(/address already in use \(.*pid \d+\)/);
    await first.kill();
  });

  it('without it the error says what to do', async () => {
    const proc = lab.spawn(
      lab.host,
      [
        ...['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', '--'],
        ...[process.execPath, CLI, 'serve', '--qemu', `unix:${lab.path('a')}/b.sock`],
        ...['--subnet', '192.168.127.0/24', '--publish', '127.0.0.1:80:80'],
      ],
      { stdin: 'ignore', env: { NETPROXY_NO_VSOCK: '1' } },
    );
    expect((await proc.waitExit(20_000)).code).toBe(3);
    expect(proc.stderr).toMatch(/permission denied[^]*ip_unprivileged_port_start=80[^]*--bind-helper/);
  });

  it('never takes a path that is not its own', async () => {
    const file = lab.path('file');
    writeFileSync(file, 'mine');
    const argv = [process.execPath, CLI, 'bind-helper', '--socket'];
    for (const path of [file, socket]) expect((await lab.exec(lab.host, [...argv, path])).code).toBe(3);
    expect(lstatSync(file).size).toBe(4);
    expect(lstatSync(socket).isSocket()).toBe(true);
    const { code, stderr } = await lab.exec(lab.host, [...argv, lab.path('x')], {
      env: { NETPROXY_NO_ADDON: '1' },
    });
    expect([code, stderr]).toEqual([4, expect.stringContaining('needs the native addon') as string]);
  });
});
