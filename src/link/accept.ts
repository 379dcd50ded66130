/**
 * From a connection to a link: the handshake that its kind asks for, within a deadline. `connect` and `vsock` look at the
 * first bytes: `VMN3T` is vpnkit, `POST /connect` is connect, any other HTTP request goes to the control API.
 */
import type { Socket } from 'node:net';
import { randomUUID } from 'node:crypto';
import { NetproxyError } from '../core/index.js';
import { ChannelReader } from './channel.js';
import type { ByteChannel, ChannelDeps } from './channel.js';
import { answerNotFound, connectHandshake } from './connect.js';
import { U16LE, U32BE } from './framing.js';
import type { LinkPeer, OwnedLink } from './types.js';
import { VPNKIT_MAGIC, vpnkitHandshake } from './vpnkit.js';
import type { VpnkitAssign } from './vpnkit.js';

/** Time for a handshake, ms. */
export const HANDSHAKE_TIMEOUT = 10_000;

/** How long a connection without a handshake may be silent before it is a guest all the same, ms. */
export const PROBE_PATIENCE = 500;

/** What a stream carries. `vsock` is sniffed, and `connect` too: its listener serves the control API and both protocols. */
export type StreamKind = 'qemu' | 'vpnkit' | 'connect' | 'vsock';

export interface AcceptDeps extends ChannelDeps {
  /** Needed by vpnkit; without it a guest that speaks vpnkit is refused. */
  readonly assign?: VpnkitAssign | undefined;
  /** Told to guests by vpnkit, bytes. Default 1500. */
  readonly mtu?: number | undefined;
  /**
   * Takes sockets whose request is not `POST /connect`, with the request put back:
   * `(socket) => server.emit('connection', socket)`. Without it they get 404.
   */
  readonly http?: ((socket: Socket) => void) | undefined;
  /** Default HANDSHAKE_TIMEOUT, ms. */
  readonly handshakeTimeout?: number | undefined;
}

export interface Accepted {
  readonly link: OwnedLink;
  readonly peer: LinkPeer;
}

/** What the first bytes of a connection speak; undefined: too few to tell. Never asks for more than 6 bytes. */
export function sniff(bytes: Uint8Array): 'vpnkit' | 'http' | undefined {
  const seen = String.fromCharCode(...bytes.subarray(0, VPNKIT_MAGIC.length));
  if (seen === VPNKIT_MAGIC) return 'vpnkit';
  return VPNKIT_MAGIC.startsWith(seen) ? undefined : 'http';
}

/**
 * The first bytes of a peer that need not say anything: none when it is silent for PROBE_PATIENCE, undefined when it hung up.
 * Whoever only looks whether somebody listens connects and hangs up; that is no guest.
 */
export async function firstBytes(channel: ByteChannel): Promise<Uint8Array | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const silent = new Promise<Uint8Array>((resolve) => {
    // A turn later: what came while this process was held up is read first.
    timer = setTimeout(() => setImmediate(() => resolve(new Uint8Array(0))), PROBE_PATIENCE);
  });
  try {
    return await Promise.race([channel.read(), silent]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Runs the handshake. Undefined: the connection became an HTTP client's. Rejects with the reason why there is no link;
 * the channel is closed then. `first`: bytes of a qemu peer that were read already.
 */
export async function acceptLink(
  channel: ByteChannel,
  kind: StreamKind,
  deps: AcceptDeps,
  first: Uint8Array = new Uint8Array(0),
): Promise<Accepted | undefined> {
  if (kind === 'qemu') {
    return {
      link: channel.toLink('qemu', U32BE, first, deps),
      peer: { name: channel.name },
    };
  }
  const timeout = deps.handshakeTimeout ?? HANDSHAKE_TIMEOUT;
  const deadline = new AbortController();
  const timer = setTimeout(() => {
    deadline.abort();
    channel.destroy();
  }, timeout);
  const reader = new ChannelReader(channel);
  try {
    return await speak(reader, kind, deps);
  } catch (error) {
    channel.destroy();
    if (deadline.signal.aborted)
      throw new NetproxyError('ERR_NETPROXY_PROTOCOL', `no handshake within ${timeout} ms`);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function speak(
  reader: ChannelReader,
  kind: 'vpnkit' | 'connect' | 'vsock',
  deps: AcceptDeps,
): Promise<Accepted | undefined> {
  const { channel } = reader;
  let spoken: 'vpnkit' | 'http' | undefined = kind === 'vpnkit' ? 'vpnkit' : undefined;
  for (let n = 1; spoken === undefined; n++) spoken = sniff(await reader.fill(n));
  if (spoken === 'http') {
    if (await connectHandshake(reader)) {
      return { link: channel.toLink('connect', U16LE, reader.rest, deps), peer: { name: channel.name } };
    }
    handToHttp(reader, deps);
    return undefined;
  }
  if (deps.assign === undefined) {
    throw new NetproxyError('ERR_NETPROXY_PROTOCOL', 'this listener does not serve vpnkit guests');
  }
  const options = { assign: deps.assign, mtu: deps.mtu ?? 1500, newUuid: randomUUID };
  const guest = await vpnkitHandshake(reader, options);
  return { link: channel.toLink('vpnkit', U16LE, reader.rest, deps), peer: { name: channel.name, ...guest } };
}

function handToHttp(reader: ChannelReader, deps: AcceptDeps): void {
  const socket = deps.http === undefined ? undefined : reader.channel.toSocket(reader.rest);
  if (socket === undefined || deps.http === undefined) {
    answerNotFound(reader);
    return;
  }
  deps.http(socket);
  // The server's listeners are in place only after its own tick.
  process.nextTick(() => socket.resume());
}
