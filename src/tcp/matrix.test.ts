/**
 * Throughput over many kinds of channels, as tables that a review can read: a change of theirs is a change of behaviour.
 * The clock is virtual and the randomness seeded, so they are exact. NETPROXY_COUNTS=full adds every combination.
 * `vitest run --project unit src/tcp/matrix -u` writes them anew.
 */
import { describe, expect, it } from 'vitest';
import type { ChannelSettings } from './channel.testutil.js';
import { NetSim } from './netsim.testutil.js';
import type { TcpSettings } from './types.js';

const FULL = process.env.NETPROXY_COUNTS === 'full';
const MIB = 1024 * 1024;

interface Cell {
  readonly name: string;
  readonly channel: Partial<ChannelSettings>;
  readonly tcp?: Partial<TcpSettings>;
  /** Bytes to send. */
  readonly size?: number;
}

/** 100 Mbit/s, in bytes a ms; 20 ms of round trip; a queue of one bandwidth-delay product. */
const BASE: Partial<ChannelSettings> = { rate: 12_500, delay: 10, queue: 256 * 1024 };

/** The median speed of three seeds, and the sums of what it took. */
function measure({ name, channel, tcp = {}, size = 2 * MIB }: Cell): string {
  const speeds: number[] = [];
  const sums = [0, 0, 0, 0];
  for (const seed of [1, 2, 3]) {
    const sim = new NetSim({
      seed,
      client: { send: size, tcp },
      server: { tcp },
      channel: { ...BASE, ...channel },
    });
    sim.run();
    expect(sim.server.got, name).toBe(size);
    expect([sim.client.end, sim.server.end], name).toEqual(['closed', 'closed']);
    speeds.push((size * 8) / sim.server.finAt / 1000);
    const { retransmits, timeouts, tailProbes, undone } = sim.client.counters;
    [retransmits, timeouts, tailProbes, undone].forEach((n, k) => (sums[k]! += n));
  }
  const [, median] = speeds.sort((a, b) => a - b);
  const cells = [median!.toPrecision(3), ...sums].map((x) => String(x).padStart(8));
  return `${name.padEnd(54)}${cells.join('')}`;
}

function table(cells: readonly Cell[]): string {
  const head = ['Mbit/s', 'again', 'timeout', 'probes', 'undone'].map((x) => x.padStart(8)).join('');
  return [`${''.padEnd(54)}${head}`, ...cells.map(measure), ''].join('\n');
}

const LOSSES = [0, 0.001, 0.01, 0.05, 0.1];
const percent = (p: number): string => `${Math.round(p * 1000) / 10} %`;

const FAST: readonly Cell[] = [
  ...LOSSES.flatMap((loss) =>
    [0, 0.1, 1, 10, 50, 150].map((delay) => ({
      name: `loss ${percent(loss)}, delay ${delay} ms`,
      channel: { loss, delay },
    })),
  ),
  ...[0.01, 0.05, 0.3].flatMap((reorder) =>
    [1, 5, 40].map((reorderBy) => ({
      name: `reordering ${percent(reorder)} by ${reorderBy} ms`,
      channel: { reorder, reorderBy },
    })),
  ),
  ...[0.01, 0.1, 0.5].map((duplicate) => ({
    name: `duplicates ${percent(duplicate)}`,
    channel: { duplicate },
  })),
  { name: 'all of it: 1 % each', channel: { loss: 0.01, reorder: 0.01, duplicate: 0.01 } },
  ...[125, 1250, 125_000].map((rate) => ({
    name: `${rate / 125} Mbit/s`,
    channel: { rate },
    size: rate === 125 ? MIB / 2 : 2 * MIB,
  })),
  ...[16, 64, 1024].map((kib) => ({ name: `queue of ${kib} KiB`, channel: { queue: kib * 1024 } })),
  ...[16, 64, 256].map((kib) => ({
    name: `window of ${kib} KiB`,
    channel: {},
    tcp: { receiveWindow: kib * 1024 },
  })),
  ...[16, 64, 256].map((kib) => ({
    name: `send buffer of ${kib} KiB`,
    channel: {},
    tcp: { sendBuffer: kib * 1024 },
  })),
  ...[0.01, 0.05].flatMap((loss) => [
    { name: `loss ${percent(loss)}, NewReno`, channel: { loss }, tcp: { congestion: 'newreno' as const } },
    { name: `loss ${percent(loss)}, no SACK`, channel: { loss }, tcp: { sack: false } },
    { name: `loss ${percent(loss)}, no timestamps`, channel: { loss }, tcp: { timestamps: false } },
    { name: `loss ${percent(loss)}, super-segments`, channel: { loss }, tcp: { gsoMax: 65_160 } },
    { name: `loss ${percent(loss)}, MSS 536`, channel: { loss }, tcp: { mss: 536 } },
  ]),
  {
    name: 'ECN, a queue that marks above 64 KiB',
    channel: { markAbove: 64 * 1024 },
    tcp: { ecn: 'ask' },
  },
];

function* everything(): Generator<Cell> {
  for (const loss of LOSSES)
    for (const reorder of [0, 0.02])
      for (const duplicate of [0, 0.02])
        for (const delay of [0, 1, 10, 150])
          for (const rate of [1250, 12_500, 125_000])
            for (const kib of [64, 1024])
              yield {
                name: `${percent(loss)} r ${percent(reorder)} d ${percent(duplicate)} ${delay} ms ${rate / 125} Mbit/s ${kib} KiB`,
                channel: { loss, reorder, duplicate, delay, rate },
                tcp: { receiveWindow: kib * 1024, sendBuffer: kib * 1024 },
              };
}

describe('the matrix of channels', () => {
  it('as reviewed', { timeout: 120_000 }, async () => {
    await expect(table(FAST)).toMatchFileSnapshot('./fixtures/matrix.txt');
  });

  it('every combination', { timeout: 600_000, skip: !FULL }, async () => {
    await expect(table([...everything()])).toMatchFileSnapshot('./fixtures/matrix-full.txt');
  });
});
