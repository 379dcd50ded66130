/** Links over descriptors that somebody else opened: stdin and stdout, or a connected socket from a parent. */
import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { NetproxyError } from '../core/index.js';
import { acceptLink } from './accept.js';
import type { Accepted, AcceptDeps, StreamKind } from './accept.js';
import { SocketChannel } from './channel.js';
import { U16LE } from './framing.js';
import { SocketLink } from './socket-link.js';
import type { LinkDeps, OwnedLink } from './types.js';

/**
 * Frames on stdin and stdout (or two other descriptors), u16 little-endian lengths. Nobody else may use them: logs go to
 * stderr, and `process.stdin` and `process.stdout` must not be touched (Node writes to those pipes synchronously, so that a
 * peer that does not read would stop the process). Throws ERR_NETPROXY_LINK when they are no pipes or sockets.
 */
export function stdioLink(deps: LinkDeps, input = 0, output = 1): OwnedLink {
  const why = `descriptor ${input} and ${output} carry the frames of --stdio`;
  const source = adopt(input, { readable: true, writable: input === output }, why);
  const sink = input === output ? source : adopt(output, { readable: false, writable: true }, why);
  return new SocketLink(source, { kind: 'stdio', name: 'stdio', framing: U16LE, output: sink }, deps);
}

/**
 * The link of a connected stream socket that a parent handed down; the handshake of its kind is run first. The descriptor
 * is owned from here on. Undefined: an HTTP client was handed to `deps.http`. Rejects with ERR_NETPROXY_LINK (no such
 * descriptor, no stream socket) or ERR_NETPROXY_PROTOCOL (the handshake).
 */
export async function fdLink(
  fd: number,
  framing: Exclude<StreamKind, 'vsock'>,
  deps: AcceptDeps,
): Promise<Accepted | undefined> {
  const socket = adopt(fd, { readable: true, writable: true }, `--fd ${fd} carries frames`);
  return acceptSocket(socket, framing, `fd:${fd}`, deps);
}

/** The link of a connected socket, once the handshake of its kind is done; see `fdLink`. */
export function acceptSocket(
  socket: Socket,
  framing: StreamKind,
  name: string,
  deps: AcceptDeps,
): Promise<Accepted | undefined> {
  return acceptLink(new SocketChannel(socket, name), framing, deps);
}

function adopt(fd: number, ways: { readable: boolean; writable: boolean }, why: string): Socket {
  const remedy = `Connect it to a pipe or a stream socket: ${why}.`;
  let kind = 'something else';
  try {
    const stat = fstatSync(fd);
    if (stat.isSocket() || stat.isFIFO()) return new Socket({ fd, ...ways });
    if (stat.isFile()) kind = 'a file';
    else if (stat.isCharacterDevice()) kind = 'a terminal or device';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const what = code === 'EBADF' ? 'is not open' : `cannot be used: ${(error as Error).message}`;
    throw new NetproxyError('ERR_NETPROXY_LINK', `descriptor ${fd} ${what}`, {
      cause: error,
      remedy,
      ...(code === undefined ? {} : { errno: code }),
    });
  }
  throw new NetproxyError('ERR_NETPROXY_LINK', `descriptor ${fd} is ${kind}, no pipe or socket`, { remedy });
}
