import { describe, expect, it } from 'vitest';
import { testNetwork } from './index.js';
import { codeOf, readAll } from './testing.testutil.js';

describe('policy', () => {
  it('denies by CIDR, port, protocol and guest, and explain agrees', async () => {
    await using lab = await testNetwork({
      policy: {
        rules: [
          'deny tcp:10.0.0.0/8',
          'allow tcp:198.51.100.0/24:443',
          'deny tcp:198.51.100.0/24',
          'deny udp:*:53',
        ],
      },
    });
    lab.host.accept('*', (socket) => socket.end('ok'));
    lab.host.echoUdp('*');
    const tcp = async (ip: string, port: number): Promise<string> =>
      codeOf(lab.run(async () => readAll(await lab.guest.connect(ip, port, { timeout: 5000 }))));
    const cases = [
      ['10.1.2.3', 80, false],
      ['198.51.100.1', 443, true],
      ['198.51.100.1', 80, false],
      ['203.0.113.1', 80, true],
    ] as const;
    for (const [host, port, allowed] of cases) {
      expect((await tcp(host, port)) === 'no error', `${host}:${port}`).toBe(allowed);
      const { verdict } = await lab.network.explain({ host, port });
      expect(verdict.kind, `explain ${host}:${port}`).toBe(allowed ? 'dial' : 'deny');
    }
    const socket = lab.guest.udp();
    socket.send('x', '203.0.113.1', 53);
    expect(await codeOf(lab.run(socket.recv({ timeout: 1000 })))).not.toBe('no error');
    socket.send('x', '203.0.113.1', 54);
    expect((await lab.run(socket.recv())).port).toBe(54);
    expect(lab.host.counters.dials).toBe(2);
  });

  it('denies link-local metadata and loopback unless told otherwise', async () => {
    await using lab = await testNetwork();
    lab.host.accept('*', (socket) => socket.end('secret'));
    for (const ip of ['169.254.169.254', '127.0.0.1', '0.0.0.0', '224.0.0.1', '255.255.255.255']) {
      expect(await codeOf(lab.run(lab.guest.connect(ip, 80, { timeout: 3000 }))), ip).not.toBe('no error');
    }
    expect(lab.host.counters.dials).toBe(0);
  });

  it('leads the host alias to loopback, and nowhere when it is off', async () => {
    await using on = await testNetwork();
    on.host.accept('127.0.0.1:8080', (socket) => socket.end('host'));
    const socket = await on.run(on.guest.connect(on.network.addresses.hostAlias!, 8080));
    expect(await on.run(readAll(socket))).toBe('host');
    await using off = await testNetwork({ hostAlias: false });
    off.host.accept('*', (peer) => peer.end('host'));
    expect(await codeOf(off.run(off.guest.connect('192.168.127.254', 8080, { timeout: 5000 })))).not.toBe(
      'no error',
    );
    expect(off.host.counters.dials).toBe(0);
  });

  it('is a guest’s own where it was attached with rules', async () => {
    await using lab = await testNetwork();
    lab.host.accept('*', (socket) => socket.end('ok'));
    const jailed = await lab.attach({ policy: ['deny *'] });
    expect(await codeOf(lab.run(jailed.connect('198.51.100.1', 80, { timeout: 5000 })))).not.toBe('no error');
    expect(await codeOf(lab.run(lab.guest.connect('198.51.100.1', 80)))).toBe('no error');
    expect(await codeOf(lab.run(jailed.resolve('gateway.netproxy.internal')))).toBe('no error');
  });
});
