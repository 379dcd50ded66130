/**
 * Loaded into a netproxy that is measured (`node --import`): on SIGUSR2 it appends one line of JSON to the file named in
 * NETPROXY_BENCH_PROBE, with what happened since the line before.
 *
 * Mode `health`: pauses of the garbage collector, and the CPU time of each turn of the poller: that of its thread, without
 * the compiler's threads. Mode `alloc` does nothing between two signals. In both of them what is allocated is netproxy's own.
 * Mode `held` collects garbage and tells the bytes in use: heap and buffers. Modes `cpu` and `sites` start a profiler (of time;
 * of allocations) with the first signal and write its profile to the file with the second.
 */
import fs from 'node:fs';
import { Session } from 'node:inspector';
import { createRequire } from 'node:module';
import path from 'node:path';
import { PerformanceObserver } from 'node:perf_hooks';
import v8 from 'node:v8';

const file = process.env.NETPROXY_BENCH_PROBE;
const mode = process.env.NETPROXY_BENCH_PROBE_MODE;

let gcs = 0;
let gcMax = 0;
let turns = 0;
let turnMax = 0;
/** Turns by their length in steps of 50 µs. */
const histogram = new Uint32Array(2000);

function atFraction(fraction) {
  let left = turns * fraction;
  for (let i = 0; i < histogram.length; i++) {
    left -= histogram[i];
    if (left <= 0) return (i + 1) * 0.05;
  }
  return Infinity;
}

function tell() {
  // The memory of buffers is given up one collection later than they are.
  if (mode === 'held') for (let i = 0; i < 3; i++) globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  const line = { gcs, used: v8.getHeapStatistics().used_heap_size, held: heapUsed + external };
  if (mode === 'health') {
    Object.assign(line, {
      gcMax: round(gcMax),
      turns,
      turnMax: round(turnMax),
      turnP99: round(atFraction(0.99)),
    });
    gcs = gcMax = turns = turnMax = 0;
    histogram.fill(0);
  }
  fs.appendFileSync(file, `${JSON.stringify(line)}\n`);
}

/** Replaces the addon's poller, in the tree that is measured, by one that takes the time of its callback. */
function watchTurns() {
  const tree = path.join(path.dirname(fs.realpathSync(process.argv[1])), '..', '..');
  const name = `vsock-bridge.${process.platform}-${process.arch}.node`;
  const addon = createRequire(import.meta.url)(path.join(tree, 'crates', 'vsock-bridge', name));
  const { Poller, threadCpu } = addon;
  addon.Poller = class extends Poller {
    constructor(callback, ready) {
      super((count) => {
        const before = threadCpu();
        callback(count);
        took((threadCpu() - before) / 1000);
      }, ready);
    }
  };
}

/** A turn of so many ms is over. */
function took(spent) {
  turns++;
  turnMax = Math.max(turnMax, spent);
  histogram[Math.min(histogram.length - 1, Math.floor(spent * 20))]++;
}

const round = (value) => Math.round(value * 1000) / 1000;

/** Bytes between two samples of allocations, on average. */
const SAMPLE_EVERY = 2048;
const ALL_OBJECTS = { includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true };

/** The profiler of a mode, as a function that is called by each signal. */
function profiler() {
  const session = new Session();
  session.connect();
  const [domain, start, stop, settings] =
    mode === 'cpu'
      ? ['Profiler', 'start', 'stop', {}]
      : ['HeapProfiler', 'startSampling', 'stopSampling', { samplingInterval: SAMPLE_EVERY, ...ALL_OBJECTS }];
  session.post(`${domain}.enable`);
  if (mode === 'cpu') session.post('Profiler.setSamplingInterval', { interval: 500 });
  let running = false;
  return () => {
    if (running) {
      session.post(`${domain}.${stop}`, (_error, { profile }) => {
        fs.writeFileSync(`${file}.new`, JSON.stringify(profile));
        fs.renameSync(`${file}.new`, file);
      });
    } else session.post(`${domain}.${start}`, settings);
    running = !running;
  };
}

if (file !== undefined && (mode === 'cpu' || mode === 'sites')) {
  process.on('SIGUSR2', profiler());
} else if (file !== undefined) {
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      gcs++;
      gcMax = Math.max(gcMax, entry.duration);
    }
  }).observe({ entryTypes: ['gc'] });
  process.on('SIGUSR2', tell);
  if (mode === 'health') watchTurns();
}
