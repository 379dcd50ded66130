/** Two streams become one connection. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Joins `outer` with `inner`, which is being opened: each end's end goes to the other, and each end's error resets it.
 * `greeting` is written to `outer` when `inner` stands. Nothing of `outer` is read before.
 */
export function splice(outer: Duplex, inner: Duplex, greeting: string): void {
  outer.allowHalfOpen = true;
  // Keeps the stream from flowing while nobody takes its data.
  const hold = (): void => undefined;
  outer.on('readable', hold);
  const abort = (): void => {
    inner.destroy();
    if (outer instanceof Socket && outer.remoteAddress !== undefined) outer.resetAndDestroy();
    else outer.destroy();
  };
  outer.once('error', abort).once('close', () => inner.destroy());
  inner.once('error', abort).once('close', () => {
    if (!outer.writableEnded) outer.destroy();
  });
  inner.once('connect', () => {
    outer.off('readable', hold);
    if (greeting !== '') outer.write(greeting);
    outer.pipe(inner);
    inner.pipe(outer);
  });
}
