/**
 * What the data path leaves on the heap: bytes per 1,000 frames in a steady state, in memory and between network
 * namespaces; and what an idle flow costs. `npm run build` first.
 *
 *   node bench/allocation.mjs [--seconds N] [--mtu N] [--memory-only] [--sites]
 *
 * Between namespaces (root, iperf3) the whole process is measured by V8's sampling heap profiler, event loop included:
 * Node puts an object of 56 bytes on the heap for each turn of its loop, which is told apart. `--sites` lists who
 * allocates. The machine should have a core for the process; a starved one takes few frames per turn.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Session } from 'node:inspector';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parseArgs } from 'node:util';
import { SteadyFlow, bytesPerIdleFlow, heapPerThousand } from './lib/steady.mjs';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    mtu: { type: 'string', default: '1500' },
    'memory-only': { type: 'boolean', default: false },
    sites: { type: 'boolean', default: false },
    child: { type: 'string' },
  },
});
const HOST = `alloc${process.pid}h`;
const GUEST = `alloc${process.pid}g`;
const SERVER = '198.18.0.1';
const module = (name) => import(new URL(`../dist/${name}`, import.meta.url));
const line = (name, value, unit) => console.log(`${name.padEnd(44)} ${value.padStart(10)} ${unit}`);

async function inMemory() {
  const [core, stack, forwarder] = await Promise.all(
    ['core', 'stack', 'forwarder'].map((name) => module(`${name}/index.js`)),
  );
  const modules = { core, stack, forwarder };
  const cases = {
    'up, 1500': {},
    'up, 1500, checksums looked at': { checked: false },
    'up, super-segments': { payload: 60_000, batch: 4 },
    'down, 1500': { down: true },
    'down, super-segments': { down: true, tsoMax: 65_549 },
  };
  for (const [name, options] of Object.entries(cases)) {
    const bytes = heapPerThousand(new SteadyFlow(modules, options));
    line(`in memory, ${name}`, bytes.toFixed(0), 'bytes per 1,000 frames');
  }
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc');
  line(
    'in memory, 10,000 idle flows',
    bytesPerIdleFlow(new SteadyFlow(modules), gc).toFixed(0),
    'bytes each',
  );
}

/** The measured process: one network, a TAP in the guest's namespace; a line on standard input begins and ends a profile. */
async function child(guest) {
  const { createNetwork } = await module('index.js');
  const network = createNetwork({ mtu: Number(values.mtu) });
  await network.start();
  const attached = network.openTap({ name: 'tap0', netns: guest });
  const session = new Session();
  session.connect();
  const post = (method, params) =>
    new Promise((resolve, reject) =>
      session.post(method, params, (error, result) => (error ? reject(error) : resolve(result))),
    );
  const frames = () => attached.port.counters.framesIn + attached.port.counters.framesOut;
  let start;
  process.stdin.on('data', async () => {
    if (start === undefined) {
      start = frames();
      await post('HeapProfiler.startSampling', {
        samplingInterval: 512,
        includeObjectsCollectedByMajorGC: true,
        includeObjectsCollectedByMinorGC: true,
      });
      return;
    }
    const moved = frames() - start;
    start = undefined;
    const { profile } = await post('HeapProfiler.stopSampling');
    console.log(JSON.stringify({ moved, sites: sitesOf(profile.head) }));
  });
  process.stdin.on('end', () => void network.stop());
  console.log(JSON.stringify({ ready: true }));
}

/** Allocated bytes by function and kind: ours, the event loop's, the profiler's own. */
function sitesOf(head) {
  const sites = new Map();
  const walk = (node, kind) => {
    const { functionName, url } = node.callFrame;
    const own = url.includes('/dist/') ? 'ours' : functionName === '(V8 API)' ? 'loop' : kind;
    const inspected = url === 'node:inspector' ? 'profiler' : own;
    if (node.selfSize > 0) {
      const name = `${inspected} ${functionName}@${url.split('/').slice(-2).join('/')}`;
      sites.set(name, (sites.get(name) ?? 0) + node.selfSize);
    }
    for (const next of node.children) walk(next, inspected);
  };
  walk(head, 'loop');
  return [...sites].sort((a, b) => b[1] - a[1]);
}

