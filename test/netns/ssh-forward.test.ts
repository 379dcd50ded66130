/** `netproxy serve --ssh-forward`: a unix socket of the host that leads to one of a kernel guest, by the system's ssh. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../support/deadline.js';
import { Lab } from './lab.js';
import { GUEST, scenarioReady, serveTap } from './scenario.js';

const ready = scenarioReady('forwards by ssh', 'ssh', 'socat');
const SSH_SERVER = join(dirname(fileURLToPath(import.meta.url)), 'ssh-server.py');

describe.runIf(ready)('forwards by ssh', () => {
  let lab: Lab;

  beforeEach(async () => {
    lab = await Lab.create();
  });

  afterEach(async () => {
    await lab?.destroy();
  });

  it('lead to a socket of the guest, with the host key that was given and no other', async () => {
    const key = lab.path('id');
    for (const file of [key, lab.path('host'), lab.path('stranger')])
      await lab.check(lab.host, ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', file]);
    for (const name of ['host', 'stranger'])
      writeFileSync(lab.path(`known-${name}`), `${GUEST} ${readFileSync(lab.path(`${name}.pub`), 'utf8')}`);
    const inside = lab.path('inside');
    const forward = (name: string, more = ''): string[] => [
      '--ssh-forward',
      `${lab.path(name)}=root@${GUEST}:${inside},identity=${key}${more}`,
    ];
    const netproxy = await serveTap(lab, [
      ...forward('first-seen'),
      ...forward('known', `,known-hosts=${lab.path('known-host')}`),
      ...forward('mistaken', `,known-hosts=${lab.path('known-stranger')}`),
      ...['--log-level', 'debug'],
    ]);
    await lab.dhcp();
    expect(statSync(lab.path('known')).mode & 0o777).toBe(0o600);
    lab.spawn(lab.guest, ['socat', `UNIX-LISTEN:${inside},fork`, 'EXEC:cat']);
    await until(10_000, 'socket', () => existsSync(inside));
    const argv = ['/usr/bin/python3', SSH_SERVER, lab.path('host'), lab.path('id.pub')];
    await lab.spawn(lab.guest, argv, { label: 'ssh server' }).waitFor(/listening/, 30_000);

    const pipe = (name: string): string[] => [
      'sh',
      '-c',
      `echo hello | socat -t 60 - UNIX-CONNECT:${lab.path(name)}`,
    ];
    for (const name of ['first-seen', 'known'])
      expect(await lab.check(lab.host, pipe(name), { timeoutMs: 90_000 })).toBe('hello\n');
    const refused = lab.spawn(lab.host, pipe('mistaken'));
    await netproxy.proc.waitFor(/Host key verification failed/, 60_000, 'stderr');
    await refused.kill('SIGKILL');
    await netproxy.proc.kill('SIGTERM');
    expect(existsSync(lab.path('known'))).toBe(false);
  });
});
