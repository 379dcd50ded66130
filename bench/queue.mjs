/**
 * One upload at MTU 1500 over a TAP with the kernel's own queue of 1,000 frames, and with one of 20,000: what the guest's
 * kernel sends again, and whether the short queue costs speed. With offloads (`netproxy-tap`) and without (`netproxy`, as a
 * virtual machine's frames come), and the rivals that open or get a TAP, one after the other in each round.
 *
 *   npm run bench -- queue [--reps 5] [--secs 10] [--peers netproxy,netproxy-tap,passt,pasta] [--json FILE] [--tree DIR]
 */
import { grown, kernelCounters } from './lib/kernel-counters.mjs';
import { bulk } from './lib/metrics.mjs';
import { PEERS } from './lib/peers.mjs';
import { NetproxyPlain, plainTap } from './lib/plain-tap.mjs';
import { median } from './lib/results.mjs';
import { begin, bringUp, conclude } from './lib/small-bench.mjs';
import { markdown, short } from './lib/table.mjs';
import { buildTools } from './lib/tools.mjs';

const QUEUES = [1000, 20_000];
const COUNTED = ['RetransSegs', 'TCPTimeouts'];
/** Retransmissions in 10 s that are still well. */
const MOST = 100;

async function upload(lab, queue, secs) {
  plainTap(lab, queue);
  const before = kernelCounters(lab.guest);
  const drops = () => JSON.parse(lab.ipGuest('-s', '-j', 'link', 'show', 'tap0'))[0].stats64.tx.dropped;
  const dropsBefore = drops();
  const { value, cpu } = await bulk(lab, 'up', 1, { secs, warm: 0.5 });
  return { gbps: value, cpu, drops: drops() - dropsBefore, ...grown(lab.guest, before, COUNTED) };
}

function rows(results, secs) {
  return Object.entries(results).map(([peer, byQueue]) => {
    const of = (queue, key) => median(byQueue[queue].map((sample) => sample[key]));
    const [few, many] = QUEUES.map((queue) => of(queue, 'gbps'));
    const again = (of(1000, 'RetransSegs') * 10) / secs;
    const all = byQueue[1000].map((sample) => sample.RetransSegs).sort((a, b) => a - b);
    const cells = [
      short(few),
      short(many),
      short(few / many),
      short(again),
      again < MOST ? 'met' : 'NOT met',
    ];
    return [peer, ...cells, all.join(' ')];
  });
}

async function main(argv) {
  const options = begin(argv, { reps: 5, secs: 10, peers: 'netproxy,netproxy-tap' });
  const setup = { tools: buildTools(), mtu: 1500, tree: options.tree };
  const results = {};
  const labs = [];
  try {
    for (const name of options.peers.split(',')) {
      labs.push(await bringUp(name === 'netproxy' ? NetproxyPlain : PEERS.get(name), setup));
      results[name] = Object.fromEntries(QUEUES.map((queue) => [queue, []]));
    }
    for (let rep = 0; rep < options.reps; rep++)
      for (const queue of QUEUES)
        for (const lab of labs) {
          const { label } = lab.peer.constructor;
          const sample = await upload(lab, queue, options.secs);
          results[label][queue].push(sample);
          process.stderr.write(`  ${label.padEnd(13)} queue ${queue}  ${JSON.stringify(sample)}\n`);
        }
  } finally {
    for (const lab of labs) await lab.down();
  }
  const head = ['', '1,000: Gbit/s', '20,000: Gbit/s', 'ratio', 'sent again in 10 s', `< ${MOST}`, 'runs'];
  conclude(
    options,
    results,
    `### One upload, MTU 1500, by the TAP's queue\n\n${markdown(head, rows(results, options.secs))}`,
  );
}

await main(process.argv.slice(2));
process.exit(0);
