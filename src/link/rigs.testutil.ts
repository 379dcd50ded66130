/** The other sides of the stream transports, for the compliance suite with and without the native layer. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ipv4, parseMac, silentLogger } from '../core/index.js';
import type { BlockPool, Link } from '../core/index.js';
import type { Rig, Transport } from './compliance.testutil.js';
import { listenLinks } from './listener.js';
import type { LinkListener, ListenDeps } from './listener.js';
import { CONNECT_REQUEST, dial, StreamPeer, vpnkitClient } from './peers.testutil.js';
import type { PeerFraming } from './peers.testutil.js';
import type { StreamKind } from './accept.js';
import type { NativeHub } from './native-hub.js';

const UUID = '9a1c3d5e-0000-4000-8000-00000000000a';

/** A rig around a listener: `greet` runs the client's handshake. */
async function listening(
  kind: StreamKind,
  where: (directory: string) => string,
  framing: PeerFraming,
  greet: (socket: Socket) => Promise<unknown>,
  pool: BlockPool,
  native: NativeHub | undefined,
): Promise<Rig> {
  const directory = mkdtempSync(path.join(tmpdir(), 'link-'));
  const links = new Inbox<Link>();
  const listener = await listenLinks(
    kind,
    where(directory),
    deps(pool, native, (link) => links.put(link)),
  );
  return {
    connect: async () => {
      const socket = await dial(target(listener));
      await greet(socket);
      return { link: await links.take(), peer: new StreamPeer(socket, framing) };
    },
    dispose: async () => {
      await listener.close();
      rmSync(directory, { recursive: true });
    },
  };
}

function deps(pool: BlockPool, native: NativeHub | undefined, onLink: ListenDeps['onLink']): ListenDeps {
  const mac = parseMac('5a:94:ef:e4:0c:ee')!;
  return {
    pool,
    logger: silentLogger,
    native,
    onLink,
    assign: () => ({ ok: true, mac, ip: ipv4(0xc0a87f02) }),
  };
}

function target(listener: LinkListener): { path: string } | { host: string; port: number } {
  const [, transport, rest = ''] = /^(unix|tcp):(.*)$/.exec(listener.address)!;
  if (transport === 'unix') return { path: rest };
  return { host: '127.0.0.1', port: Number(rest.split(':').at(-1)) };
}

/** Hands things over from a callback. */
class Inbox<T> {
  private readonly items: T[] = [];
  private wake: (() => void) | undefined;

  put(item: T): void {
    this.items.push(item);
    this.wake?.();
  }

  async take(): Promise<T> {
    while (this.items.length === 0) await new Promise<void>((resolve) => (this.wake = resolve));
    return this.items.shift()!;
  }
}

const nothing = async (): Promise<void> => undefined;
const stream = { stream: true, backpressure: true };

/** Every stream transport of a listener or dialler. */
export function streamTransports(native?: NativeHub): Transport[] {
  const suffix = native === undefined ? '' : ', native';
  return [
    {
      name: `qemu over unix${suffix}`,
      maxFrame: 131_072,
      ...stream,
      open: (pool) => listening('qemu', (directory) => `unix:${directory}/q`, 'be32', nothing, pool, native),
    },
    {
      name: `qemu over TCP${suffix}`,
      maxFrame: 131_072,
      ...stream,
      open: (pool) => listening('qemu', () => 'tcp:127.0.0.1:0', 'be32', nothing, pool, native),
    },
    {
      name: `qemu that dials${suffix}`,
      maxFrame: 131_072,
      ...stream,
      open: (pool) => dialling(pool, native),
    },
    {
      name: `vpnkit${suffix}`,
      maxFrame: 65_535,
      ...stream,
      open: (pool) =>
        listening(
          'vpnkit',
          (directory) => `${directory}/v`,
          'le16',
          (s) => vpnkitClient(s, UUID),
          pool,
          native,
        ),
    },
    {
      name: `connect${suffix}`,
      maxFrame: 65_535,
      ...stream,
      open: (pool) =>
        listening(
          'connect',
          (directory) => `unix://${directory}/c`,
          'le16',
          async (socket) => socket.write(CONNECT_REQUEST),
          pool,
          native,
        ),
    },
  ];
}

/** The peer listens, netproxy dials and dials again. */
async function dialling(pool: BlockPool, native: NativeHub | undefined): Promise<Rig> {
  const directory = mkdtempSync(path.join(tmpdir(), 'link-'));
  const sockets = new Inbox<Socket>();
  const links = new Inbox<Link>();
  const server = createServer((socket) => sockets.put(socket)).listen({ path: `${directory}/s` });
  await once(server, 'listening');
  const listener = await listenLinks(
    'qemu',
    `connect:unix:${directory}/s`,
    deps(pool, native, (l) => links.put(l)),
  );
  return {
    single: true,
    connect: async () => ({ link: await links.take(), peer: new StreamPeer(await sockets.take(), 'be32') }),
    dispose: async () => {
      await listener.close();
      server.close();
      rmSync(directory, { recursive: true });
    },
  };
}
