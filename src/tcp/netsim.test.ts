import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type End, NetSim, type SimSettings } from './netsim.testutil.js';

const MIB = 1024 * 1024;
const PLAIN = { sack: false, timestamps: false, windowScaling: false };

function transfer(settings: SimSettings): NetSim {
  const sim = new NetSim(settings);
  sim.run();
  return sim;
}

function expectComplete(sim: NetSim, up: number, down: number): void {
  expect({
    client: sim.client.end,
    server: sim.server.end,
    up: sim.server.got,
    down: sim.client.got,
  }).toEqual({
    client: 'closed',
    server: 'closed',
    up,
    down,
  });
  expect(sim.client.fin && sim.server.fin).toBe(true);
  expect(sim.pool.bytesOut).toBe(0);
}

describe('transfers over a channel that loses', () => {
  for (const loss of [0, 0.01, 0.05, 0.1])
    for (const [name, tcp] of [
      ['all options', {}],
      ['no SACK', { sack: false }],
      ['no options', PLAIN],
    ] as const)
      it(`2 MiB up and 1 MiB down at ${loss * 100} % loss, ${name}`, () => {
        const sim = transfer({
          seed: 42,
          client: { send: 2 * MIB, tcp },
          server: { send: MIB },
          channel: { loss, delay: 5, rate: 12_500 },
        });
        expectComplete(sim, 2 * MIB, MIB);
        // A channel that loses nothing but what its queue does not hold.
        if (loss === 0)
          expect(sim.client.counters.timeouts + sim.server.counters.timeouts).toBeLessThanOrEqual(2);
      });

  it('10 MiB at 1 % loss', () => {
    expectComplete(
      transfer({ client: { send: 10 * MIB }, channel: { loss: 0.01, delay: 2, rate: 125_000 } }),
      10 * MIB,
      0,
    );
  });

  it('10 MiB at 2 % loss, 2 % reordering and 1 % duplication', () => {
    const channel = { loss: 0.02, reorder: 0.02, duplicate: 0.01, delay: 1 };
    expectComplete(transfer({ client: { send: 10 * MIB }, server: { send: MIB }, channel }), 10 * MIB, MIB);
  });

  it('a quarter of everything is lost', () => {
    expectComplete(transfer({ client: { send: 100_000 }, channel: { loss: 0.25 } }), 100_000, 0);
  });

  it('super-segments, whole and cut up', () => {
    for (const splitGso of [true, false]) {
      const gso = { gsoMax: 65_160 };
      const sim = transfer({
        splitGso,
        client: { send: 4 * MIB, tcp: gso },
        server: { send: MIB, tcp: gso },
        channel: { loss: 0.01, delay: 0.1 },
      });
      expectComplete(sim, 4 * MIB, MIB);
    }
  });

  it('an MTU of 65520', () => {
    const big = { mss: 65_480 };
    expectComplete(
      transfer({ client: { send: 8 * MIB, tcp: big }, server: { tcp: big }, channel: { loss: 0.01 } }),
      8 * MIB,
      0,
    );
  });
});

describe('channels of other kinds', () => {
  it('without loss a long path is filled: 10 Mbit/s and 300 ms', () => {
    const sim = transfer({
      client: { send: 4 * MIB },
      channel: { delay: 150, rate: 1250, queue: 2 * MIB },
    });
    expectComplete(sim, 4 * MIB, 0);
    // 3.4 s at line rate, and slow start.
    expect(sim.server.finAt).toBeLessThan(9_000);
    expect(sim.client.counters.retransmits).toBe(0);
  });

  it('reordering alone costs no timeout', () => {
    const sim = transfer({
      client: { send: MIB },
      channel: { reorder: 0.05, reorderBy: 1, delay: 5, rate: 12_500 },
    });
    expectComplete(sim, MIB, 0);
    expect(sim.client.counters.timeouts).toBe(0);
  });

  it('duplication alone costs nothing at all', () => {
    const sim = transfer({ client: { send: MIB }, channel: { duplicate: 0.2, delay: 5 } });
    expectComplete(sim, MIB, 0);
    expect(sim.client.counters.timeouts).toBe(0);
  });

  it('one way is dead: both ends give up', () => {
    const sim = new NetSim({ client: { send: MIB } });
    sim.at(5, () => {
      sim.dropFilter = (from) => from === sim.server;
    });
    sim.run();
    expect(sim.client.end).toBe('timeout');
  });

  it('a reader of 100 bytes a ms holds the sender back, and nothing is lost', () => {
    const sim = transfer({
      client: { send: 300_000 },
      server: { readRate: 100, tcp: { receiveWindow: 20_000 } },
    });
    expectComplete(sim, 300_000, 0);
    expect(sim.client.counters.retransmits).toBe(0);
    expect(sim.server.finAt).toBeGreaterThan(2500);
  });

  it('a lost window update is made good by a probe', () => {
    const sim = new NetSim({
      client: { send: 200_000 },
      server: { readRate: 4000, tcp: { receiveWindow: 20_000 } },
    });
    let lost = 0;
    sim.dropFilter = (from, packet) => {
      // Updates that open a shut window: an ACK of what was acknowledged before.
      const open = from === sim.server && packet.length < 60 && sim.server.connection.received.bytes === 0;
      if (open && sim.random() < 0.5) lost++;
      return open && sim.random() < 0.5;
    };
    sim.run();
    expect(lost).toBeGreaterThan(0);
    expectComplete(sim, 200_000, 0);
  });
});

