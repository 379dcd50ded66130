/**
 * Metrics that start their own peer: how long until a DHCP offer, and, for netproxy with a probe inside (probe.mjs), what
 * the garbage collector and the event loop do under full load, how much is allocated per 1,000 frames, and what idle flows hold.
 */
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Lab } from './lab.mjs';
import { bulk, holding } from './metrics.mjs';
import { BenchError, monotonic, sleep } from './tools.mjs';

const PROBE = fileURLToPath(new URL('probe.mjs', import.meta.url));

/** Milliseconds from the start of the peer's process to the first offer that the guest's interface receives. */
export async function firstOffer(Peer, setup) {
  const lab = new Lab(Peer, setup);
  try {
    await lab.prepare();
    const client = lab.onGuest(lab.tools.nettool, 'dhcp', 'tap0', '15');
    await client.event('waiting');
    const began = monotonic();
    lab.peer.launch();
    const { at } = await client.result(20);
    return { value: (at - began) * 1000 };
  } finally {
    await lab.down();
  }
}

/** A netproxy with the probe in it. `mark` asks the probe for its numbers. */
async function probed(Peer, setup, mode, node, work) {
  const file = `/tmp/np-bench-probe-${process.pid}-${Date.now()}`;
  const peerOptions = {
    node: ['--import', PROBE, ...node],
    env: { NETPROXY_BENCH_PROBE: file, NETPROXY_BENCH_PROBE_MODE: mode },
  };
  const lab = new Lab(Peer, { ...setup, peerOptions });
  const read = () =>
    fs.existsSync(file)
      ? fs
          .readFileSync(file, 'utf8')
          .trim()
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line))
      : [];
  const mark = async () => {
    const had = read().length;
    process.kill(lab.peers[0].pid, 'SIGUSR2');
    for (let i = 0; i < 200 && read().length === had; i++) await sleep(10);
    const all = read();
    if (all.length === had) throw new BenchError('the probe does not answer');
    return all.at(-1);
  };
  try {
    await lab.up();
    return await work(lab, mark);
  } finally {
    await lab.down();
    fs.rmSync(file, { force: true });
  }
}

/** The longest pause of the collector and the longest turn of the poller under load, ms. */
export function health(Peer, setup, way, options) {
  return probed(Peer, setup, 'health', [], async (lab, mark) => {
    // V8 compacts what starting has left in the heap some ten seconds later, twice.
    await bulk(lab, way, 8, { ...options, secs: options.settleSecs, warm: 0.5 });
    await mark();
    const load = await bulk(lab, way, 8, { ...options, secs: options.healthSecs, warm: 0.2 });
    const seen = await mark();
    return {
      value: seen.turnMax,
      gcMax: seen.gcMax,
      gcs: seen.gcs,
      turnP99: seen.turnP99,
      turns: seen.turns,
      rate: load.value,
    };
  });
}

/** Bytes of JavaScript heap per 1,000 frames in steady state. No collection may fall into the time: the nursery is huge. */
export function allocation(Peer, setup, way, options) {
  const node = ['--min-semi-space-size=512', '--max-semi-space-size=512', '--expose-gc'];
  return probed(Peer, setup, 'alloc', node, async (lab, mark) => {
    await bulk(lab, way, 1, { ...options, secs: 10, warm: 1 });
    const pair = bulkWithMarks(lab, way, options, mark);
    const { first, last, frames, rate } = await pair;
    if (last.gcs !== first.gcs) throw new BenchError('a collection came in between: make --secs shorter');
    const bytes = last.used - first.used;
    return { value: (bytes / frames) * 1000, bytes, frames, rate };
  });
}

/** Bytes of heap and buffers, in KiB, that each of `flows` open and idle flows costs; sockets of the kernel are not among them. */
export function idleFlows(Peer, setup, flows) {
  return probed(Peer, setup, 'held', ['--expose-gc'], async (lab, mark) => {
    const before = await mark();
    return holding(lab, flows, async () => {
      // Memory that was kept for reuse goes back after a while.
      await sleep(3000);
      const during = await mark();
      return { value: (during.held - before.held) / 1024 / flows, total: during.held, before: before.held };
    });
  });
}

/** The marks are taken inside the load, when frames flow and nothing starts or ends. */
async function bulkWithMarks(lab, way, options, mark) {
  const load = bulk(lab, way, 1, { ...options, secs: options.secs + 2, warm: 0.5 });
  load.catch(() => {});
  await sleep(1200);
  const first = await mark();
  const framesFirst = lab.frames();
  await sleep(options.secs * 1000);
  const last = await mark();
  const frames = lab.frames() - framesFirst;
  const { value } = await load;
  if (frames < 1000) throw new BenchError(`only ${frames} frames`);
  return { first, last, frames, rate: value };
}
