/** What a stream over Node's socket takes over from whoever had the socket before. */
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { SendRing, plainMemory } from '../core/index.js';
import { BIG_READ } from './big-reads.js';
import { NodeStream } from './node-stream.js';

it('takes over what was read ahead, also more than one read brings', async () => {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [accepted] = (await once(server, 'connection')) as [Socket];
  const ahead = Buffer.alloc(BIG_READ + 40_000, 'ahead');
  accepted.unshift(ahead);
  client.end('later');
  const ring = new SendRing(plainMemory, 1024 * 1024);
  const stream = NodeStream.over(accepted);
  await new Promise<void>((resolve) => {
    const fail = (): void => undefined;
    stream.attach({
      connected: fail,
      failed: fail,
      writable: fail,
      broken: fail,
      readable: () => stream.receive(ring),
      ended: resolve,
    });
    stream.receive(ring);
  });
  const got = Buffer.from(ring.region.bytes.subarray(0, ring.bytes));
  expect(got.equals(Buffer.concat([ahead, Buffer.from('later')]))).toBe(true);
  stream.close();
  server.close();
});
