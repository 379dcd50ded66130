/**
 * Where the engine is, and how it is reached: a unix socket or TCP port of the host, a TCP port of a guest, or a vsock port of a
 * VM whose monitor offers it at a unix socket (Firecracker, cloud-hypervisor).
 */
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { NetproxyError } from '../../core/index.js';
import type { EnginePlace } from '../../link/index.js';
import type { Dial } from './engine.js';
import { Inlet, write } from './framing.js';

/** For a connection to stand, ms. */
const DIAL_TIME = 10_000;
/** Longest answer of a monitor, bytes. */
const MAX_ANSWER = 64;

/** Ways into guests. */
export interface GuestDialer {
  /** A connection being opened; undefined where the address is none of the guests'. */
  dial(ip: string, port: number): Promise<Duplex> | undefined;
}

/** Opens connections to the engine; each rejects with a NetproxyError. */
export function dialer(place: EnginePlace, guests: GuestDialer): Dial {
  return async () => {
    if (place.transport === 'tcp') {
      const inside = guests.dial(place.host, place.port);
      return inside ?? opened(connect({ host: place.host, port: place.port, allowHalfOpen: true }));
    }
    const socket = await opened(connect({ path: place.path, allowHalfOpen: true }));
    if (place.transport === 'hybrid') await throughMonitor(socket, place.port);
    return socket;
  };
}

/** Resolves when the stream is connected; rejects with ERR_NETPROXY_DIAL. */
export function opened(stream: Duplex): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => stream.destroy(new Error('no answer')), DIAL_TIME);
    const failed = (error: Error): void => {
      clearTimeout(late);
      const { code, errno } = error as NodeJS.ErrnoException & { errno?: number | string };
      const why = typeof errno === 'string' ? errno : code;
      reject(
        error instanceof NetproxyError
          ? error
          : new NetproxyError('ERR_NETPROXY_DIAL', error.message, {
              cause: error,
              ...(why === undefined ? {} : { errno: why }),
            }),
      );
    };
    stream.once('error', failed).once('connect', () => {
      clearTimeout(late);
      // Whoever gets it looks for errors a moment later.
      stream.off('error', failed).on('error', () => undefined);
      resolve(stream);
    });
  });
}

/** `CONNECT port`, answered by `OK n`; what stands behind that line belongs to the engine. */
async function throughMonitor(socket: Duplex, port: number): Promise<void> {
  await write(socket, Buffer.from(`CONNECT ${port}\n`));
  const inlet = new Inlet(socket);
  let answer: Buffer = Buffer.alloc(0);
  let end: number;
  while ((end = answer.indexOf(10)) < 0) {
    const piece = answer.length > MAX_ANSWER ? undefined : await inlet.next();
    if (piece === undefined) {
      socket.destroy();
      throw new NetproxyError('ERR_NETPROXY_DIAL', `nothing listens at vsock port ${port} of the guest`);
    }
    answer = Buffer.concat([answer, piece]);
  }
  inlet.close();
  if (end + 1 < answer.length) socket.unshift(answer.subarray(end + 1));
  if (answer.toString('latin1', 0, 3) === 'OK ') return;
  socket.destroy();
  throw new NetproxyError('ERR_NETPROXY_DIAL', `vsock port ${port} of the guest cannot be reached`);
}
