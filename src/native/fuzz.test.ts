/** Random calls with random numbers: every one returns, nothing crashes, other handles stay as they are. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Frames, Rig, frame, missingAddon, openDescriptors } from './addon.testutil.js';
import type { Poller } from './addon.js';

/** Calls that take numbers only and reach nothing outside the poller's own sockets, with their number of arguments. */
const CALLS = {
  interest: 2,
  closeHandle: 1,
  unregister: 1,
  checksum: 3,
  streamToLink: 5,
  rxBatch: 6,
  txBatch: 3,
  datagramBatch: 6,
  peerProbe: 1,
  soError: 1,
  isSelfConnected: 2,
  accept: 2,
  writev: 4,
  readv: 6,
  peek: 4,
  shutdownWrite: 1,
  timerOpen: 0,
  timerSet: 2,
  reset: 1,
  unacknowledged: 1,
  setOption: 3,
  udpRecvBatch: 6,
  udpErrors: 3,
  spawnGo: 1,
  childStatus: 1,
} as const satisfies Partial<Record<keyof Poller, number>>;

describe.skipIf(missingAddon())('native calls under fuzz', () => {
  it('returns a number for whatever it is given', async () => {
    const before = await openDescriptors();
    const number = fc.oneof(
      // Small ones are ids, strides and kinds; these hit handles too, by way of the modulo below.
      { weight: 6, arbitrary: fc.integer({ min: 0, max: 12 }) },
      { weight: 2, arbitrary: fc.constantFrom(-1, 64, 131_076, 262_144, 524_288, 2 ** 31 - 1, -(2 ** 31)) },
      { weight: 1, arbitrary: fc.integer() },
    );
    const call = fc.record({
      name: fc.constantFrom(...(Object.keys(CALLS) as (keyof typeof CALLS)[])),
      handle: fc.nat(10),
      args: fc.array(number, { minLength: 5, maxLength: 5 }),
    });
    fc.assert(
      fc.property(
        fc.array(call, { minLength: 20, maxLength: 60 }),
        fc.infiniteStream(fc.integer()),
        (calls, noise) => {
          const rig = new Rig();
          const { poller } = rig;
          const frames = new Frames(rig);
          // Tables full of noise, with small numbers among it so that some entries are valid.
          const table = rig.ints(512);
          for (let i = 0; i < table.data.length; i++) {
            const value = noise.next().value;
            table.data[i] = i % 3 === 0 ? value : value & 31;
          }
          const [a, b] = rig.unixPair();
          const [c, d] = rig.unixPair();
          const listener = poller.unixListen(`\0fuzz-${process.pid}`, 2);
          const udp = poller.udpOpen('127.0.0.1', 0, false);
          for (const link of [c, d]) poller.streamToLink(link, 1, 0, 0, 0);
          frames.send(c, [[frame(60, 1)]]);
          const port = poller.datagramListen(`\0fuzz-dgram-${process.pid}`, 0, 0);
          const handles = [a, b, c, d, listener, udp, port, 0, -1, 7, 2 ** 31 - 1];
          for (const { name, handle, args } of calls) {
            const first = name === 'checksum' || name === 'unregister' ? args[4]! : handles[handle]!;
            const rest = args.slice(0, CALLS[name] - 1);
            const method: (...numbers: number[]) => number = poller[name];
            const result: unknown = method.call(poller, first, ...rest);
            if (typeof result !== 'number') return false;
          }
          poller.poll(0);
          poller.close();
          return true;
        },
      ),
      { numRuns: 300 },
    );
    await new Promise((resolve) => setImmediate(resolve));
    expect(await openDescriptors()).toBeLessThanOrEqual(before + 1);
  });
});
