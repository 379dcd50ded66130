/**
 * netproxy and its rivals beside each other, each between two network namespaces of its own. All peers are up at once
 * and every measurement goes round them before it is repeated (A B C A B C), so that whatever else the machine does
 * falls on all alike. Nothing leaves the namespaces.
 */
import { Lab } from './lib/lab.mjs';
import { METRICS } from './lib/metrics.mjs';
import { PEERS, missingBuild } from './lib/peers.mjs';
import { Results } from './lib/results.mjs';
import { allocation, firstOffer, health, idleFlows } from './lib/special.mjs';
import { short } from './lib/table.mjs';
import { BenchError, buildTools, cpuSeconds, machineBusy, monotonic, ownCpu } from './lib/tools.mjs';

const say = (line) => process.stderr.write(`${line}\n`);

/** Peers that can be measured here; what is missing is said. */
function choosePeers(options) {
  const wanted = [...PEERS.values()].filter(({ label }) =>
    [...options.floors, ...options.ours, ...options.rivals].includes(label),
  );
  return wanted.filter((Peer) => {
    const missing = Peer.role === 'ours' ? missingBuild(options.tree) : Peer.missing();
    if (missing === undefined) return true;
    if (Peer.role === 'ours') throw new BenchError(missing);
    say(`left out ${Peer.label}: ${missing}`);
    return false;
  });
}

const selected = (options, metric) =>
  options.metrics === undefined ||
  options.metrics.includes(metric.group) ||
  options.metrics.includes(metric.id);

/** CPU seconds of the machine that were not ours: what disturbs. */
function foreignCpu() {
  let ours = ownCpu();
  for (const lab of Lab.live)
    for (const child of [...lab.peers, ...lab.shims, ...lab.servers])
      if (!child.over) ours += cpuSeconds(child.pid);
  return machineBusy() - ours;
}

/** Runs one measurement, tells it, keeps it; a failure is a result too. */
async function measure(results, metric, mtu, label, work) {
  const began = monotonic();
  const others = foreignCpu();
  let sample;
  try {
    sample = await work();
  } catch (error) {
    sample = { error: error instanceof BenchError ? error.message : String(error.stack ?? error) };
  }
  const wall = monotonic() - began;
  sample.others = Math.max(0, foreignCpu() - others) / wall;
  results.add(metric, mtu, label, sample);
  const told =
    sample.error === undefined
      ? `${short(sample.value).padStart(8)} ${metric.unit}`
      : `failed: ${sample.error}`;
  const cpu = sample.cpu === undefined ? '' : `  cpu ${sample.cpu.toFixed(2)} s`;
  const noise = sample.others > 0.3 ? `  (others ${sample.others.toFixed(1)} CPUs)` : '';
  say(`  ${label.padEnd(17)} ${metric.id.padEnd(18)} ${told}${cpu}${noise}`);
}

const fits = (metric, Peer) => metric.fits?.(Peer) !== false && (Peer.only ?? metric.group) === metric.group;

/** Brings a peer up, or says why not. */
async function bringUp(Peer, setup) {
  const lab = new Lab(Peer, setup);
  try {
    await lab.up();
    return lab;
  } catch (error) {
    await lab.down();
    say(`  ${Peer.label} does not start: ${error.message}`);
    return undefined;
  }
}

/** One round after the other over all peers that are up. */
async function rounds(results, metrics, labs, mtu, options) {
  for (let rep = 0; rep < options.reps; rep++) {
    for (const metric of metrics) {
      for (const lab of labs) {
        const Peer = lab.peer.constructor;
        if (!fits(metric, Peer)) continue;
        await measure(results, metric, mtu, Peer.label, () =>
          metric.run(lab, { secs: options.secs, warm: options.quick ? 0.3 : 1 }),
        );
      }
    }
  }
}