describe('properties', () => {
  const channel = fc.record({
    loss: fc.constantFrom(0, 0, 0.01, 0.05, 0.08),
    duplicate: fc.constantFrom(0, 0.05),
    reorder: fc.constantFrom(0, 0.05, 0.3),
    reorderBy: fc.constantFrom(0.5, 5, 60),
    delay: fc.constantFrom(0, 1, 40, 250),
    jitter: fc.constantFrom(0, 0, 3),
    rate: fc.constantFrom(Number.POSITIVE_INFINITY, 1000, 50),
    markAbove: fc.constantFrom(Number.POSITIVE_INFINITY, 0, 10_000),
  });
  const tcp = fc.record({
    mss: fc.constantFrom(100, 536, 1460, 9000),
    receiveWindow: fc.constantFrom(1000, 65_535, 1 << 20),
    sendBuffer: fc.constantFrom(16_384, 1 << 20),
    gsoMax: fc.constantFrom(0, 0, 10_000),
    timestamps: fc.boolean(),
    sack: fc.boolean(),
    windowScaling: fc.boolean(),
    ecn: fc.constantFrom('accept' as const, 'ask' as const),
    congestion: fc.constantFrom('cubic' as const, 'newreno' as const),
  });
  const side = fc.record({
    // Sequence numbers wrap within the first bytes.
    iss: fc.integer({ min: -60_000, max: 10 }).map((n) => n >>> 0),
    send: fc.integer({ min: 0, max: 60_000 }),
    tcp,
    budget: fc.constantFrom(1500, 1e9),
  });
  const scene = fc.record({
    seed: fc.nat(),
    tick: fc.constantFrom(0, 1),
    simultaneous: fc.boolean(),
    client: side,
    server: side,
    channel,
    down: channel,
    splitGso: fc.boolean(),
  });

  it('any interleaving delivers both streams whole (the invariants of the wire are checked on the way)', () => {
    fc.assert(
      fc.property(scene, (settings) => {
        const sim = transfer(settings);
        expectComplete(sim, settings.client.send, settings.server.send);
      }),
      { numRuns: 100 },
    );
  });

  it('an abort or a reader that goes away at any time: a prefix, an end on both sides, no memory kept', () => {
    const when = fc.option(fc.integer({ min: 0, max: 400 }), { nil: undefined });
    fc.assert(
      fc.property(scene, when, when, fc.boolean(), (settings, abortAt, discardAt, swap) => {
        const a = { ...settings.client, ...(abortAt !== undefined && { abortAt }) };
        const b = { ...settings.server, ...(discardAt !== undefined && { discardAt }) };
        const sim = new NetSim({ ...settings, client: swap ? b : a, server: swap ? a : b });
        sim.run();
        const ended = (end: End): boolean => end.end !== undefined || end.connection.state === 'CLOSED';
        // The one that knows of an end has let go; the other has nothing to send and hears nothing, or gives up.
        expect(ended(sim.client) || ended(sim.server)).toBe(true);
        for (const end of [sim.client, sim.server]) {
          expect(end.got).toBeLessThanOrEqual(end.peer.sent);
          end.connection.abort(sim.now);
        }
        for (const end of [sim.client, sim.server]) end.forget();
        expect(sim.pool.bytesOut).toBe(0);
      }),
      { numRuns: 100 },
    );
  });
});
