/** The packet transports, vfkit (datagrams) and bess (seqpacket): the compliance suite, and what only they do. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BlockPool, plainMemory, silentLogger } from '../core/index.js';
import type { Link } from '../core/index.js';
import * as native from '../native/index.js';
import { Collector, complianceSuite, pause, testFrame, transmit } from './compliance.testutil.js';
import type { Rig } from './compliance.testutil.js';
import { MAX_PEERS } from './datagram-port.js';
import { listenLinks } from './listener.js';
import type { LinkListener, ListenDeps } from './listener.js';
import type { NativeHub } from './native-hub.js';
import { hasPython, packetPeer } from './packet-peers.testutil.js';
import type { PacketClient } from './packet-peers.testutil.js';
import type { PacketKind } from './spec.js';

const { addon, reason } = native.loadNative();
const missing = addon === undefined ? `no addon, ${reason ?? ''}` : hasPython() ? undefined : 'no python3';

describe('packet links without the addon', () => {
  it.each(['vfkit', 'bess'] as const)('%s says what it needs', async (kind) => {
    const deps = { pool: new BlockPool(plainMemory), logger: silentLogger, onLink: () => undefined };
    await expect(listenLinks(kind, 'unix:/tmp/x', deps)).rejects.toMatchObject({
      code: 'ERR_NETPROXY_NATIVE',
      message: `${kind} needs the native addon, which is not loaded`,
    });
  });
});

if (missing !== undefined) {
  it.skip(`packet links: not tested, ${missing}`, () => undefined);
} else {
  const hub = new native.Hub(addon!);
  afterAll(() => hub.close());
  const makePool = () => new BlockPool(hub.memory);
  const shape = { maxFrame: 65_549, stream: false, backpressure: true };
  const vfkit = (name: string, client: Partial<PacketClient>): void => {
    const open = (pool: BlockPool) => rig('vfkit', hub, pool, { hello: 'VFKT', ...client });
    complianceSuite({ name, ...shape, open }, makePool);
  };
  vfkit('vfkit', { connect: true });
  vfkit('vfkit to a peer that is not connected (QEMU)', {});
  complianceSuite({ name: 'bess', ...shape, open: (pool) => rig('bess', hub, pool, {}) }, makePool);
  portTests(hub, makePool);
}

/** Hands links over, in the order in which they came. */
class Links {
  readonly all: Link[] = [];
  private taken = 0;

  readonly put = (link: Link): void => void this.all.push(link);

  async take(): Promise<Link> {
    while (this.all.length <= this.taken) await pause(2);
    return this.all[this.taken++]!;
  }
}

async function rig(
  kind: PacketKind,
  hub: NativeHub,
  pool: BlockPool,
  client: Partial<PacketClient>,
): Promise<Rig> {
  const directory = mkdtempSync(path.join(tmpdir(), 'packet-'));
  const links = new Links();
  const where = `${directory}/s`;
  const deps = { pool, logger: silentLogger, native: hub, onLink: links.put, probeInterval: 20 };
  const listener = await listenLinks(kind, `unix:${where}`, deps);
  let serial = 0;
  const all: Promise<void>[] = [];
  return {
    connect: async () => {
      const own = kind === 'vfkit' ? { own: `${directory}/p${serial++}` } : {};
      const {
        peer,
        exited,
        process: child,
      } = packetPeer(kind === 'vfkit' ? 'dgram' : 'seqpacket', {
        path: where,
        ...own,
        ...client,
      });
      all.push(exited);
      const end = peer.close.bind(peer);
      const close = (): void => {
        end();
        child.kill('SIGKILL');
      };
      // Datagrams have no end that the peer could see.
      const closed = kind === 'vfkit' ? Promise.resolve() : peer.closed;
      return { link: await links.take(), peer: Object.assign(peer, { close, closed }) };
    },
    dispose: async () => {
      await listener.close();
      await Promise.all(all);
      rmSync(directory, { recursive: true });
    },
  };
}

