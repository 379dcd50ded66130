import { describe, expect, it } from 'vitest';
import type { SshForwardSpec } from '../link/index.js';
import { checkSshForward, sshArguments } from './ssh-forward.js';

const SPEC: SshForwardSpec = {
  socket: '/run/a.sock',
  user: 'core',
  guest: '192.168.127.2',
  port: 22,
  dest: '/run/podman/podman.sock',
  identity: import.meta.filename,
};

describe('what ssh is told', () => {
  it('is one key, no agent, no configuration, and a forward', () => {
    const words = sshArguments({ ...SPEC, dest: '/run/100%:x' }, '/tmp/f', '/tmp/f/socket', 4022);
    expect(words.slice(0, 4)).toEqual(['-F', 'none', '-N', '-T']);
    expect(words).toEqual(
      expect.arrayContaining(['IdentitiesOnly=yes', 'IdentityAgent=none', 'BatchMode=yes']),
    );
    expect(words.slice(-9)).toEqual([
      ...['-i', import.meta.filename, '-l', 'core', '-p', '4022'],
      ...['-L', '/tmp/f/socket:/run/100%%\\:x', '127.0.0.1'],
    ]);
  });

  it('of host keys: the first one seen, or those of a file', () => {
    const known = (knownHosts?: string): string[] =>
      sshArguments({ ...SPEC, knownHosts }, '/tmp/f', '/tmp/f/socket', 1).filter((word) => /Host/.test(word));
    expect(known()).toEqual([
      'GlobalKnownHostsFile=none',
      'HostKeyAlias=192.168.127.2',
      'UserKnownHostsFile="/tmp/f/known_hosts"',
      'StrictHostKeyChecking=accept-new',
    ]);
    expect(known('/etc/keys')).toEqual(
      expect.arrayContaining(['UserKnownHostsFile="/etc/keys"', 'StrictHostKeyChecking=yes']),
    );
  });

  it.each<Partial<SshForwardSpec>>([
    { user: '-oProxyCommand=x' },
    { user: '' },
    { dest: 'relative' },
    { dest: '/a${HOME}' },
    { dest: '/a"b' },
    { socket: 'x' },
    { identity: '/nowhere/key' },
    { identity: '/a\n' },
  ])('%j is refused', (part) => {
    expect(() => {
      checkSshForward({ ...SPEC, ...part });
    }).toThrow(expect.objectContaining({ code: 'ERR_NETPROXY_CONFIG' }) as Error);
  });
});
