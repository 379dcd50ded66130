/**
 * What three busy guests keep of their throughput and of their DNS when the fourth floods instead of working as they do:
 * four guests on one netproxy; three are Linux on TAPs that download and ask the gateway's DNS for names that it has to
 * relay. The fourth does the same (the fair part), or floods its stream link as fast as it takes it (test/netns/garbage.mjs).
 *
 *   npm run bench -- hostile [--reps 3] [--secs 2] [--floods addresses,fragments,syns,datagrams] [--way down|up] [--json FILE] [--tree DIR]
 */
import path from 'node:path';
import { Lab, TARGET } from './lib/lab.mjs';
import { PEERS } from './lib/peers.mjs';
import { median } from './lib/results.mjs';
import { begin, bringUp, conclude } from './lib/small-bench.mjs';
import { markdown, short } from './lib/table.mjs';
import { ROOT, buildTools, cpuSeconds, memoryKiB, sh, sleep } from './lib/tools.mjs';

const TESTS = path.join(ROOT, 'test', 'netns');
const GUESTS = 4;
const VICTIMS = 3;
const SUBNET = '192.168.127';
/** One port of the host for each guest. */
const BULK = 5401;
/** What the others have to keep of their throughput, and how much longer their DNS may take. */
const WANTED = { share: 0.8, delay: 3 };
/** Of `--secs`: how long loads run before they are measured, and how often each guest asks DNS, ms. */
const WARM = 1;
const ASK_EVERY = 5;

class Crowded extends PEERS.get('netproxy-tap') {
  static label = 'netproxy, four guests';

  launch() {
    const { lab } = this;
    this.guests = [lab.guest, ...Array.from({ length: GUESTS - 1 }, () => lab.addGuest())];
    const taps = this.guests.map((name) => ({ name: 'tap0', netns: Lab.path(name) }));
    const request = {
      config: { subnet: `${SUBNET}.0/24` },
      taps,
      qemu: `unix:${lab.file('flood.sock')}`,
    };
    const script = path.join(lab.tree, 'test', 'netns', 'library.mjs');
    return this.spawn([process.execPath, ...(this.options.node ?? []), script, JSON.stringify(request)], {
      env: { NETPROXY_NO_VSOCK: '1', ...this.options.env },
      input: true,
    });
  }

  async start() {
    const child = this.launch();
    await child.json((line) => line.ready !== undefined, 20);
    this.victims = this.guests.map((name, i) => {
      const ip = `${SUBNET}.${i + 2}`;
      sh('ip', '-n', name, 'link', 'set', 'tap0', 'mtu', String(this.lab.mtu), 'up');
      sh('ip', '-n', name, 'addr', 'replace', `${ip}/24`, 'dev', 'tap0');
      sh('ip', '-n', name, 'route', 'replace', 'default', 'via', this.gateway);
      const [{ address }] = JSON.parse(sh('ip', '-n', name, '-j', 'link', 'show', 'tap0'));
      return { name, ip, mac: address };
    });
  }
}

/** A guest that works: it transfers all the time, and asks DNS. */
class Worker {
  constructor(lab, index, { way, secs, warm }) {
    const { nettool } = lab.tools;
    const { name } = lab.peer.victims[index];
    const common = [String(BULK + index), '1', String(secs), String(warm), '0'];
    const [listens, connects] = way === 'down' ? ['send', 'recv'] : ['recv', 'send'];
    this.listener = lab.onHost(nettool, 'bulk', 'listen', listens, '0.0.0.0', ...common);
    this.begin = () => {
      this.guest = lab.run(name, [nettool, 'bulk', 'connect', connects, TARGET, ...common]);
      this.receiver = way === 'down' ? this.guest : this.listener;
    };
    this.ask = () => {
      this.asker = lab.run(name, [nettool, 'ask', lab.peer.gateway, String(secs), String(ASK_EVERY)]);
    };
    this.secs = secs;
  }

  /** When it has transferred for a while, its questions begin. */
  async warm() {
    await this.receiver.event('start', 30);
    this.ask();
  }

  async result() {
    const { gbps } = await this.receiver.result(this.secs + 20);
    const dns = await this.asker.result(this.secs + 20);
    return { gbps, p99: dns.p99, p50: dns.p50, lost: dns.asked - dns.answered };
  }

  async end() {
    await Promise.all([this.guest?.kill(), this.listener.kill(), this.asker?.kill()]);
  }
}