function sh(command, ...args) {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}

async function betweenNamespaces() {
  const started = [];
  try {
    for (const name of [HOST, GUEST]) {
      sh('ip', 'netns', 'add', name);
      sh('ip', '-n', name, 'link', 'set', 'lo', 'up');
    }
    sh('ip', '-n', HOST, 'addr', 'add', `${SERVER}/32`, 'dev', 'lo');
    started.push(spawn('ip', ['netns', 'exec', HOST, 'iperf3', '-s', '-B', SERVER], { stdio: 'ignore' }));
    const self = fileURLToPath(import.meta.url);
    const argv = ['netns', 'exec', HOST, process.execPath, self, '--child', GUEST, '--mtu', values.mtu];
    const measured = spawn('ip', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    started.push(measured);
    const lines = linesOf(measured.stdout);
    await lines();
    for (const args of [
      ['link', 'set', 'tap0', 'up', 'mtu', values.mtu],
      ['addr', 'add', '192.168.127.2/24', 'dev', 'tap0'],
      ['route', 'add', 'default', 'via', '192.168.127.1'],
    ])
      sh('ip', '-n', GUEST, ...args);
    for (const reverse of [false, true]) await measure(measured, lines, reverse);
    measured.stdin.end();
  } finally {
    await sleep(500);
    for (const process of started) process.kill();
    for (const name of [HOST, GUEST]) spawnSync('ip', ['netns', 'del', name]);
  }
}

async function measure(measured, lines, reverse) {
  const seconds = Number(values.seconds);
  // The first half warms up; the profile ends before the transfer does.
  const argv = ['netns', 'exec', GUEST, 'iperf3', '-c', SERVER, '-t', String(seconds + 2)];
  const client = spawn('ip', [...argv, ...(reverse ? ['-R'] : [])], { stdio: 'ignore' });
  await sleep((seconds * 1000) / 2);
  measured.stdin.write('\n');
  await sleep((seconds * 1000) / 2);
  measured.stdin.write('\n');
  const { moved, sites } = JSON.parse(await lines());
  await once(client, 'exit');
  const per = (kind) => {
    const bytes = sites.filter(([name]) => name.startsWith(kind)).reduce((sum, [, size]) => sum + size, 0);
    return ((bytes / moved) * 1000).toFixed(0);
  };
  const name = `namespaces, ${reverse ? 'down' : 'up'}, ${values.mtu}`;
  line(`${name}, netproxy's`, per('ours'), `bytes per 1,000 frames of ${moved}`);
  line(`${name}, Node's event loop`, per('loop'), 'bytes per 1,000 frames');
  if (values.sites)
    for (const [site, size] of sites.slice(0, 12)) line(`  ${site}`, ((size / moved) * 1000).toFixed(1), '');
}

/** Reads a stream line by line. */
function linesOf(stream) {
  let text = '';
  const waiting = [];
  const lines = [];
  stream.on('data', (chunk) => {
    text += chunk;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      lines.push(text.slice(0, end));
      text = text.slice(end + 1);
      waiting.shift()?.();
    }
  });
  return async () => {
    if (lines.length === 0) await new Promise((resolve) => waiting.push(resolve));
    return lines.shift();
  };
}

if (values.child !== undefined) await child(values.child);
else {
  await inMemory();
  const able = process.getuid?.() === 0 && spawnSync('iperf3', ['--version']).status === 0;
  if (values['memory-only']) process.exitCode = 0;
  else if (able) await betweenNamespaces();
  else console.log('between namespaces: not measured (needs root and iperf3)');
}
