/** Many flows: a thousand at once, thousands one after the other; afterwards everything is where it began. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { Lab } from './lab.js';
import { LibraryNetwork, type Look } from './library.js';
import { scenarioReady } from './scenario.js';
import type { Endpoint, Servers } from './servers.js';

const ready = scenarioReady('many flows');

const SHORT_FLOWS = count(2_000, 20_000);
const PORTS = 8;

describe.runIf(ready)('many flows', () => {
  let lab: Lab;
  let library: LibraryNetwork;
  let servers: Servers;
  let targets: Endpoint[];

  beforeAll(async () => {
    lab = await Lab.create();
    library = await LibraryNetwork.start(lab.host, {
      taps: [{ name: 'tap0', netns: `/run/netns/${lab.guest}` }],
    });
    await lab.dhcp();
    const names = Array.from({ length: PORTS }, (_, n) => `echo${n}`);
    servers = await lab.serve({
      ...Object.fromEntries(names.map((name) => [name, { kind: 'tcp-echo', quiet: true } as const])),
      hold: { kind: 'tcp-hold', quiet: true },
    });
    targets = names.map((name) => servers.at(name));
  });

  afterAll(async () => {
    await library?.stop();
    await lab?.destroy();
  });

  /** No connection is left, not even in TIME-WAIT, and no timer for one. */
  const settled = (look: Look): boolean =>
    look.stats.memory.tcpFlows === 0 && look.flows === 0 && look.stats.memory.blocksOut === 0;

  const atRest = (): Promise<Look> => library.lookUntil('all flows gone', settled, 60_000);

  /** One round, so that what is made once (buffers, compiled code) is there before the first look. */
  const warmUp = async (): Promise<Look> => {
    const warm = { mode: 'flows', targets, flows: 500, bytes: 2_000, concurrency: 50 } as const;
    expect(await lab.client(warm, 60_000)).toMatchObject({ ok: 500, failed: 0 });
    return atRest();
  };

  /** Descriptors, native handles, timers and memory are as they were. */
  function expectSame(after: Look, before: Look): void {
    expect(after.fds).toBe(before.fds);
    expect(after.handles).toBe(before.handles);
    expect(after.resources).toEqual(before.resources);
    expect(after.stats.memory.timers).toBeLessThanOrEqual(before.stats.memory.timers);
    expect(after.memory.heapUsed).toBeLessThan(before.memory.heapUsed + 4_000_000);
    expect(after.memory.arrayBuffers).toBeLessThan(before.memory.arrayBuffers + 16_000_000);
    expect(after.uncaught).toBe(0);
  }

  it('opens 1,000 at once, moves bytes on all, and closes them', async () => {
    const before = await warmUp();
    const client = lab.startClient({
      mode: 'flows',
      targets,
      flows: 1000,
      bytes: 20_000,
      concurrency: 200,
      together: true,
      timeoutMs: 60_000,
    });
    await client.waitFor(/"open":1000/, 60_000);
    expect(await lab.clientResult(client, 90_000)).toMatchObject({ ok: 1000, failed: 0 });
    // The guest's interface took the bursts of all: nothing was lost on the way to us.
    const [link] = JSON.parse(await lab.check(lab.guest, ['ip', '-j', '-s', 'link', 'show', 'tap0'])) as [
      { stats64: { tx: { dropped: number } } },
    ];
    expect(link.stats64.tx.dropped).toBe(0);
    expectSame(await atRest(), before);
  });

  it(
    `makes ${SHORT_FLOWS} short flows over ${PORTS} ports and is where it began`,
    async () => {
      const before = await warmUp();
      const flows = await lab.client(
        { mode: 'flows', targets, flows: SHORT_FLOWS, bytes: 1_000, concurrency: 64 },
        count(90_000, 600_000),
      );
      expect(flows).toMatchObject({ ok: SHORT_FLOWS, failed: 0 });
      expectSame(await atRest(), before);
    },
    count(120_000, 900_000),
  );

  it(
    'forgets flows that were aborted, refused or given up',
    async () => {
      const before = await warmUp();
      const rounds = count(5, 50);
      const refused = Array.from({ length: 50 }, (_, n) => ({ address: lab.address(), port: 20_000 + n }));
      for (let n = 0; n < rounds; n++) {
        const dials = { mode: 'connect', targets: refused, count: refused.length } as const;
        // Held long enough for a busy server to accept them before they are reset.
        const abort = { mode: 'abort', ...servers.at('hold'), bytes: 50_000, holdMs: 500 } as const;
        const [failed, ...aborted] = await Promise.all([
          lab.client(dials),
          ...Array.from({ length: 4 }, () => lab.client(abort)),
        ]);
        for (const { error } of aborted) expect(error).toBeUndefined();
        expect(failed.errors).toEqual({ ECONNREFUSED: refused.length });
      }
      await expect
        .poll(async () => (await servers.stats('hold')).resets, { timeout: 10_000 })
        .toBe(4 * rounds);
      expectSame(await atRest(), before);
    },
    count(120_000, 600_000),
  );

  it('lets go of everything when the network stops with flows open', async () => {
    const held = lab.startClient({ mode: 'hold', ...servers.at('hold'), bytes: 1000 });
    await held.waitFor(/connected/);
    await library.lookUntil('an open flow', ({ flows }) => flows === 1);
    await library.stopNetwork();
    expect(await lab.clientResult(held)).toMatchObject({ how: 'reset' });
    const after = await library.look();
    expect(after.handles).toBe(0);
    expect(after.stats.memory).toMatchObject({ tcpFlows: 0, timers: 0, udpMappings: 0 });
  });
});
