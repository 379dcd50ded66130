/**
 * Where guests come in: a listener (or a dialer) that makes a link of every connection. It takes many guests, and takes
 * them back after they went away. Closing it leaves the links alone: they belong to whoever got them.
 *
 * Limits, each counted in `stats`: MAX_HANDSHAKES connections whose handshake is under way, MAX_LINKS links at once; a
 * connection beyond them is closed.
 */
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { NetproxyError } from '../core/index.js';
import { acceptLink, firstBytes } from './accept.js';
import type { AcceptDeps, StreamKind } from './accept.js';
import { bindServer } from './bind-server.js';
import { SocketChannel } from './channel.js';
import type { ByteChannel } from './channel.js';
import { newStats } from './listener-stats.js';
import type { ListenerStats } from './listener-stats.js';
import { listenPackets } from './packet-listener.js';
import { formatLinkAddress, isPacketKind, parseLinkSpec } from './spec.js';
import type { LinkAddress, LinkSpec, ListenKind } from './spec.js';
import { MAX_LINKS } from './types.js';
import type { LinkPeer, OwnedLink } from './types.js';
import { dialVsock, listenVsock } from './vsock.js';

export const MAX_HANDSHAKES = 64;
/** Pauses between attempts to dial a peer that went away, ms: doubled up to the second. */
const REDIAL_FIRST = 250;
const REDIAL_LAST = 5000;
/** Time for one attempt to dial, ms. */
const DIAL_TIMEOUT = 10_000;

export interface ListenDeps extends AcceptDeps {
  /** Gets every link; it must `start` or `close` it. */
  readonly onLink: (link: OwnedLink, peer: LinkPeer) => void;
  /** vfkit: pause between two looks whether the peers are still there, ms. Default 2,000. */
  readonly probeInterval?: number | undefined;
}

export interface LinkListener {
  readonly kind: ListenKind;
  /** As `parseLinkSpec` reads it, with the port that was chosen. */
  readonly address: string;
  readonly stats: Readonly<ListenerStats>;
  /** Stops taking guests, removes the socket path, ends handshakes under way. Idempotent. */
  close(): Promise<void>;
}

/**
 * Listens, or dials and keeps dialling. Rejects with ERR_NETPROXY_CONFIG (the spec), ERR_NETPROXY_LISTEN, ERR_NETPROXY_DIAL
 * (the first attempt failed) or ERR_NETPROXY_NATIVE (vsock, vfkit, bess without the addon).
 *
 * @example const listener = await listenLinks('qemu', 'unix:/run/vm.sock', { pool, logger, onLink });
 */
export async function listenLinks(
  kind: ListenKind,
  where: string | LinkSpec,
  deps: ListenDeps,
): Promise<LinkListener> {
  const spec = typeof where === 'string' ? parseLinkSpec(where, kind) : where;
  if (kind === 'vpnkit' && deps.assign === undefined) {
    throw new NetproxyError('ERR_NETPROXY_STATE', 'a vpnkit listener needs `assign`');
  }
  if (isPacketKind(kind)) return listenPackets(kind, spec.address, deps);
  const door = new Door(kind, deps, spec.mode === 'listen');
  if (spec.mode === 'connect') return dialling(door, spec.address);
  const { address } = spec;
  if (address.transport === 'vsock') {
    const stop = listenVsock(address, deps, (channel) => {
      void door.enter(channel);
    });
    return makeListener(door, formatLinkAddress(address), stop);
  }
  return listenNode(door, address);
}

/** Counts, bounds and runs the handshakes of one listener. */
class Door {
  readonly kind: StreamKind;
  readonly deps: ListenDeps;
  readonly stats = newStats();
  closed = false;
  private readonly listens: boolean;
  private readonly handshakes = new Set<ByteChannel>();
  private serial = 0;

  constructor(kind: StreamKind, deps: ListenDeps, listens: boolean) {
    this.kind = kind;
    this.deps = deps;
    this.listens = listens;
  }

  /** A number for the next connection's name. */
  next(): number {
    return ++this.serial;
  }

  /** Makes a link of a connection, or closes it. Resolves with the link, when there is one. */
  async enter(channel: ByteChannel): Promise<OwnedLink | undefined> {
    const { deps, handshakes, stats } = this;
    if (this.closed || handshakes.size >= MAX_HANDSHAKES || stats.links >= MAX_LINKS) {
      if (!this.closed) stats.overLimit++;
      channel.destroy();
      return undefined;
    }
    handshakes.add(channel);
    try {
      const first = await this.firstWords(channel);
      if (first === undefined) {
        stats.probes++;
        channel.destroy();
        return undefined;
      }
      const accepted = await acceptLink(channel, this.kind, deps, first);
      if (accepted === undefined) return undefined;
      const { link, peer } = accepted;
      stats.accepted++;
      stats.links++;
      link.onEnd(() => stats.links--);
      deps.onLink(link, peer);
      return link;
    } catch (error) {
      stats.refused++;
      this.report(channel, error);
      return undefined;
    } finally {
      handshakes.delete(channel);
    }
  }

