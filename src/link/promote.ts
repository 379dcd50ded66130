/** Moves a connection from Node's socket to the native layer, which reads and writes many frames per call. */
import type { Socket } from 'node:net';
import { readAll } from '../core/index.js';
import type { ChannelDeps } from './channel.js';
import type { Framing } from './framing.js';
import { streamLink } from './native-channel.js';
import type { NativeHub } from './native-hub.js';
import type { OwnedLink } from './types.js';

/** What a net.Socket keeps of libuv's handle: `fd` and `readStop` are there on every POSIX system. */
interface StreamHandle {
  readonly fd?: number;
  readStop?(): number;
}

/**
 * Makes a native link of a socket that nobody reads any more; `rest` and what Node had read ahead come first. Undefined, and
 * the socket untouched, when that is not possible here.
 */
export function promote(
  socket: Socket,
  rest: Uint8Array,
  options: { readonly kind: string; readonly name: string; readonly framing: Framing },
  deps: ChannelDeps,
  hub: NativeHub,
): OwnedLink | undefined {
  const handle = (socket as unknown as { readonly _handle?: StreamHandle | null })._handle;
  const fd = handle?.fd;
  if (fd === undefined || fd < 0 || handle?.readStop === undefined) return undefined;
  if (deps.pool.memory !== hub.memory || socket.writableLength > 0) return undefined;
  // A paused socket may still read ahead; libuv must let go before the native layer reads.
  handle.readStop();
  const ahead = socket.readableLength > 0 ? readAll(socket) : null;
  const native = hub.poller.adoptStream(fd, true);
  if (native < 0) {
    if (ahead !== null) socket.unshift(ahead);
    return undefined;
  }
  const link = streamLink(hub, native, options, ahead === null ? rest : Buffer.concat([rest, ahead]), deps);
  // Closes Node's descriptor only: the connection lives on in the duplicate.
  socket.destroy();
  return link;
}
