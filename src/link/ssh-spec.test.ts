import { describe, expect, it } from 'vitest';
import { parseSshForward } from './ssh-spec.js';

describe('a forward by ssh', () => {
  it('is read', () => {
    expect(parseSshForward('/run/a.sock=root@192.168.127.2:/run/b.sock,identity=/k')).toEqual({
      socket: '/run/a.sock',
      user: 'root',
      guest: '192.168.127.2',
      port: 22,
      dest: '/run/b.sock',
      identity: '/k',
      knownHosts: undefined,
    });
    expect(parseSshForward('unix:/a=core@build:2222:/b,known-hosts=/h,identity=k')).toMatchObject({
      ...{ socket: '/a', guest: 'build', port: 2222, dest: '/b', identity: 'k', knownHosts: '/h' },
    });
  });

  it.each([
    '',
    '/a=root@vm:/b',
    '/a=root@vm:b,identity=k',
    'a=root@vm:/b,identity=k',
    '/a=root@vm:0:/b,identity=k',
    '/a=root@vm:65536:/b,identity=k',
    '/a=-oProxyCommand@vm:/b,identity=k',
    '/a=root@vm:/b,identity=k,identity=l',
    '/a=root@vm:/b,identity=k,agent=yes',
    '/a=root@vm:/b${HOME},identity=k',
    `/${'a'.repeat(200)}=root@vm:/b,identity=k`,
  ])('%j is refused', (text) => {
    expect(() => parseSshForward(text)).toThrow(expect.objectContaining({ code: 'ERR_NETPROXY_CONFIG' }));
  });
});
