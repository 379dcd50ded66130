/** The head of a connection's first request, looked at before an HTTP server gets it. */
import type { Duplex } from 'node:stream';
import { readAll } from '../core/index.js';

/** Longest head of a request that is taken away from the server, bytes. */
export const HEAD_MAX = 8192;
/** For the first bytes of a connection to come, ms. */
const PATIENCE = 30_000;

/**
 * Calls back once with the head, when the connection begins with `word` and a head follows; else with undefined, and with
 * all that was read put back. A connection that ends before, or whose head is longer than HEAD_MAX, is destroyed.
 */
export function takeHead(socket: Duplex, word: string, done: (head: string | undefined) => void): void {
  let seen: Buffer = Buffer.alloc(0);
  const timer = setTimeout(() => socket.destroy(), PATIENCE).unref();
  const finish = (head: string | undefined, rest: Buffer): void => {
    clearTimeout(timer);
    socket.off('readable', look).off('close', gone);
    if (rest.length > 0) socket.unshift(rest);
    done(head);
  };
  const gone = (): void => {
    clearTimeout(timer);
    socket.off('readable', look);
    socket.destroy();
  };
  const look = (): void => {
    const chunk = readAll(socket);
    if (chunk === null) {
      if (socket.readableEnded) gone();
      return;
    }
    seen = Buffer.concat([seen, chunk]);
    const begins = seen.toString('latin1', 0, word.length);
    if (begins !== word.slice(0, begins.length)) finish(undefined, seen);
    else if (begins.length === word.length) {
      const end = seen.indexOf('\r\n\r\n', 0, 'latin1');
      if (end >= 0) finish(seen.toString('latin1', 0, end), seen.subarray(end + 4));
      else if (seen.length > HEAD_MAX) {
        gone();
      }
    }
  };
  socket.on('error', () => undefined);
  socket.on('readable', look).once('close', gone);
  look();
}
