/**
 * vsock listeners and dials over the real native layer, with unix sockets in the place of AF_VSOCK (which is real only inside
 * a QEMU guest: test/vm). Everything but the address family is what a vsock guest goes through.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BlockPool, ipv4, parseMac, silentLogger } from '../core/index.js';
import type { Link } from '../core/index.js';
import * as native from '../native/index.js';
import { Collector, complianceSuite, pause, testFrame } from './compliance.testutil.js';
import { listenLinks } from './listener.js';
import type { LinkListener, ListenDeps } from './listener.js';
import type { NativeHub } from './native-hub.js';
import {
  CONNECT_REQUEST,
  dial,
  readExactly,
  StreamPeer,
  vmn3t,
  vpnkitClient,
  vpnkitCommand,
} from './peers.testutil.js';

const { addon, reason } = native.loadNative();
const UUID = '9a1c3d5e-0000-4000-8000-00000000000a';

/** The hub with vsock calls turned into those of unix sockets: port N is the path `base`N. */
function disguised(hub: native.Hub, base: string): NativeHub {
  const poller = new Proxy(hub.poller, {
    get: (target, name) => {
      if (name === 'vsockListen') return (port: number) => hub.poller.unixListen(`${base}${port}`, 16);
      if (name === 'vsockConnect')
        return (_: number, port: number) => hub.poller.unixConnect(`${base}${port}`);
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return {
    poller,
    memory: hub.memory,
    watch: (handle, ready) => hub.watch(handle, ready),
    unwatch: (handle) => hub.unwatch(handle),
  };
}

if (addon === undefined) {
  describe('vsock links', () => {
    it.skip(`not tested: no addon, ${reason ?? ''}`, () => undefined);
  });
} else {
  const real = new native.Hub(addon);
  const directory = mkdtempSync(path.join(tmpdir(), 'vsock-'));
  const base = `${directory}/p`;
  const hub = disguised(real, base);
  const links: Link[] = [];
  let port = 1000;

  afterAll(() => {
    real.close();
    rmSync(directory, { recursive: true });
  });

  const deps = (pool: BlockPool, more: Partial<ListenDeps> = {}): ListenDeps => ({
    pool,
    native: hub,
    logger: silentLogger,
    assign: () => ({ ok: true, mac: parseMac('5a:94:ef:e4:0c:ee')!, ip: ipv4(0xc0a87f02) }),
    onLink: (link) => void links.push(link),
    ...more,
  });
  const next = async (): Promise<Link> => {
    while (links.length === 0) await pause(1);
    return links.shift()!;
  };
  const makePool = (): BlockPool => new BlockPool(real.memory);
  const greetings: [string, (socket: Socket) => unknown][] = [
    ['vpnkit', (socket) => vpnkitClient(socket, UUID)],
    ['connect', (socket) => socket.write(CONNECT_REQUEST)],
  ];

  for (const [name, greet] of greetings) {
    const open = async (pool: BlockPool) => {
      const number = port++;
      const listener = await listenLinks('vsock', String(number), deps(pool));
      return {
        connect: async () => {
          const socket = await dial({ path: `${base}${number}` });
          await greet(socket);
          return { link: await next(), peer: new StreamPeer(socket, 'le16') };
        },
        dispose: () => listener.close(),
      };
    };
    const shape = { maxFrame: 65_535, stream: true, backpressure: true };
    complianceSuite({ name: `vsock carrying ${name}`, ...shape, open }, makePool);
  }

  describe('a vsock listener', () => {
    let listener: LinkListener;
    const number = 900;
    const client = (): Promise<Socket> => dial({ path: `${base}${number}` });
    beforeAll(async () => {
      listener = await listenLinks(
        'vsock',
        `vsock://:${number}`,
        deps(makePool(), { handshakeTimeout: 100 }),
      );
      return () => listener.close();
    });

    it('keeps frames that come with the request, whatever the cuts', async () => {
      const bytes = Buffer.concat([CONNECT_REQUEST, Buffer.from([14, 0]), testFrame(14), Buffer.from([15])]);
      for (const cut of [1, 5, 13, 40, CONNECT_REQUEST.length, bytes.length - 1]) {
        const socket = await client();
        socket.write(bytes.subarray(0, cut));
        await pause(2);
        socket.write(bytes.subarray(cut));
        const link = await next();
        const handler = new Collector();
        link.start(handler);
        expect(await handler.take(1)).toEqual([testFrame(14)]);
        socket.write(Buffer.concat([Buffer.from([0]), testFrame(15)]));
        expect(await handler.take(1)).toEqual([testFrame(15)]);
        link.close();
        await handler.ended;
        socket.destroy();
      }
    });

    it('answers other requests with 404, a Bind_ipv4 with Disconnect, silence with the end', async () => {
      const answer = async (bytes: Uint8Array): Promise<Buffer> => {
        const socket = await client();
        socket.write(bytes);
        const parts: Buffer[] = [];
        for await (const chunk of socket) parts.push(chunk as Buffer);
        return Buffer.concat(parts);
      };
      const { refused } = listener.stats;
      expect((await answer(Buffer.from('GET /stats HTTP/1.1\r\n\r\n'))).toString()).toMatch(
        /^HTTP\/1.1 404 /,
      );
      const disconnect = await answer(Buffer.concat([vmn3t(), vpnkitCommand(6, UUID)]));
      expect(disconnect.subarray(49, 50)).toEqual(Buffer.from([2]));
      expect(await answer(Buffer.from('VMN'))).toHaveLength(0);
      expect(listener.stats.refused - refused).toBe(2);
    });

    it('leaves no handle and no buffer behind', async () => {
      await pause(20);
      const before = real.poller.handleCount();
      for (let i = 0; i < 20; i++) {
        const socket = await client();
        if (i % 2 === 0) socket.write(CONNECT_REQUEST);
        else socket.destroy();
        if (i % 2 === 0) {
          (await next()).close();
          socket.destroy();
        }
      }
      for (let i = 0; i < 100 && real.poller.handleCount() > before; i++) await pause(5);
      expect(real.poller.handleCount()).toBe(before);
    });
  });

  describe('a vsock dial', () => {
    it('runs the handshake of the peer that it reached, and dials again', async () => {
      const number = 901;
      const sockets: Socket[] = [];
      const server = createServer((socket) => {
        sockets.push(socket.on('error', () => undefined));
        socket.write(Buffer.concat([vmn3t(), vpnkitCommand(1, UUID)]));
      }).listen({ path: `${base}${number}` });
      const listener = await listenLinks('vsock', `3:${number}`, deps(makePool()));
      expect(listener.address).toBe(`connect:vsock://3:${number}`);
      for (let round = 0; round < 2; round++) {
        const link = await next();
        expect(link.kind).toBe('vpnkit');
        expect(await readExactly(sockets[round]!, 49 + 258)).toHaveLength(307);
        const handler = new Collector();
        link.start(handler);
        const peer = new StreamPeer(sockets[round]!, 'le16');
        peer.send(testFrame(60, round));
        expect(await handler.take(1)).toEqual([testFrame(60, round)]);
        peer.close();
        await handler.ended;
      }
      await listener.close();
      server.close();
    });

    it('says when nobody is there', async () => {
      await expect(listenLinks('vsock', '3:902', deps(makePool()))).rejects.toMatchObject({
        code: 'ERR_NETPROXY_DIAL',
        errno: 'ENOENT',
        message: expect.stringContaining('vsock://3:902'),
      });
      await expect(
        listenLinks('vsock', '3:902', { ...deps(makePool()), native: undefined }),
      ).rejects.toMatchObject({ code: 'ERR_NETPROXY_NATIVE' });
    });
  });
}
