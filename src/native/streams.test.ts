/** Flow sockets over loopback and unix sockets. */
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Rig, missingAddon } from './addon.testutil.js';
import { EAGAIN, EBADF, EPIPE, ERR, HUP, OPTION, RDHUP, READ, WRITE, errnoName } from './constants.js';

const LOOPBACK = 0x7f000001;

describe.skipIf(missingAddon())('native streams', () => {
  let rig: Rig;
  beforeEach(() => {
    rig = new Rig();
  });
  afterEach(() => rig.poller.close());

  /** Writes bytes of a text, from a buffer made for it. */
  function write(handle: number, text: string): number {
    const data = new TextEncoder().encode(text);
    const bytes = rig.poller.register(data);
    const slices = rig.ints(3);
    slices.data.set([bytes, 0, data.length]);
    const result = rig.poller.writev(handle, slices.id, 0, 1);
    rig.poller.unregister(bytes);
    rig.poller.unregister(slices.id);
    return result;
  }

  function read(handle: number, size = 64): string | number {
    const { id, data } = rig.bytes(size);
    const count = rig.poller.readv(handle, id, 0, size, 0, 0);
    rig.poller.unregister(id);
    return count > 0 ? new TextDecoder().decode(data.subarray(0, count)) : count;
  }

  it('connects with a receive buffer: what is not read waits at the sender', async () => {
    const { poller } = rig;
    const listener = poller.tcpListen('127.0.0.1', 0, 16, false);
    const client = poller.tcpConnect4(LOOPBACK, poller.address(listener, false)!.port, 16_384);
    expect(await rig.wait(client, WRITE)).toBe(WRITE);
    await rig.wait(listener, READ);
    const server = poller.accept(listener, 0);
    for (let i = 0; i < 64; i++) if (write(server, 'x'.repeat(4096)) < 0) break;
    poller.interest(client, READ);
    await rig.wait(client, READ);
    const peeked = rig.bytes(262_144);
    expect(poller.peek(client, peeked.id, 0, 262_144)).toBeLessThanOrEqual(32_768);
  });

  it('connects, tells addresses, moves bytes, ends by FIN', async () => {
    const { poller } = rig;
    const listener = poller.tcpListen('127.0.0.1', 0, 16, false);
    const here = poller.address(listener, false)!;
    expect(here).toMatchObject({ family: 'ipv4', address: '127.0.0.1' });
    expect(poller.accept(listener, 0)).toBe(EAGAIN);
    const client = poller.tcpConnect4(LOOPBACK, here.port);
    expect(await rig.wait(client, WRITE)).toBe(WRITE);
    expect(poller.soError(client)).toBe(0);
    expect(poller.isSelfConnected(client, here.port)).toBe(0);
    await rig.wait(listener, READ);
    const out = rig.ints(6);
    const server = poller.accept(listener, out.id);
    expect([...out.data]).toEqual([4, poller.address(client, false)!.port, LOOPBACK, 0, 0, 0]);
    expect(poller.address(server, true)).toEqual(poller.address(client, false));

    expect(read(server)).toBe(EAGAIN);
    expect(write(client, 'hello')).toBe(5);
    poller.interest(server, READ);
    await rig.wait(server, READ);
    const peeked = rig.bytes(3);
    expect(poller.peek(server, peeked.id, 0, 3)).toBe(3);
    expect(read(server)).toBe('hello');
    expect(poller.shutdownWrite(client)).toBe(0);
    await rig.wait(server, READ);
    expect(read(server)).toBe(0);
    // The other direction is open still.
    expect(write(server, 'late')).toBe(4);
    poller.interest(client, READ);
    await rig.wait(client, READ);
    expect(read(client)).toBe('late');
    expect(poller.unacknowledged(client)).toBe(0);
    expect(poller.peerCredentials(client)).toBeNull();
    expect(errnoName(poller.shutdownWrite(listener))).toBe('EINVAL');
  });

  it('gathers slices and scatters into a ring', async () => {
    const { poller } = rig;
    const [client, server] = await rig.tcpPair();
    const source = rig.bytes(20);
    source.data.set(Array.from({ length: 20 }, (_, i) => i));
    const slices = rig.ints(12);
    slices.data.set([source.id, 0, 3, source.id, 10, 0, source.id, 15, 5, source.id, 7, 2]);
    expect(poller.writev(client, slices.id, 0, 4)).toBe(10);
    expect(poller.writev(client, slices.id, 1, 1)).toBe(0);
    expect(poller.writev(client, slices.id, 3, 1)).toBe(2);
    poller.interest(server, READ);
    await rig.wait(server, READ);
    const ring = rig.bytes(16, 0xa5);
    expect(poller.readv(server, ring.id, 10, 6, 0, 8)).toBe(12);
    expect([...ring.data]).toEqual([18, 19, 7, 8, 7, 8, 0xa5, 0xa5, 0xa5, 0xa5, 0, 1, 2, 15, 16, 17]);
  });

  it('says why a connection failed', async () => {
    const { poller } = rig;
    const listener = poller.tcpListen('127.0.0.1', 0, 1, false);
    const { port } = poller.address(listener, false)!;
    poller.closeHandle(listener);
    for (const handle of [poller.tcpConnect4(LOOPBACK, port), poller.tcpConnect('127.0.0.1', port, null)]) {
      expect((await rig.wait(handle, WRITE)) & ERR).toBe(ERR);
      expect(errnoName(poller.soError(handle))).toBe('ECONNREFUSED');
      poller.closeHandle(handle);
    }
    expect(errnoName(poller.tcpConnect('not an address', 1, null))).toBe('EINVAL');
    expect(errnoName(poller.tcpConnect('127.0.0.1', 65536, null))).toBe('EINVAL');
    expect(errnoName(poller.tcpConnect('127.0.0.1', 1, '192.0.2.1'))).toBe('EADDRNOTAVAIL');
    expect(errnoName(poller.tcpConnect('127.0.0.1', 1, '::1'))).not.toBe('E0');
    expect(poller.handleCount()).toBe(0);
  });

  it('connects from a chosen address, and over IPv6', async () => {
    const { poller } = rig;
    for (const [ip, from] of [
      ['127.0.0.1', '127.0.0.9'],
      ['::1', null],
    ] as const) {
      const listener = poller.tcpListen(ip, 0, 4, true);
      const client = poller.tcpConnect(ip, poller.address(listener, false)!.port, from);
      await rig.wait(client, WRITE);
      expect(poller.soError(client)).toBe(0);
      const out = rig.ints(6);
      await rig.wait(listener, READ);
      poller.accept(listener, out.id);
      expect(out.data[0]).toBe(ip === '::1' ? 6 : 4);
      expect([...out.data.subarray(2)]).toEqual(ip === '::1' ? [0, 0, 0, 1] : [0x7f000009, 0, 0, 0]);
      expect(poller.address(client, false)!.address).toBe(from ?? '::1');
    }
  });

  it('shows a reset while reading is paused, once, without spinning', async () => {
    const { poller } = rig;
    const [client, server] = await rig.tcpPair();
    poller.interest(client, 0);
    rig.seen.clear();
    expect(poller.reset(server)).toBe(0);
    expect(poller.closeHandle(server)).toBe(EBADF);
    expect((await rig.wait(client, ERR)) & (ERR | HUP)).toBe(ERR | HUP);
    const before = rig.wakeups;
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(rig.wakeups).toBe(before);
    // Asked again, it tells again.
    poller.interest(client, READ);
    await rig.wait(client, READ);
    expect(errnoName(poller.soError(client))).toBe('ECONNRESET');
  });

  it('shows a FIN to those who ask, once per question', async () => {
    const { poller } = rig;
    const [client, server] = await rig.tcpPair();
    poller.interest(client, RDHUP);
    poller.shutdownWrite(server);
    expect(await rig.wait(client, RDHUP)).toBe(RDHUP);
    const before = rig.wakeups;
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(rig.wakeups).toBe(before);
    poller.interest(client, RDHUP);
    await rig.wait(client, RDHUP);
  });

  it('pushes back when the peer does not read', async () => {
    const { poller } = rig;
    const [client, server] = await rig.tcpPair();
    const source = rig.bytes(1 << 20, 7);
    const slices = rig.ints(3);
    slices.data.set([source.id, 0, source.data.length]);
    let sent = 0;
    for (;;) {
      const result = poller.writev(client, slices.id, 0, 1);
      if (result < 0) {
        expect(result).toBe(EAGAIN);
        break;
      }
      sent += result;
    }
    expect(poller.unacknowledged(client)).toBeGreaterThan(0);
    poller.interest(client, WRITE);
    poller.interest(server, READ);
    const sink = rig.bytes(1 << 20);
    let received = 0;
    while (received < sent) {
      const count = poller.readv(server, sink.id, 0, 500_000, 600_000, 400_000);
      if (count === EAGAIN) await rig.wait(server, READ);
      else received += count;
    }
    await rig.wait(client, WRITE);
    expect(received).toBe(sent);
    poller.closeHandle(server);
    poller.interest(client, READ);
    await rig.wait(client, READ);
    expect(write(client, 'x')).toBe(1);
    await rig.wait(client, ERR);
    expect([EPIPE, -104]).toContain(write(client, 'x'));
  });

  it('serves unix sockets, by path and abstract', async () => {
    const { poller } = rig;
    const folder = mkdtempSync(join(tmpdir(), 'native-'));
    try {
      for (const path of [join(folder, 's'), `\0native-${process.pid}`]) {
        expect(['ENOENT', 'ECONNREFUSED']).toContain(errnoName(poller.unixConnect(path)));
        const listener = poller.unixListen(path, 4);
        expect(listener).toBeGreaterThan(0);
        expect(errnoName(poller.unixListen(path, 4))).toBe('EADDRINUSE');
        const client = poller.unixConnect(path);
        await rig.wait(client, WRITE);
        const out = rig.ints(6);
        const server = poller.accept(listener, out.id);
        expect(out.data[0]).toBe(1);
        expect(poller.address(client, true)).toEqual({ family: 'unix', address: path, port: 0 });
        expect(poller.peerCredentials(server)).toMatchObject({ pid: process.pid });
        expect(write(client, 'x')).toBe(1);
        expect(read(server)).toBe('x');
      }
      expect(errnoName(poller.unixConnect('p'.repeat(108)))).toBe('EINVAL');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("takes over a descriptor of Node's, and gives one back", async () => {
    const { poller } = rig;
    const server = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as net.AddressInfo;
    const client = poller.tcpConnect4(LOOPBACK, port);
    const accepted = await new Promise<net.Socket>((resolve) => server.once('connection', resolve));
    server.close();
    const { fd } = (accepted as unknown as { _handle: { fd: number } })._handle;
    const adopted = poller.adoptStream(fd, true);
    // The descriptor lives on in its duplicate: Node's end goes without a FIN.
    accepted.destroy();
    await new Promise((resolve) => accepted.once('close', resolve));
    await rig.wait(client, WRITE);
    write(client, 'ours');
    poller.interest(adopted, READ);
    await rig.wait(adopted, READ);
    expect(read(adopted)).toBe('ours');

    const released = poller.release(client);
    expect(poller.closeHandle(client)).toBe(EBADF);
    const socket = new net.Socket({ fd: released });
    write(adopted, "Node's");
    const data = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
    expect(data.toString()).toBe("Node's");
    socket.destroy();
    expect(errnoName(poller.adoptStream(-1, true))).toBe('EBADF');
    expect(errnoName(poller.adoptListener(released + 1000, false))).toBe('EBADF');
  });

  it('sets options that fit', async () => {
    const { poller } = rig;
    const [client] = await rig.tcpPair();
    const { pendingLimit, ...options } = OPTION;
    for (const [name, number] of Object.entries(options)) {
      expect([name, poller.setOption(client, number, 1)]).toEqual([name, 0]);
    }
    expect(errnoName(poller.setOption(client, pendingLimit, 1))).toBe('EINVAL');
    expect(errnoName(poller.setOption(client, OPTION.ttl, 256))).toBe('EINVAL');
  });
});