function portTests(hub: native.Hub, makePool: () => BlockPool): void {
  describe('a vfkit listener', () => {
    let directory: string;
    let where: string;
    let links: Links;
    let listener: LinkListener | undefined;
    const children: ReturnType<typeof packetPeer>[] = [];

    beforeEach(() => {
      directory = mkdtempSync(path.join(tmpdir(), 'packet-'));
      where = path.join(directory, 's');
      links = new Links();
    });
    afterEach(async () => {
      for (const link of links.all) link.close();
      await listener?.close();
      listener = undefined;
      for (const { process: child, exited } of children.splice(0)) {
        child.kill('SIGKILL');
        await exited;
      }
      rmSync(directory, { recursive: true });
    });

    const listen = async (
      kind: PacketKind = 'vfkit',
      more: Partial<ListenDeps> = {},
    ): Promise<LinkListener> => {
      const deps = {
        pool: makePool(),
        logger: silentLogger,
        native: hub,
        onLink: links.put,
        probeInterval: 20,
      };
      listener = await listenLinks(kind, where, { ...deps, ...more });
      return listener;
    };
    const client = (options: Partial<PacketClient>): ReturnType<typeof packetPeer> => {
      const child = packetPeer('dgram', { path: where, ...options });
      children.push(child);
      return child;
    };
    const started = async (): Promise<{ link: Link; handler: Collector }> => {
      const link = await links.take();
      const handler = new Collector();
      link.start(handler);
      return { link, handler };
    };
    const gone = async (child: ReturnType<typeof packetPeer>): Promise<void> => {
      child.process.kill('SIGKILL');
      await child.exited;
    };

    it.each(['vfkit', 'bess'] as const)('%s: mode 0600, taken paths, a dead one, the end', async (kind) => {
      const first = await listen(kind);
      expect(statSync(where).mode & 0o777).toBe(0o600);
      await expect(listen(kind)).rejects.toMatchObject({
        code: 'ERR_NETPROXY_LISTEN',
        message: expect.stringMatching(
          new RegExp(`a live process listens there \\(.+, pid ${process.pid}\\)`),
        ),
      });
      await first.close();
      expect(existsSync(where)).toBe(false);
      const type = kind === 'vfkit' ? 'DGRAM' : 'SEQPACKET';
      execFileSync('python3', [
        '-c',
        `import socket as s; s.socket(s.AF_UNIX, s.SOCK_${type}).bind('${where}')`,
      ]);
      await (await listen(kind)).close();
      writeFileSync(where, '');
      await expect(listen(kind)).rejects.toThrow('it exists and is not a socket');
      chmodSync(where, 0o600);
      where = path.join(directory, 'none', 's');
      await expect(listen(kind)).rejects.toThrow('it does not exist (ENOENT)');
      where = path.join(directory, 's');
    });

    it('tells peers apart by their address, with and without the handshake', async () => {
      const { stats } = await listen();
      const one = client({ own: `${directory}/1`, hello: 'VFKT' });
      const first = await started();
      const two = client({ own: `@np-${path.basename(directory)}`, hello: 'the first frame' });
      const second = await started();
      expect(first.link.name).toBe(`unix:${where}#${directory}/1`);
      expect(second.link.name).toBe(`unix:${where}#@np-${path.basename(directory)}`);
      expect(await second.handler.take(1)).toEqual([Buffer.from('the first frame')]);
      for (let i = 0; i < 20; i++) {
        one.peer.send(testFrame(100, 1000 + i));
        two.peer.send(testFrame(100, 2000 + i));
      }
      const numbers = async (handler: Collector) =>
        (await handler.take(20)).map((frame) => frame.readUInt32BE(14));
      expect(await numbers(first.handler)).toEqual(Array.from({ length: 20 }, (_, i) => 1000 + i));
      expect(await numbers(second.handler)).toEqual(Array.from({ length: 20 }, (_, i) => 2000 + i));
      transmit(first.link, testFrame(70, 1));
      transmit(second.link, testFrame(70, 2));
      first.link.output.flush();
      second.link.output.flush();
      expect(await one.peer.take(1)).toEqual([testFrame(70, 1)]);
      expect(await two.peer.take(1)).toEqual([testFrame(70, 2)]);
      expect(stats).toMatchObject({ links: 2, accepted: 2 });
    });

    it('meets a peer again that restarted, at the same path or another one', async () => {
      const { stats } = await listen('vfkit', { probeInterval: 60_000 });
      const own = `${directory}/p`;
      await (async () => {
        const before = client({ own, hello: 'VFKT' });
        const { link, handler } = await started();
        await gone(before);
        rmSync(own);
        // Restarted before anybody noticed: the same guest at the same address.
        const after = client({ own, hello: 'VFKT' });
        after.peer.send(testFrame(60, 1));
        expect(await handler.take(1)).toEqual([testFrame(60, 1)]);
        transmit(link, testFrame(60, 2));
        link.output.flush();
        expect(await after.peer.take(1)).toEqual([testFrame(60, 2)]);
        await gone(after);
        // A frame to nobody tells that it is gone.
        transmit(link, testFrame(60, 3));
        link.output.flush();
        expect(await handler.ended).toMatchObject({ code: 'ERR_NETPROXY_LINK', errno: 'ECONNREFUSED' });
      })();
      rmSync(own);
      client({ own, hello: 'VFKT' });
      const again = await started();
      // Somebody new under another path: whoever is not there any more makes place first.
      await gone(children.at(-1)!);
      client({ own: `${own}2`, hello: 'VFKT' });
      expect(await again.handler.ended).toMatchObject({ errno: 'ECONNREFUSED' });
      await started();
      expect(stats).toMatchObject({ links: 1, accepted: 3, evicted: 0 });
    });

    it('notices that a peer and its path are gone', async () => {
      await listen();
      const child = client({ own: `${directory}/p`, hello: 'VFKT', connect: true });
      const { handler } = await started();
      rmSync(`${directory}/p`);
      expect(await handler.ended).toMatchObject({ errno: 'ENOENT' });
      await gone(child);
    });

    it('passes over datagrams of nobody and of wrong lengths', async () => {
      await listen();
      const nobody = client({ connect: true });
      nobody.peer.send(testFrame(60, 1));
      const child = client({ own: `${directory}/p` });
      child.peer.send(Buffer.alloc(13));
      child.peer.send(Buffer.alloc(1));
      await pause(150);
      expect(links.all).toEqual([]);
      child.peer.send(testFrame(14));
      const { link, handler } = await started();
      expect(await handler.take(1)).toEqual([testFrame(14)]);
      child.peer.send(Buffer.alloc(13));
      child.peer.send(Buffer.alloc(70_000));
      child.peer.send(Buffer.from('VFKT'));
      child.peer.send(testFrame(15));
      expect(await handler.take(1)).toEqual([testFrame(15)]);
      expect(link.stats).toMatchObject({ rxFrames: 2, rxBad: 1 });
    });

    it('lets the peer go that was silent the longest', async () => {
      const { stats } = await listen();
      const flood = `
import socket, sys, os
keep = []
for i in range(${MAX_PEERS + 1}):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind('%s/f%d' % (sys.argv[1], i))
    s.sendto(b'VFKT', sys.argv[2])
    keep.append(s)
    if i == ${MAX_PEERS - 1}:
        keep[0].sendto(b'x' * 60, sys.argv[2])
sys.stdin.read()
`;
      const { spawn } = await import('node:child_process');
      const child = spawn('python3', ['-c', flood, directory, where], {
        stdio: ['pipe', 'ignore', 'inherit'],
      });
      const handlers: Collector[] = [];
      while (handlers.length < MAX_PEERS + 1) handlers.push((await started()).handler);
      expect(await handlers[1]!.ended).toMatchObject({ code: 'ERR_NETPROXY_LINK' });
      expect(handlers.filter(({ closes }) => closes > 0)).toHaveLength(1);
      expect(stats).toMatchObject({ links: MAX_PEERS, evicted: 1 });
      child.kill('SIGKILL');
      await Promise.all(handlers.map(({ ended }) => ended));
      expect(stats.links).toBe(0);
    });

    it('does not hear a peer that nobody wants, and lets it try again', async () => {
      let met = 0;
      const refuse = (link: Link): void => {
        met++;
        link.close();
      };
      const { stats } = await listen('vfkit', { onLink: refuse, probeInterval: 300 });
      const child = client({ own: `${directory}/p` });
      for (let i = 0; i < 50; i++) child.peer.send(testFrame(60, i));
      while (met === 0) await pause(2);
      await pause(50);
      expect([met, stats.links]).toEqual([1, 0]);
      await pause(350);
      child.peer.send(testFrame(60));
      while (met === 1) await pause(2);
      expect(met).toBe(2);
    });

    it('leaves links alone when it closes, and lets go of everything with the last', async () => {
      const handles = hub.poller.handleCount();
      await listen();
      const child = client({ own: `${directory}/p`, hello: 'VFKT', connect: true });
      const { link, handler } = await started();
      await listener!.close();
      child.peer.send(testFrame(60, 1));
      expect(await handler.take(1)).toEqual([testFrame(60, 1)]);
      link.close();
      await handler.ended;
      expect(hub.poller.handleCount()).toBe(handles);
    });

    it('keeps frames for a link that is started late, up to a limit', async () => {
      await listen();
      const child = client({ own: `${directory}/p`, hello: 'VFKT' });
      const link = await links.take();
      child.peer.send(testFrame(60, 1));
      await pause(100);
      for (let i = 2; i < 60; i++) {
        child.peer.send(testFrame(60, i));
        await pause(3);
      }
      const handler = new Collector();
      link.start(handler);
      child.peer.send(testFrame(60, 99));
      await handler.until(() => handler.frames_.some((frame) => frame.readUInt32BE(14) === 99));
      const numbers = handler.frames_.map((frame) => frame.readUInt32BE(14));
      expect(numbers[0]).toBe(1);
      expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
      expect(numbers.length + link.stats!['rxDropped']!).toBe(60);
    });
  });
}
