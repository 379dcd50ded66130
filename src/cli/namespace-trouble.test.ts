import { describe, expect, it } from 'vitest';
import { examine, type Examined } from './doctor-checks.js';
import type { HostFacts } from './host-facts.js';
import { blockingSettings, explainTrouble } from './namespace-trouble.js';

function facts(files: Readonly<Record<string, string>> = {}, more: Partial<HostFacts> = {}): HostFacts {
  return {
    read: (file) => files[file],
    exists: (file) => file in files,
    may: (file) => file in files,
    which: () => undefined,
    isRoot: false,
    platform: 'linux',
    ...more,
  };
}

const CLONE = '/proc/sys/kernel/unprivileged_userns_clone';
const APPARMOR = '/proc/sys/kernel/apparmor_restrict_unprivileged_userns';
const MAX = '/proc/sys/user/max_user_namespaces';

describe('explainTrouble', () => {
  it.each([
    [
      { [CLONE]: '0' },
      'unshare user',
      'EPERM',
      'kernel.unprivileged_userns_clone is 0',
      'sysctl -w kernel.unprivileged_userns_clone=1',
    ],
    [
      { [APPARMOR]: '1' },
      'write uid_map',
      'EPERM',
      'kernel.apparmor_restrict_unprivileged_userns is 1',
      'apparmor_restrict_unprivileged_userns=0',
    ],
    [
      { [APPARMOR]: '1' },
      'link up',
      'EPERM',
      'kernel.apparmor_restrict_unprivileged_userns is 1',
      'AppArmor profile',
    ],
    [
      { [MAX]: '0' },
      'unshare user',
      'ENOSPC',
      'user.max_user_namespaces is 0',
      'sysctl -w user.max_user_namespaces',
    ],
    [{ [MAX]: '100' }, 'unshare user', 'EPERM', 'something else than a sysctl', 'as root'],
    [{}, 'open /dev/net/tun', 'ENOENT', "the kernel's tun driver is missing", 'modprobe tun'],
    [{}, 'open /dev/net/tun', 'EACCES', 'open /dev/net/tun failed (EACCES)', 'chmod 666 /dev/net/tun'],
    [{}, 'unshare net', 'EPERM', 'unshare net failed (EPERM)', 'CAP_SYS_ADMIN'],
    [{}, 'bind resolv.conf', 'ENOENT', 'bind resolv.conf failed (ENOENT)', 'netproxy doctor'],
  ])('%j, %s, %s', (files, step, errno, why, remedy) => {
    const trouble = explainTrouble(step, errno, facts(files));
    expect(trouble.why).toContain(why);
    expect(trouble.remedy).toContain(remedy);
  });

  it('does not blame user namespaces as root', () => {
    expect(
      explainTrouble('unshare net', 'EPERM', facts({ [CLONE]: '0' }, { isRoot: true })).why,
    ).not.toContain('clone');
  });

  it('sees no fault in open settings', () => {
    expect(blockingSettings(facts({ [CLONE]: '1', [APPARMOR]: '0', [MAX]: '63000' }))).toEqual([]);
    expect(blockingSettings(facts())).toEqual([]);
  });
});

describe('doctor', () => {
  const capabilities = { version: '1.2.3', tun: 0, userns: 0, usernsStep: '', pingSockets: 0, vsock: true };
  const host = (more: Partial<Examined> = {}): Examined => ({
    facts: facts(
      { '/dev/net/tun': '', '/dev/kvm': '', '/dev/vsock': '' },
      { which: (program) => `/bin/${program}` },
    ),
    capabilities,
    reason: undefined,
    firstLine: (program) => `${program} 7.2`,
    ...more,
  });
  const check = (name: string, examined: Examined) => examine(examined).find((one) => one.name === name);

  it('finds all there is', () => {
    const missing = examine(host()).filter((one) => !one.ok);
    expect(missing.map((one) => one.name)).toEqual(['kernel image']);
  });

  it('gives a remedy for each thing that is missing', () => {
    const nothing = host({
      facts: facts(),
      capabilities: undefined,
      reason: 'it is not built',
      firstLine: () => undefined,
    });
    const missing = examine(nothing).filter((one) => !one.ok);
    expect(missing.map((one) => one.name)).toEqual([
      'native addon',
      'TAP',
      'ping sockets',
      'vsock',
      'KVM',
      'QEMU',
      'kernel image',
      'cargo',
    ]);
    for (const one of missing) expect(one.remedy, one.name).toMatch(/\w/);
  });

  it('explains what the addon could not do', () => {
    const restricted = host({
      facts: facts({ [APPARMOR]: '1', '/dev/net/tun': '' }),
      capabilities: { ...capabilities, tun: -13, userns: -1, usernsStep: 'write uid_map', pingSockets: -13 },
    });
    expect(check('TAP', restricted)?.detail).toContain('does not open (EACCES)');
    expect(check('user namespaces', restricted)).toMatchObject({
      ok: false,
      detail: expect.stringContaining('apparmor'),
    });
    expect(check('ping sockets', restricted)?.remedy).toContain('ping_group_range');
  });

  it('looks at less where there is no Linux', () => {
    const mac = host({
      facts: facts({}, { platform: 'darwin', which: () => undefined }),
      capabilities: undefined,
      reason: 'there is none for darwin',
    });
    expect(examine(mac).map((one) => one.name)).toEqual(['Node', 'native addon', 'QEMU', 'cargo']);
  });
});
