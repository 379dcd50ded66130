/**
 * Where netproxy's time goes: one metric with the V8 profiler in the measured process.
 *
 *   npm run bench -- profile tcp_up_1 [--mtu 1500] [--ours netproxy-tap] [--secs 3] [--warm 1] [--tree DIR] [--top 25] [--heap | --perf] [--out FILE]
 *
 * Self time by function, of the time in which the process was not idle; what runs in the addon, and in the kernel for it,
 * stands under the function that called it. --heap: bytes allocated by function instead, by sampling;
 * --perf: by `perf`, which sees the kernel and the addon's inside too;
 * --out keeps the profile for a browser's developer tools.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Lab } from './lib/lab.mjs';
import { METRICS } from './lib/metrics.mjs';
import { PEERS, missingBuild } from './lib/peers.mjs';
import { markdown, short } from './lib/table.mjs';
import { BENCH, BenchError, Child, ROOT, buildTools, sleep, which } from './lib/tools.mjs';

const PROBE = path.join(BENCH, 'lib', 'probe.mjs');

function parse(argv) {
  const options = { mtu: 1500, ours: 'netproxy-tap', secs: 3, warm: 1, tree: ROOT, top: 25 };
  for (let i = 0; i < argv.length; i++) {
    const name = argv[i].replace(/^--/, '');
    if (name === argv[i]) options.metric = name;
    else if (name === 'heap' || name === 'perf') options[name] = true;
    else if (['mtu', 'ours', 'secs', 'warm', 'tree', 'top', 'out'].includes(name)) {
      const value = argv[++i];
      options[name] = ['mtu', 'secs', 'warm', 'top'].includes(name) ? Number(value) : value;
    } else throw new BenchError(`unknown option ${argv[i]}`);
  }
  options.tree = path.resolve(options.tree);
  return options;
}

/** `src/tcp/send.js:12 output`, without the tree's path. */
function where({ functionName, url, lineNumber }) {
  const file = url.replace(/^file:\/\//, '').replace(/^.*\/dist\//, '');
  return `${functionName || '(anonymous)'}${file === '' ? '' : `  ${file}:${lineNumber + 1}`}`;
}

/**
 * What has no source is told apart by who called it. V8 gives all functions of the addon the name of any one of them, so
 * they are one here: with the kernel's work in them.
 */
function withCaller(node, parent) {
  const name = where(node.callFrame);
  if (node.callFrame.url !== '' || parent === undefined || name.startsWith('(')) return name;
  const caller = where(parent.callFrame);
  if (caller.startsWith('(')) return name;
  const native =
    /  (native|link)\/(?!stream-|socket-)/.test(caller) && !BUILT_IN.has(node.callFrame.functionName);
  return `${native ? 'addon' : name}  ← ${caller}`;
}

/** Functions of the language that native/ and link/ call. */
const BUILT_IN = new Set(
  [Array, Map, Set, Uint8Array, Int32Array, DataView, Math, Reflect.getPrototypeOf(Uint8Array)].flatMap(
    (type) => [...Object.getOwnPropertyNames(type.prototype ?? type), type.name],
  ),
);

/** Self time in µs by function. */
export function selfTimes(profile) {
  const parents = new Map(
    profile.nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node])),
  );
  const names = new Map(profile.nodes.map((node) => [node.id, withCaller(node, parents.get(node.id))]));
  const totals = new Map();
  profile.samples.forEach((id, i) => {
    const name = names.get(id);
    if (name !== '(idle)' && !name.includes('node:inspector'))
      totals.set(name, (totals.get(name) ?? 0) + Math.max(0, profile.timeDeltas[i]));
  });
  return totals;
}

/** Bytes by function of a sampling heap profile. */
export function allocations(profile) {
  const totals = new Map();
  const visit = (node) => {
    const bytes = node.selfSize;
    if (bytes > 0) totals.set(where(node.callFrame), (totals.get(where(node.callFrame)) ?? 0) + bytes);
    node.children.forEach(visit);
  };
  visit(profile.head);
  return totals;
}

