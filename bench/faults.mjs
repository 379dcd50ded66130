/**
 * One TCP flow over a bad cable: netproxy's guest, a Linux, to a server of the host, and Linux to Linux, both over the
 * same faults (`--faults`, src/link/faults.ts), without offloads, one after the other in each round.
 *
 *   npm run bench -- faults [--reps 5] [--cases loss5_up,…] [--ours-only] [--json FILE] [--tree DIR]
 *
 * A transfer is timed from the moment the guest's connection stands until the last byte is there; every byte is compared.
 */
import { fileURLToPath } from 'node:url';
import { BULK, Lab, TARGET } from './lib/lab.mjs';
import { grown, kernelCounters } from './lib/kernel-counters.mjs';
import { PEERS } from './lib/peers.mjs';
import { NetproxyPlain, plainTap } from './lib/plain-tap.mjs';
import { median } from './lib/results.mjs';
import { begin, bringUp, conclude } from './lib/small-bench.mjs';
import { markdown, short } from './lib/table.mjs';
import { BenchError, buildTools } from './lib/tools.mjs';

const CABLE = fileURLToPath(new URL('lib/cable.mjs', import.meta.url));
const MIB = 1024 * 1024;
/** What a ratio has to reach. */
const WANTED = 0.8;
/** A transfer that takes longer has failed, s. */
const PATIENCE = 100;

const CASES = [
  { id: 'loss5', faults: 'loss=5%', bytes: 100 * MIB },
  { id: 'delay20', faults: 'loss=1%,delay=20ms', bytes: 4 * MIB },
].flatMap((entry) => ['up', 'down'].map((way) => ({ ...entry, id: `${entry.id}_${way}`, way })));

/** Two kernels with the cable between them. */
class LinuxFaults extends PEERS.get('veth') {
  static label = 'linux';

  async start() {
    const { lab } = this;
    const ends = [Lab.path(lab.guest), 'tap0', Lab.path(lab.host), 'tap1'];
    const cable = this.spawn([process.execPath, CABLE, lab.tree, ...ends, this.options.faults]);
    await cable.event('ready');
    lab.ipHost('link', 'set', 'tap1', 'mtu', String(lab.mtu), 'txqueuelen', '1000', 'up');
    lab.ipHost('addr', 'add', `${this.gateway}/24`, 'dev', 'tap1');
    this.addressGuest();
    plainTap(lab, 1000);
  }
}

/** Sent again, timeouts, probes of the tail, retransmissions that were lost: of the kernel that sent. */
const COUNTED = ['RetransSegs', 'TCPTimeouts', 'TCPLossProbes', 'TCPLostRetransmit'];

/** One transfer; seconds, and the peer's CPU seconds. `sender`: counters of the kernel that sent, where one did. */
async function transfer(lab, { way, bytes }) {
  const { nettool } = lab.tools;
  const [here, there] = way === 'up' ? ['send', 'recv'] : ['recv', 'send'];
  const rest = [String(bytes), String(PATIENCE)];
  const server = lab.onHost(nettool, 'exact', 'listen', there, '0.0.0.0', String(BULK), ...rest);
  let guest;
  try {
    await server.event('listening');
    const before = lab.cpu().peer;
    const kernel = way === 'up' ? lab.guest : lab.host;
    const counted = kernelCounters(kernel);
    guest = lab.onGuest(nettool, 'exact', 'connect', here, TARGET, String(BULK), ...rest);
    const open = await guest.event('open', PATIENCE);
    const result = await (way === 'up' ? server : guest).result(PATIENCE);
    if (!result.exact) throw new BenchError('the bytes that came are not those that were sent');
    return {
      secs: result.at - open.at,
      cpu: lab.cpu().peer - before,
      sender: grown(kernel, counted, COUNTED),
    };
  } finally {
    await Promise.all([server.kill(), guest?.kill()]);
  }
}

/** The medians of a case as a row of the table. */
function row({ id, bytes }, samples) {
  const secs = (label) => median(samples[label].map((sample) => sample.secs));
  const [ours, theirs] = [secs('netproxy'), secs('linux')];
  const spread = (label) =>
    samples[label]
      .map((sample) => sample.secs)
      .sort((a, b) => a - b)
      .map((value) => value.toFixed(2))
      .join(' ');
  const rate = (value) => (value === undefined ? 'failed' : `${short((bytes * 8) / value / 1e6)}`);
  const ratio = ours === undefined || theirs === undefined ? undefined : theirs / ours;
  const met = ratio === undefined ? '' : ratio >= WANTED ? 'met' : 'NOT met';
  return [id, rate(ours), rate(theirs), short(ratio), met, spread('netproxy'), spread('linux')];
}

async function main(argv) {
  const options = begin(argv, {
    reps: 5,
    mib: 0,
    cases: CASES.map(({ id }) => id).join(),
    peers: 'netproxy,linux',
  });
  const tools = buildTools();
  const chosen = CASES.filter(({ id }) => options.cases.split(',').includes(id)).map((entry) =>
    options.mib > 0 ? { ...entry, bytes: options.mib * MIB } : entry,
  );
  if (chosen.length === 0) throw new BenchError(`which case? ${CASES.map(({ id }) => id).join(', ')}`);
  const classes = [NetproxyPlain, LinuxFaults].filter(({ label }) =>
    options.peers.split(',').includes(label),
  );
  const results = {};
  for (const faults of new Set(chosen.map((entry) => entry.faults))) {
    const setup = {
      tools,
      mtu: 1500,
      tree: options.tree,
      peerOptions: { serve: ['--faults', faults], faults },
    };
    const labs = [];
    for (const Peer of classes) labs.push(await bringUp(Peer, setup));
    try {
      const here = chosen.filter((entry) => entry.faults === faults);
      for (const { id } of here) results[id] = { netproxy: [], linux: [] };
      for (let rep = 0; rep < options.reps; rep++)
        for (const entry of here)
          for (const lab of labs) {
            const { label } = lab.peer.constructor;
            const sample = await transfer(lab, entry);
            results[entry.id][label].push(sample);
            const told = `${sample.secs.toFixed(2)} s  cpu ${sample.cpu.toFixed(2)} s  ${JSON.stringify(sample.sender)}`;
            process.stderr.write(`  ${label.padEnd(9)} ${entry.id.padEnd(13)} ${told}\n`);
          }
    } finally {
      for (const lab of labs) await lab.down();
    }
  }
  const head = ['', 'netproxy, Mbit/s', 'Linux, Mbit/s', 'ratio', `≥ ${WANTED}`, 'netproxy, s', 'Linux, s'];
  const rows = chosen.map((entry) => row(entry, results[entry.id]));
  conclude(options, results, `### A bad cable\n\n${markdown(head, rows)}`);
}

await main(process.argv.slice(2));
process.exit(0);