function startFlood(lab, flood, secs) {
  const { victims, gateway } = lab.peer;
  const request = {
    ...{ path: lab.file('flood.sock'), seconds: secs, seed: 7, mac: '02:00:00:00:66:66', flood },
    ...{ gateway, guest: `${SUBNET}.99`, peer: TARGET, victims: victims.slice(0, VICTIMS) },
  };
  return lab.onHost(process.execPath, path.join(TESTS, 'garbage.mjs'), JSON.stringify(request));
}

/** One part: the three, beside a fourth that works or floods. */
async function part(lab, flood, { way, secs }) {
  const busy = flood === undefined ? GUESTS : VICTIMS;
  const workers = Array.from({ length: busy }, (_, i) => new Worker(lab, i, { way, secs, warm: WARM }));
  let attacker;
  try {
    await Promise.all(workers.map(({ listener }) => listener.event('listening')));
    if (flood !== undefined) {
      attacker = startFlood(lab, flood === 'all' ? undefined : flood, secs + WARM + 8);
      await sleep(500);
    }
    for (const worker of workers) worker.begin();
    await Promise.all(workers.map((worker) => worker.warm()));
    const before = lab.cpu().peer;
    const attackerCpu = attacker === undefined ? 0 : cpuSeconds(attacker.pid);
    const all = await Promise.all(workers.map((worker) => worker.result()));
    const cpu = lab.cpu().peer - before;
    const others = all.slice(0, VICTIMS);
    return {
      gbps: others.map(({ gbps }) => gbps),
      p99: others.map(({ p99 }) => p99),
      lost: others.reduce((sum, { lost }) => sum + lost, 0),
      cpu: cpu / secs,
      attackerCpu: attacker === undefined ? 0 : (cpuSeconds(attacker.pid) - attackerCpu) / secs,
      memoryMiB: memoryKiB(lab.peers[0].pid, 'VmHWM') / 1024,
    };
  } finally {
    await Promise.all(workers.map((worker) => worker.end()));
    await attacker?.kill();
    await sleep(300);
  }
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

async function main(argv) {
  const options = begin(argv, {
    reps: 3,
    secs: 2,
    floods: 'addresses,fragments,syns,datagrams',
    way: 'down',
  });
  const setup = { tools: buildTools(), mtu: 1500, tree: options.tree };
  const results = {};
  const lab = await bringUp(Crowded, setup);
  try {
    // Once without, so that the compiler has done its work.
    await part(lab, undefined, { ...options, secs: 1 });
    for (let rep = 0; rep < options.reps; rep++)
      for (const flood of options.floods.split(',')) {
        const fair = await part(lab, undefined, options);
        const beside = await part(lab, flood, options);
        const share = mean(beside.gbps) / mean(fair.gbps);
        const least = Math.min(...beside.gbps) / mean(fair.gbps);
        const delay = Math.max(...beside.p99) / Math.max(...fair.p99);
        (results[flood] ??= []).push({ fair, beside, share, least, delay });
        process.stderr.write(`  ${flood.padEnd(10)} ${JSON.stringify({ share, delay, fair, beside })}\n`);
      }
  } finally {
    await lab.down();
  }
  const rows = Object.entries(results).map(([flood, samples]) => {
    const of = (key) =>
      median(samples.map((sample) => (typeof key === 'string' ? sample[key] : key(sample))));
    const [share, delay] = [of('share'), of('delay')];
    return [
      flood,
      short(of(({ fair }) => mean(fair.gbps))),
      short(of(({ beside }) => mean(beside.gbps))),
      short(share),
      short(of('least')),
      share >= WANTED.share ? 'met' : 'NOT met',
      short(of(({ fair }) => Math.max(...fair.p99))),
      short(of(({ beside }) => Math.max(...beside.p99))),
      short(delay),
      delay <= WANTED.delay ? 'met' : 'NOT met',
      short(of(({ beside }) => beside.attackerCpu)),
      short(of(({ beside }) => beside.memoryMiB)),
    ];
  });
  const head = [
    ...['', 'fair, Gbit/s a guest', 'beside it', 'kept', 'least', `≥ ${WANTED.share}`],
    ...['DNS p99 fair, ms', 'beside it', 'times', `≤ ${WANTED.delay}`, "flood's CPUs", 'memory, MiB'],
  ];
  conclude(options, results, `### Three busy guests beside one that floods\n\n${markdown(head, rows)}`);
}

await main(process.argv.slice(2));
process.exit(0);