  /** Of a peer that comes to us and has no handshake; nothing, and nobody waits, otherwise. Undefined: it is gone. */
  private firstWords(channel: ByteChannel): Promise<Uint8Array | undefined> {
    // Many silent guests at once must not keep each other out.
    const crowded = this.handshakes.size > MAX_HANDSHAKES / 2;
    if (this.kind !== 'qemu' || !this.listens || crowded) return Promise.resolve(new Uint8Array(0));
    return firstBytes(channel);
  }

  /** Handshakes that end because the listener closes are no news. */
  private report(channel: ByteChannel, error: unknown): void {
    if (this.closed) return;
    this.deps.logger.warn(`link ${channel.name}: ${messageOf(error)}`, { kind: this.kind });
  }

  close(): void {
    this.closed = true;
    for (const channel of this.handshakes) channel.destroy();
  }
}

function makeListener(door: Door, address: string, stop: () => void | Promise<void>): LinkListener {
  let closing: Promise<void> | undefined;
  return {
    kind: door.kind,
    address,
    stats: door.stats,
    close: () => {
      door.close();
      closing ??= Promise.resolve(stop());
      return closing;
    },
  };
}

async function listenNode(
  door: Door,
  address: Exclude<LinkAddress, { transport: 'vsock' }>,
): Promise<LinkListener> {
  const server = createServer({ pauseOnConnect: true });
  const bound = await bindServer(server, address);
  const text = bound.address;
  server.on('connection', (socket) => {
    void door.enter(new SocketChannel(socket, peerName(socket, text, door.next())));
  });
  // EMFILE and the like: this connection is lost, the listener stays.
  server.on('error', (error) => door.deps.logger.warn(`${text}: ${error.message}`, { kind: door.kind }));
  return makeListener(door, text, () => {
    bound.release();
    // Links live on; their sockets must not hold the close up.
    server.close();
    server.unref();
  });
}

function peerName(socket: Socket, listener: string, serial: number): string {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return `${listener}#${serial}`;
  return `tcp:${remoteAddress.includes(':') ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`;
}

/** Dials once, reporting failure; then again whenever the link went away. */
async function dialling(door: Door, address: LinkAddress): Promise<LinkListener> {
  const text = formatLinkAddress(address);
  let timer: NodeJS.Timeout | undefined;
  let pause = REDIAL_FIRST;
  const later = (): void => {
    if (door.closed) return;
    timer = setTimeout(() => void again(), pause);
    pause = Math.min(pause * 2, REDIAL_LAST);
  };
  const again = async (): Promise<void> => {
    door.stats.redials++;
    const channel = await dial(address, text, door).catch(() => undefined);
    if (channel === undefined) later();
    else await enter(channel);
  };
  const enter = async (channel: ByteChannel): Promise<void> => {
    const link = await door.enter(channel);
    if (link === undefined) {
      later();
      return;
    }
    pause = REDIAL_FIRST;
    link.onEnd(later);
  };
  const first = await dial(address, text, door);
  void enter(first);
  return makeListener(door, `connect:${text}`, () => clearTimeout(timer));
}

function dial(address: LinkAddress, text: string, door: Door): Promise<ByteChannel> {
  const name = `${text}#${door.next()}`;
  if (address.transport === 'vsock') return dialVsock(address, name, door.deps);
  if (address.transport === 'fd') {
    return Promise.reject(new NetproxyError('ERR_NETPROXY_CONFIG', `${text} cannot be dialled`));
  }
  return new Promise((resolve, reject) => {
    const target =
      address.transport === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
    const socket = connect({ ...target, timeout: DIAL_TIMEOUT });
    const failed = (error: Error): void => reject(cannotDial(text, error));
    socket.once('error', failed);
    socket.once('timeout', () =>
      socket.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })),
    );
    socket.once('connect', () => {
      socket.off('error', failed);
      socket.setTimeout(0);
      socket.removeAllListeners('timeout');
      resolve(new SocketChannel(socket, name));
    });
  });
}

/** The error of a failed dial to a guest's socket. */
export function cannotDial(text: string, error: unknown): NetproxyError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new NetproxyError('ERR_NETPROXY_DIAL', `cannot connect to ${text}: ${message}`, {
    cause: error,
    ...(code === undefined ? {} : { errno: code }),
    remedy: 'Start the other side first, or let netproxy listen: the address without connect:.',
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
