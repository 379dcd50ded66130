/**
 * Reading many bytes per call from Node's sockets. Node reads 64 KiB at a time into memory that it allocates each time; with
 * `onread` a socket reads into memory that it is given. All sockets share it here: whoever is told has to be done with the bytes,
 * or to have copied them, when it returns.
 */
import { type OnReadOpts, Socket } from 'node:net';
import { readAll } from '../core/index.js';

/** Bytes read per call at most, and where there are many who may have to keep them. */
export const BIG_READ = 256 * 1024;
const MODEST_READ = 64 * 1024;

/** Told of bytes that are lent for the call; false: no more until `resume`. */
export type TakeBytes = (bytes: Uint8Array) => boolean;

let big: Uint8Array | undefined;
let modest: Uint8Array | undefined;

/** What `net.connect` is given as `onread`. `many`: asked before each read. */
export function bigReads(take: TakeBytes, many = () => false): OnReadOpts {
  const all = (big ??= new Uint8Array(BIG_READ));
  const some = (modest ??= all.subarray(0, MODEST_READ));
  return {
    buffer: () => (many() ? some : all),
    callback: (count) => take(all.subarray(0, count)),
  };
}

/** What a net.Socket keeps of libuv's handle. */
interface Handle {
  reading?: boolean;
  readStop?(): number;
}

/**
 * The connection of a socket that is open already, with big reads; the socket itself is used up. It is paused; what was read ahead
 * comes by 'data', before all that `take` is told. Undefined, and the socket untouched, where Node does not let go of a
 * handle (there is no public way: Node's own modules make sockets of handles thus).
 */
export function withBigReads(socket: Socket, take: TakeBytes, many?: () => boolean): Socket | undefined {
  const old = socket as unknown as { _handle?: Handle | null };
  const handle = old._handle;
  if (handle?.readStop === undefined || socket.connecting || socket.destroyed) return undefined;
  if (socket.writableLength > 0 || socket.readableEnded) return undefined;
  handle.reading = false;
  handle.readStop();
  const ahead = socket.readableLength > 0 ? readAll(socket) : null;
  old._handle = null;
  const options = {
    handle,
    onread: bigReads(take, many),
    allowHalfOpen: socket.allowHalfOpen,
    pauseOnCreate: true,
  };
  const next = new Socket(options);
  socket.removeAllListeners();
  socket.on('error', () => undefined);
  socket.destroy();
  if (ahead !== null) next.unshift(ahead);
  return next;
}
