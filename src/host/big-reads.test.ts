/** Sockets whose bytes come in big pieces: nothing is lost where an open socket is made one. */
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { BIG_READ, bigReads, withBigReads } from './big-reads.js';

const pattern = (length: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, i) => i % 251));

describe('big reads', () => {
  const open: (Socket | Server)[] = [];

  afterEach(() => {
    for (const one of open.splice(0)) {
      if ('listening' in one) one.close();
      else one.destroy();
    }
  });

  /** Both ends of a connection; the accepted one is paused. */
  async function pair(): Promise<{ accepted: Socket; client: Socket; server: Server }> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [accepted] = (await once(server, 'connection')) as [Socket];
    open.push(server, client, accepted);
    return { accepted, client, server };
  }

  it('bring every byte in order: those read ahead, those that wait, and those that come later', async () => {
    const { accepted, client, server } = await pair();
    const bytes = pattern(3_000_000);
    client.write(bytes.subarray(0, 100_000));
    accepted.resume();
    accepted.pause();
    await sleep(20);
    accepted.unshift(Buffer.from('ahead'));
    const got: Buffer[] = [];
    const socket = withBigReads(accepted, (piece) => {
      got.push(Buffer.from(piece));
      return true;
    })!;
    open.push(socket);
    socket.on('data', (piece: Buffer) => got.push(piece));
    socket.resume();
    client.end(bytes.subarray(100_000));
    await once(socket, 'end');
    const all = Buffer.concat(got);
    const at = all.indexOf('ahead');
    expect(at).toBeGreaterThanOrEqual(0);
    expect(Buffer.concat([all.subarray(0, at), all.subarray(at + 5)]).equals(bytes)).toBe(true);
    expect(Math.max(...got.map((piece) => piece.length))).toBeGreaterThan(65_536);
    // The way back is still open, and the server lets go of its connection.
    const answer = once(client, 'data');
    socket.end('bye');
    expect(String((await answer)[0])).toBe('bye');
    server.close();
    await once(server, 'close');
  });

  it('stop when told, and go on with resume', async () => {
    const { accepted, client } = await pair();
    let total = 0;
    const socket = withBigReads(accepted, (piece) => {
      total += piece.length;
      return false;
    })!;
    open.push(socket);
    socket.resume();
    client.end(pattern(1_000_000));
    await sleep(30);
    expect(total).toBeGreaterThan(0);
    expect(total).toBeLessThanOrEqual(BIG_READ);
    let ended = false;
    socket.once('end', () => (ended = true));
    for (let i = 0; i < 500 && !ended; i++) {
      socket.resume();
      await sleep(1);
    }
    expect(total).toBe(1_000_000);
    expect(ended).toBe(true);
  });

  it('are modest where there are many', async () => {
    const { accepted, client } = await pair();
    let most = 0;
    let total = 0;
    const socket = withBigReads(
      accepted,
      (piece) => {
        most = Math.max(most, piece.length);
        total += piece.length;
        return true;
      },
      () => true,
    )!;
    open.push(socket);
    socket.resume();
    client.end(pattern(1_000_000));
    await once(socket, 'end');
    expect([total, most]).toEqual([1_000_000, 65_536]);
  });

  it('leave a socket alone that is not connected yet, or gone', async () => {
    const { accepted, server } = await pair();
    const { port } = server.address() as AddressInfo;
    const dialing = connect({ port, host: '127.0.0.1', onread: bigReads(() => true) });
    open.push(dialing);
    expect(withBigReads(dialing, () => true)).toBeUndefined();
    accepted.destroy();
    expect(withBigReads(accepted, () => true)).toBeUndefined();
  });
});
