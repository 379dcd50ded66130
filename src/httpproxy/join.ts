/** Two streams become one tunnel: FIN goes along as FIN, trouble of one side ends the other. */
import type { Duplex } from 'node:stream';
import { readAll } from '../core/index.js';

const NOTHING = Buffer.alloc(0);

/** Writes all of it; resolves when the stream took it. */
function give(stream: Duplex, bytes: Uint8Array): Promise<void> {
  if (bytes.length === 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    stream.write(bytes, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(error);
    });
  });
}

/**
 * Joins a guest's stream and one to the outside for good; both are theirs alone now. `splice` moves the bytes outside of Node's
 * streams where it can. `first` was read of the guest's stream already. Resolves when they are joined; then nothing waits for anything.
 */
export async function join(
  guest: Duplex,
  host: Duplex,
  splice: (guest: Duplex, host: Duplex) => boolean,
  first: Buffer = NOTHING,
): Promise<void> {
  const fail = (): void => {
    guest.destroy();
    host.destroy();
  };
  guest.on('error', fail).on('close', fail);
  host.on('error', fail).on('close', fail);
  guest.pause();
  host.pause();
  try {
    await Promise.all([
      give(host, Buffer.concat([first, readAll(guest) ?? NOTHING])),
      give(guest, readAll(host) ?? NOTHING),
    ]);
  } catch {
    fail();
    return;
  }
  if (guest.destroyed || host.destroyed) return;
  guest.off('error', fail).off('close', fail);
  host.off('error', fail).off('close', fail);
  if (splice(guest, host)) return;
  pipeBoth(guest, host);
}

function pipeBoth(a: Duplex, b: Duplex): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.pipe(to);
    from.once('error', () => to.destroy());
    from.once('close', () => {
      // A stream that is closed without its end was reset; one that ended has told so by pipe.
      if (!from.readableEnded || !from.writableFinished) to.destroy();
    });
  }
}
