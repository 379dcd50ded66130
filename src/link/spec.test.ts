import { describe, expect, it } from 'vitest';
import { checkPath, formatLinkAddress, parseLinkSpec, UNIX_PATH_MAX } from './spec.js';

describe('link addresses', () => {
  it.each([
    ['unix:/run/vm.sock', { mode: 'listen', address: { transport: 'unix', path: '/run/vm.sock' } }],
    ['unix:///run/vm.sock', { mode: 'listen', address: { transport: 'unix', path: '/run/vm.sock' } }],
    ['unix:vm.sock', { mode: 'listen', address: { transport: 'unix', path: 'vm.sock' } }],
    ['/run/vm.sock', { mode: 'listen', address: { transport: 'unix', path: '/run/vm.sock' } }],
    ['connect:/run/vm.sock', { mode: 'connect', address: { transport: 'unix', path: '/run/vm.sock' } }],
    ['tcp:127.0.0.1:5000', { mode: 'listen', address: { transport: 'tcp', host: '127.0.0.1', port: 5000 } }],
    ['tcp://localhost:0', { mode: 'listen', address: { transport: 'tcp', host: 'localhost', port: 0 } }],
    ['connect:tcp://[::1]:9', { mode: 'connect', address: { transport: 'tcp', host: '::1', port: 9 } }],
    ['fd:3', { mode: 'listen', address: { transport: 'fd', fd: 3 } }],
  ])('%s', (text, expected) => {
    const spec = parseLinkSpec(text, 'qemu');
    expect(spec).toEqual(expected);
    const dial = spec.mode === 'connect' ? 'connect:' : '';
    expect(parseLinkSpec(dial + formatLinkAddress(spec.address), 'qemu')).toEqual(expected);
  });

  it.each([
    ['1024', 'listen', undefined, 1024],
    ['vsock://:1024', 'listen', undefined, 1024],
    ['vsock:1024', 'listen', undefined, 1024],
    ['3:1024', 'connect', 3, 1024],
    ['vsock://2:1024', 'connect', 2, 1024],
    ['connect:3:1024', 'connect', 3, 1024],
  ])('vsock %s', (text, mode, cid, port) => {
    expect(parseLinkSpec(text, 'vsock')).toEqual({ mode, address: { transport: 'vsock', cid, port } });
  });

  it('takes vsock addresses with their scheme for the other kinds', () => {
    const address = { transport: 'vsock', cid: undefined, port: 7 };
    expect(parseLinkSpec('vsock://:7', 'vpnkit')).toEqual({ mode: 'listen', address });
    expect(() => parseLinkSpec('1024', 'qemu')).toThrow('"1024" is no address');
  });

  it.each([
    '',
    'unix:',
    'tcp:5000',
    'tcp:host:65536',
    'tcp:[::1]',
    'tcp:::1:5',
    'http://x',
    'fd:x',
    'vm.sock',
    'connect:',
  ])('refuses "%s" and names what is allowed', (text) => {
    expect(() => parseLinkSpec(text, 'qemu')).toThrow(
      expect.objectContaining({
        code: 'ERR_NETPROXY_CONFIG',
        message: expect.stringContaining(`qemu: "${text}"`),
        remedy: expect.stringContaining('unix:/PATH'),
      }),
    );
  });

  it.each(['/run/x', 'connect:1024', 'x:1', '4294967295', '-1', '1:2:3'])('refuses vsock "%s"', (text) => {
    expect(() => parseLinkSpec(text, 'vsock')).toThrow(
      expect.objectContaining({ remedy: expect.stringContaining('CID:PORT') }),
    );
  });

  it.each(['vfkit', 'bess'] as const)('%s listens at a path', (kind) => {
    const address = { transport: 'unix', path: '/run/v' };
    expect(parseLinkSpec('unix:/run/v', kind)).toEqual({ mode: 'listen', address });
    expect(parseLinkSpec('/run/v', kind)).toEqual({ mode: 'listen', address });
    for (const text of ['connect:/run/v', 'tcp:127.0.0.1:1', 'fd:3', 'vsock://:1', '1024', '']) {
      expect(() => parseLinkSpec(text, kind), text).toThrow(
        expect.objectContaining({
          message: expect.stringContaining(`${kind}: "${text}"`),
          remedy: 'Allowed: unix:/PATH, /PATH.',
        }),
      );
    }
  });

  it('refuses connect:fd and paths that the kernel would cut', () => {
    expect(() => parseLinkSpec('connect:fd:3', 'qemu')).toThrow('--fd N');
    expect(() => checkPath('/'.padEnd(UNIX_PATH_MAX, 'x'))).not.toThrow();
    expect(() => parseLinkSpec('/'.padEnd(UNIX_PATH_MAX + 1, 'x'), 'qemu')).toThrow(
      `is ${UNIX_PATH_MAX + 1} bytes long`,
    );
    expect(() => checkPath('/é'.padEnd(UNIX_PATH_MAX, 'x'))).toThrow('bytes long');
    expect(() => checkPath('/a\0b')).toThrow('NUL');
  });
});
