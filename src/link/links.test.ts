/** The compliance suite over every transport that needs no native layer. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ipv4, parseMac, silentLogger } from '../core/index.js';
import type { BlockPool, Link } from '../core/index.js';
import { complianceSuite } from './compliance.testutil.js';
import type { Pair, Rig, Transport } from './compliance.testutil.js';
import { stdioLink } from './fd-link.js';
import { listenLinks } from './listener.js';
import type { LinkListener, ListenDeps } from './listener.js';
import { memoryLinkPair } from './memory-link.js';
import { Collector, transmit } from './compliance.testutil.js';
import { CONNECT_REQUEST, dial, StreamPeer, vpnkitClient } from './peers.testutil.js';
import type { Peer, PeerFraming } from './peers.testutil.js';
import type { StreamKind } from './accept.js';

const UUID = '9a1c3d5e-0000-4000-8000-00000000000a';

/** A rig around a listener: `greet` runs the client's handshake. */
async function listening(
  kind: StreamKind,
  where: (directory: string) => string,
  framing: PeerFraming,
  greet: (socket: Socket) => Promise<unknown>,
  pool: BlockPool,
): Promise<Rig> {
  const directory = mkdtempSync(path.join(tmpdir(), 'link-'));
  const links = new Inbox<Link>();
  const listener = await listenLinks(
    kind,
    where(directory),
    deps(pool, (link) => links.put(link)),
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

function deps(pool: BlockPool, onLink: ListenDeps['onLink']): ListenDeps {
  const mac = parseMac('5a:94:ef:e4:0c:ee')!;
  return {
    pool,
    logger: silentLogger,
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
const transports: Transport[] = [
  {
    name: 'qemu over unix',
    maxFrame: 131_072,
    ...stream,
    open: (pool) => listening('qemu', (directory) => `unix:${directory}/q`, 'be32', nothing, pool),
  },
  {
    name: 'qemu over TCP',
    maxFrame: 131_072,
    ...stream,
    open: (pool) => listening('qemu', () => 'tcp:127.0.0.1:0', 'be32', nothing, pool),
  },
  { name: 'qemu that dials', maxFrame: 131_072, ...stream, open: dialling },
  {
    name: 'vpnkit',
    maxFrame: 65_535,
    ...stream,
    open: (pool) =>
      listening(
        'vpnkit',
        (directory) => `${directory}/v`,
        'le16',
        (s) => vpnkitClient(s, UUID),
        pool,
      ),
  },
  {
    name: 'connect',
    maxFrame: 65_535,
    ...stream,
    open: (pool) =>
      listening(
        'connect',
        (directory) => `unix://${directory}/c`,
        'le16',
        async (socket) => socket.write(CONNECT_REQUEST),
        pool,
      ),
  },
  { name: 'stdio', maxFrame: 65_535, ...stream, open: pipes },
  { name: 'memory', maxFrame: 131_072, stream: false, backpressure: true, open: memory },
];

/** The peer listens, netproxy dials and dials again. */
async function dialling(pool: BlockPool): Promise<Rig> {
  const directory = mkdtempSync(path.join(tmpdir(), 'link-'));
  const sockets = new Inbox<Socket>();
  const links = new Inbox<Link>();
  const server = createServer((socket) => sockets.put(socket)).listen({ path: `${directory}/s` });
  await once(server, 'listening');
  const listener = await listenLinks(
    'qemu',
    `connect:unix:${directory}/s`,
    deps(pool, (l) => links.put(l)),
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

/** Two named pipes, as a parent hands them to a child. */
function pipes(pool: BlockPool): Rig {
  const directory = mkdtempSync(path.join(tmpdir(), 'link-'));
  const make = (): [number, number] => {
    const file = path.join(directory, `p${count++}`);
    execFileSync('mkfifo', [file]);
    const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    return [reader, openSync(file, constants.O_WRONLY | constants.O_NONBLOCK)];
  };
  let count = 0;
  return {
    single: true,
    connect: async (): Promise<Pair> => {
      const [ourInput, theirOutput] = make();
      const [theirInput, ourOutput] = make();
      const link = stdioLink({ pool, logger: silentLogger }, ourInput, ourOutput);
      const input = new Socket({ fd: theirInput, readable: true, writable: false });
      const output = new Socket({ fd: theirOutput, readable: false, writable: true });
      return { link, peer: new StreamPeer(input, 'le16', output) };
    },
    dispose: () => rmSync(directory, { recursive: true }),
  };
}

/** The other end of a memory pair is a link too. */
function memory(pool: BlockPool): Rig {
  return {
    connect: async (): Promise<Pair> => {
      const [link, other] = memoryLinkPair(pool);
      const handler = new Collector();
      other.start(handler);
      const peer: Peer = {
        send: (frame) => {
          transmit(other, Buffer.from(frame));
          other.output.flush();
        },
        take: (n) => handler.take(n),
        received: handler.frames_,
        pause: () => other.pause(),
        resume: () => other.resume(),
        close: () => other.close(),
        closed: handler.ended.then(() => undefined),
      };
      return { link, peer };
    },
    dispose: () => undefined,
  };
}

for (const transport of transports) complianceSuite(transport);
