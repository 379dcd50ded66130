/** Where published ports listen: both families, unix sockets. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { NetproxyError } from '../core/index.js';
import { type TestNetwork, realScheduler, testNetwork } from './index.js';
import { codeOf, readAll } from './testing.testutil.js';
import { withUnixListener } from '../network/unix-listener.js';

const hello = (lab: TestNetwork, port: number): void => {
  lab.guest.listen(port, (socket) => socket.end('hello'));
};

describe('localhost and *', () => {
  it.each([
    ['localhost', '127.0.0.1', '::1'],
    ['*', '0.0.0.0', '::'],
  ])('%s is both families, TCP', async (word, first, second) => {
    await using lab = await testNetwork();
    hello(lab, 80);
    const port = await lab.network.publish(`${word}:0:80`);
    expect(port).toMatchObject({ host: word });
    for (const host of [first, second])
      expect(await lab.run(readAll(lab.host.connect(host, port.port)))).toBe('hello');
    expect(lab.network.ports()).toMatchObject([{ host: word, spec: `${word}:${port.port}:80/tcp` }]);
    port.close();
    for (const host of [first, second]) expect(() => lab.host.connect(host, port.port)).toThrow();
  });

  it('answers UDP clients from where they asked', async () => {
    await using lab = await testNetwork();
    const inside = lab.guest.udp(53);
    const port = await lab.network.publish('localhost:0:53/udp');
    for (const host of ['127.0.0.1', '::1']) {
      const client = lab.host.udpClient(host, port.port);
      client.send('question');
      const { ip, port: from } = await lab.run(inside.recv());
      inside.send(`answer for ${host}`, ip, from);
      expect(Buffer.from(await lab.run(client.recv())).toString()).toBe(`answer for ${host}`);
    }
  });

  it('fails whole where one of them is taken', async () => {
    await using lab = await testNetwork({ publish: ['[::1]:8080:80'] });
    await expect(lab.network.publish('localhost:8080:80')).rejects.toMatchObject({ errno: 'EADDRINUSE' });
    (await lab.network.publish('127.0.0.1:8080:80')).close();
  });

  it('is IPv4 alone where the host has no IPv6', async () => {
    const deps = (lab: TestNetwork, errno: string) => ({
      ...lab.host.deps,
      io: {
        ...lab.host.io,
        listen: async (...[host, port, onStream]: Parameters<typeof lab.host.io.listen>) => {
          if (host.includes(':')) throw new NetproxyError('ERR_NETPROXY_PUBLISH', 'no', { errno });
          return lab.host.io.listen(host, port, onStream);
        },
      },
    });
    await using host = await testNetwork({}, { guest: false });
    await using without = await testNetwork({}, { guest: false, deps: deps(host, 'EAFNOSUPPORT') });
    const port = await without.network.publish('localhost:8080:80');
    host.host.connect('127.0.0.1', 8080).destroy();
    port.close();
    await using refused = await testNetwork({}, { guest: false, deps: deps(host, 'EACCES') });
    await expect(refused.network.publish('localhost:8080:80')).rejects.toMatchObject({ errno: 'EACCES' });
    // Nothing was left behind.
    expect(() => host.host.connect('127.0.0.1', 8080)).toThrow('ECONNREFUSED');
  });
});

describe('a unix socket of the host', () => {
  it('leads into the guest', async () => {
    await using lab = await testNetwork({ publish: ['unix:/run/web.sock:80'] });
    hello(lab, 80);
    expect(lab.network.ports()).toMatchObject([
      { protocol: 'tcp', host: 'unix:/run/web.sock', port: 0, spec: 'unix:/run/web.sock:80' },
    ]);
    expect(await lab.run(readAll(lab.host.connect('/run/web.sock', 0)))).toBe('hello');
    expect(await codeOf(lab.network.publish('unix:/run/web.sock:81'))).toBe('ERR_NETPROXY_LISTEN');
    for (const { id } of lab.network.ports()) lab.network.unpublish(id);
    expect(() => lab.host.connect('/run/web.sock', 0)).toThrow('ECONNREFUSED');
  });

  it('is a file of mode 0600, gone afterwards; what is no socket stays', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'np-publish-'));
    try {
      const at = path.join(folder, 'web');
      const other = path.join(folder, 'file');
      writeFileSync(other, 'mine');
      await using scripted = await testNetwork({}, { guest: false });
      const io = withUnixListener(scripted.host.io);
      await using lab = await testNetwork(
        {},
        { scheduler: realScheduler, deps: { ...scripted.host.deps, io } },
      );
      hello(lab, 80);
      const port = await lab.network.publish(`unix:${at}:80`);
      expect(statSync(at).mode & 0o777).toBe(0o600);
      expect(await readAll(connect(at))).toBe('hello');
      expect(await codeOf(lab.network.publish(`unix:${other}:80`))).toBe('ERR_NETPROXY_LISTEN');
      port.close();
      expect(() => statSync(at)).toThrow('ENOENT');
      expect(statSync(other).size).toBe(4);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
