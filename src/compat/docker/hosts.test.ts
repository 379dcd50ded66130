/** Ports by the control API of a netproxy that may go away, and the ways to an engine. */
import { mkdtempSync, rmSync } from 'node:fs';
import { type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createApi } from '../../api/index.js';
import { apiLab } from '../../api/api.testutil.js';
import { connectApi } from '../../client/index.js';
import { parseEnginePlace } from '../../link/index.js';
import { testNetwork } from '../../testing/index.js';
import { apiHost } from './hosts.js';
import { dialer } from './place.js';

const WEB = { protocol: 'tcp', hostIp: '127.0.0.1', hostPort: 8080, guestPort: 8080 } as const;

describe('a netproxy beside', () => {
  it('publishes, tells what others withdraw, and is told again after it came back', async () => {
    await using api = await apiLab();
    const client = connectApi({ address: api.address });
    const host = await apiHost(client);
    let lost: () => void = () => undefined;
    const back = new Promise<void>((resolve) => (lost = resolve));
    host.onLost(lost);
    expect([host.contains('192.168.127.9'), host.contains('10.0.0.1')]).toEqual([true, false]);
    expect(host.dial('10.0.0.1', 2375)).toBeUndefined();

    let gone: () => void = () => undefined;
    const told = new Promise<void>((resolve) => (gone = resolve));
    await host.publish(WEB, gone);
    const [port] = api.lab.network.ports();
    expect(port?.spec).toBe('127.0.0.1:8080:8080/tcp');
    // The events are heard of once they are there.
    for (let withdrawn = false; !withdrawn;) {
      api.lab.network.unpublish(api.lab.network.ports()[0]?.id ?? 0);
      withdrawn = await Promise.race([
        told.then(() => true),
        new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 50)),
      ]);
      if (!withdrawn) await host.publish(WEB, gone);
    }

    // What another one of this kind left behind is taken over; a port that leads elsewhere is not.
    await api.lab.network.publish('127.0.0.1:8080:8080');
    const again = await host.publish(WEB, () => undefined);
    await expect(host.publish({ ...WEB, guestPort: 81 }, () => undefined)).rejects.toMatchObject({
      errno: 'EADDRINUSE',
    });
    await again.close();
    expect(api.lab.network.ports()).toEqual([]);

    api.api.close();
    const other = await testNetwork();
    const reborn = createApi(other.network);
    await reborn.listen(`unix:${api.socketPath}`);
    await back;
    await host.publish(WEB, () => undefined);
    expect(other.network.ports()).toHaveLength(1);
    await host.close();
    expect(other.network.ports()).toEqual([]);
    client.close();
    reborn.close();
    await other.close();
  });
});

describe('an engine behind the vsock of a VM', () => {
  let folder: string;
  let monitor: Server | undefined;
  beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'np-hybrid-'))));
  afterEach(() => {
    monitor?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function reach(answer: string): Promise<{ asked: string; said: string }> {
    let asked = '';
    const file = path.join(folder, 'vm.sock');
    monitor = createServer((socket) => {
      socket.once('data', (bytes) => {
        asked = String(bytes);
        socket.end(answer);
      });
    });
    await new Promise<void>((resolve) => monitor?.listen(file, resolve));
    const stream = await dialer(parseEnginePlace(`hybrid:${file}:2375`), { dial: () => undefined })();
    let said = '';
    for await (const piece of stream) said += String(piece);
    return { asked, said };
  }

  it('is asked for by its port, and what it says first is not lost', async () => {
    expect(await reach('OK 1073741824\nhello')).toEqual({ asked: 'CONNECT 2375\n', said: 'hello' });
  });

  it.each(['', 'NO\n', 'x'.repeat(100)])('that is not there (%j) is an error', async (answer) => {
    await expect(reach(answer)).rejects.toMatchObject({ code: 'ERR_NETPROXY_DIAL' });
  });
});