/** Metrics that want a peer of their own, started for them. */
async function fresh(results, metrics, peers, setup, options) {
  for (let rep = 0; rep < Math.min(options.reps, 3); rep++) {
    for (const metric of metrics) {
      for (const Peer of peers) {
        if (!fits(metric, Peer)) continue;
        const lab = await bringUp(Peer, setup);
        if (lab === undefined) continue;
        await measure(results, metric, setup.mtu, Peer.label, () => metric.run(lab, options));
        await lab.down();
      }
    }
  }
}

/** Metrics of `special.mjs`. */
function specials(options) {
  const ways = ['up', 'down'];
  const ours = (Peer) => Peer.label === 'netproxy-tap';
  const settings = {
    secs: Math.min(options.secs, 2),
    settleSecs: options.quick ? 1 : 20,
    healthSecs: options.quick ? 2 : 60,
    warm: 0.5,
  };
  return [
    {
      id: 'start',
      group: 'start',
      unit: 'ms',
      less: true,
      fits: (Peer) => Peer.dhcp,
      run: (Peer, setup) => firstOffer(Peer, setup),
    },
    ...ways.map((way) => ({
      id: `health_${way}`,
      group: 'health',
      unit: 'ms',
      less: true,
      fits: ours,
      once: true,
      run: (Peer, setup) => health(Peer, setup, way, settings),
    })),
    ...ways.map((way) => ({
      id: `alloc_${way}`,
      group: 'alloc',
      unit: 'B per 1,000 frames',
      less: true,
      fits: ours,
      run: (Peer, setup) => allocation(Peer, setup, way, settings),
    })),
    {
      id: 'idle_flow_10000',
      group: 'idle_flow',
      unit: 'KiB a flow, heap and buffers',
      less: true,
      fits: ours,
      once: true,
      run: (Peer, setup) => idleFlows(Peer, setup, 10_000),
    },
  ];
}

async function special(results, peers, setup, options) {
  for (const metric of specials(options).filter((entry) => selected(options, entry))) {
    for (let rep = 0; rep < (metric.once ? 1 : options.reps); rep++) {
      for (const Peer of peers.filter(metric.fits)) {
        await measure(results, metric, setup.mtu, Peer.label, () => metric.run(Peer, setup));
      }
    }
  }
}

/**
 * Runs everything that was asked for; `{ results, peers, versions }`. `save` gets the same, as far as it is, after each
 * stage: a long run that is broken off has not been in vain.
 */
export async function macro(options, save) {
  if (process.getuid?.() !== 0) throw new BenchError('namespaces need root: run it as root');
  const tools = buildTools();
  const peers = choosePeers(options);
  const results = new Results();
  const metrics = METRICS.filter(
    (metric) => selected(options, metric) && !(options.quick && metric.slow && options.metrics === undefined),
  );
  const versions = Object.fromEntries(
    peers.map((Peer) => [Peer.label, Peer.version()]).filter(([, version]) => version !== undefined),
  );
  const state = () => ({ results: results.summary(), peers: peers.map(({ label }) => label), versions });
  for (const mtu of options.mtus) {
    const first = mtu === options.mtus[0];
    const setup = { tools, mtu, tree: options.tree };
    const fit = peers.filter((Peer) => Peer.mtus === undefined || Peer.mtus.includes(mtu));
    const here = metrics.filter((metric) => !metric.fresh && (first || metric.mtus === 'all'));
    if (here.length > 0) {
      say(`\nMTU ${mtu}`);
      const labs = [];
      try {
        for (const Peer of fit) labs.push(await bringUp(Peer, setup));
        await rounds(results, here, labs.filter(Boolean), mtu, options);
      } finally {
        for (const lab of labs) await lab?.down();
      }
    }
    save(state());
    if (!first) continue;
    await fresh(
      results,
      metrics.filter((metric) => metric.fresh),
      fit,
      setup,
      options,
    );
    await special(results, fit, setup, options);
    save(state());
  }
  return state();
}