/** Samples of all threads by `perf`; what the kernel is called from its own symbols. */
async function perf(lab, metric, pid, { secs, top, ours, mtu }) {
  if (which('perf') === undefined) throw new BenchError('perf is missing: apt-get install linux-perf');
  const data = lab.file('perf.data');
  const recorder = new Child([
    'perf',
    'record',
    '-e',
    'cpu-clock',
    '-F',
    '999',
    '-o',
    data,
    '-p',
    String(pid),
  ]);
  const result = await metric.run(lab, { secs, warm: 0.5 });
  recorder.process.kill('SIGINT');
  await recorder.ended;
  const report = spawnSync(
    'perf',
    ['report', '-i', data, '--stdio', '--no-children', '--percent-limit', '0.3'],
    {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    },
  );
  const lines = report.stdout.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  if (lines.length === 0) throw new BenchError(`perf: ${recorder.complaints.trim().split('\n').at(-1)}`);
  console.log(`${ours}, ${metric.id} at MTU ${mtu}: ${short(result.value)} ${metric.unit}\n`);
  console.log(lines.slice(0, top).join('\n'));
}

async function main(argv) {
  const options = parse(argv);
  const metric = METRICS.find(({ id }) => id === options.metric);
  const Peer = PEERS.get(options.ours);
  if (metric === undefined) throw new BenchError(`which metric? ${METRICS.map(({ id }) => id).join(', ')}`);
  if (Peer?.role !== 'ours')
    throw new BenchError(
      `--ours: ${[...PEERS.values()]
        .filter(({ role }) => role === 'ours')
        .map(({ label }) => label)
        .join(', ')}`,
    );
  const missing = missingBuild(options.tree);
  if (missing !== undefined) throw new BenchError(missing);
  const file = `/tmp/np-bench-profile-${process.pid}.json`;
  const peerOptions = {
    modules: true,
    // No collection between the marks: what was allocated is still there to be counted.
    node: [
      '--import',
      PROBE,
      ...(options.heap ? ['--min-semi-space-size=512', '--max-semi-space-size=512'] : []),
    ],
    env: { NETPROXY_BENCH_PROBE: file, NETPROXY_BENCH_PROBE_MODE: options.heap ? 'sites' : 'cpu' },
  };
  const lab = new Lab(Peer, { tools: buildTools(), mtu: options.mtu, tree: options.tree, peerOptions });
  try {
    await lab.up();
    // Once without, so that the compiler has done its work.
    await metric.run(lab, { secs: options.warm, warm: 0.5 });
    const { pid } = lab.peers[0];
    if (options.perf) {
      await perf(lab, metric, pid, options);
      return;
    }
    const cpuBefore = lab.cpu().peer;
    process.kill(pid, 'SIGUSR2');
    const result = await metric.run(lab, { secs: options.secs, warm: 0.5 });
    process.kill(pid, 'SIGUSR2');
    const cpu = lab.cpu().peer - cpuBefore;
    for (let i = 0; i < 500 && !fs.existsSync(file); i++) await sleep(20);
    if (!fs.existsSync(file)) throw new BenchError('the profile was not written');
    const profile = JSON.parse(fs.readFileSync(file, 'utf8'));
    const totals = options.heap ? allocations(profile) : selfTimes(profile);
    print(options, metric, result, cpu, totals);
    if (options.out !== undefined) fs.copyFileSync(file, options.out);
  } finally {
    await lab.down();
    fs.rmSync(file, { force: true });
  }
}

function print({ ours, mtu, top, heap }, metric, result, cpu, totals) {
  const all = [...totals.values()].reduce((a, b) => a + b, 0);
  const rows = [...totals]
    .sort((a, b) => b[1] - a[1])
    .slice(0, top)
    .map(([name, value]) => [
      name,
      `${((value / all) * 100).toFixed(1)} %`,
      heap ? `${short(value / 1024)} KiB` : `${short(value / 1000)} ms`,
    ]);
  console.log(
    `${ours}, ${metric.id} at MTU ${mtu}: ${short(result.value)} ${metric.unit}; ${short(cpu)} CPU-seconds of the process\n`,
  );
  console.log(markdown([heap ? 'allocated by' : 'self time of', 'share', heap ? 'bytes' : 'time'], rows));
}

try {
  await main(process.argv.slice(2));
  process.exit(0);
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exit(2);
}
