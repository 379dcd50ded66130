/**
 * What a guest keeps of its speed while another one attacks, and what the attack costs in memory: netproxy with a Linux on
 * a TAP that transfers, and an attacker on a stream link (test/netns/attacker.mjs), each attack measured directly after the same
 * transfer without it.
 *
 *   npm run bench -- attacks [--reps 3] [--secs 2] [--attacks syn-flood,…] [--json FILE] [--tree DIR]
 */
import path from 'node:path';
import { ECHO, Lab, TARGET } from './lib/lab.mjs';
import { bulk } from './lib/metrics.mjs';
import { PEERS } from './lib/peers.mjs';
import { median } from './lib/results.mjs';
import { begin, bringUp, conclude } from './lib/small-bench.mjs';
import { markdown, short } from './lib/table.mjs';
import { Child, ROOT, buildTools, cpuSeconds, memoryKiB, sh, sleep } from './lib/tools.mjs';

const TESTS = path.join(ROOT, 'test', 'netns');
const WEB = 8080;
const DISCARD = 8009;
const NEAR = '10.99.2.1';
const FAR = '10.99.2.2';
/** What a guest has to keep of its speed. */
const WANTED = 0.5;

/** How many connections or segments each attack is made of; it begins anew until the measurement is over. */
const ATTACKS = {
  'syn-flood': 100_000,
  'zero-window': 10_000,
  tiny: 1_000_000,
  holes: 1_000_000,
  overlap: 1_000_000,
  acks: 1_000_000,
  sack: 1_000_000,
  spoof: 1_000_000,
};

class Attacked extends PEERS.get('netproxy-tap') {
  static label = 'netproxy';

  launch() {
    const { lab } = this;
    return this.serve(
      '--netns',
      Lab.path(lab.guest),
      '--tap',
      'tap0',
      '--qemu',
      `unix:${lab.file('attack.sock')}`,
    );
  }
}

function startAttack(lab, attack, count, secs) {
  const request = {
    ...{
      attack,
      count,
      secs,
      path: lab.file('attack.sock'),
      guest: '192.168.127.99',
      victim: lab.peer.guest,
    },
    ...{
      gateway: lab.peer.gateway,
      peer: attack === 'zero-window' ? FAR : TARGET,
      ports: attack === 'syn-flood' ? { web: ECHO, discard: ECHO + 1 } : { web: WEB, discard: DISCARD },
    },
  };
  return new Child(
    [
      'ip',
      'netns',
      'exec',
      lab.host,
      process.execPath,
      path.join(TESTS, 'attacker.mjs'),
      JSON.stringify(request),
    ],
    { input: true },
  );
}

/**
 * A host beside netproxy's, at FAR: servers that an attack holds open are other machines. As all share one kernel here, and its
 * memory for TCP (tcp_mem), these send from little of it; its name.
 */
function farHost(lab) {
  const name = lab.addGuest();
  sh('ip', 'netns', 'exec', name, 'sysctl', '-qw', 'net.ipv4.tcp_wmem=4096 16384 65536');
  lab.ipHost('link', 'add', 'far0', 'type', 'veth', 'peer', 'name', 'far1', 'netns', name);
  lab.ipHost('addr', 'add', `${NEAR}/30`, 'dev', 'far0');
  lab.ipHost('link', 'set', 'far0', 'up');
  sh('ip', '-n', name, 'addr', 'add', `${FAR}/30`, 'dev', 'far1');
  sh('ip', '-n', name, 'link', 'set', 'far1', 'up');
  return name;
}

/** Until the attack's connections are there and have taken what they take: TCP's memory stands still for a second. */
async function filled(lab) {
  const sockets = () => sh('ip', 'netns', 'exec', lab.host, 'grep', '^TCP', '/proc/net/sockstat');
  let last = '';
  for (let same = 0, tries = 0; same < 4 && tries < 120; tries++) {
    const now = sockets();
    same = now === last ? same + 1 : 0;
    last = now;
    await sleep(250);
  }
  process.stderr.write(`  ${last.trim()}\n`);
}

/** A fresh netproxy, the transfer alone, then beside the attack. */
async function measure(setup, attack, count, way, secs) {
  const lab = await bringUp(Attacked, setup);
  let attacker;
  try {
    const address = attack === 'zero-window' ? FAR : TARGET;
    const listen = { address, quiet: true };
    const servers = {
      web: { kind: 'http', ...listen, port: WEB },
      discard: { kind: 'tcp-discard', ...listen, port: DISCARD },
    };
    const command = [process.execPath, path.join(TESTS, 'peer.mjs'), JSON.stringify(servers), '--stay'];
    const server = lab.run(attack === 'zero-window' ? farHost(lab) : lab.host, command);
    lab.servers.push(server);
    await server.json((line) => line.ready !== undefined, 10);
    const { pid } = lab.peers[0];
    const options = { secs, warm: 0.5 };
    const alone = await bulk(lab, way, 1, options);
    const before = memoryKiB(pid);
    attacker = startAttack(lab, attack, count, 2 * secs + (attack === 'zero-window' ? 60 : 6));
    await attacker.json((line) => line.begun, 20);
    await sleep(500);
    if (attack === 'zero-window') await filled(lab);
    const attackerCpu = cpuSeconds(attacker.pid);
    const beside = await bulk(lab, way, 1, options);
    return {
      alone: alone.value,
      beside: beside.value,
      ratio: beside.value / alone.value,
      perCpu: beside.gbit / beside.cpu / (alone.gbit / alone.cpu),
      attackerCpu: (cpuSeconds(attacker.pid) - attackerCpu) / secs,
      grownMiB: (memoryKiB(pid, 'VmHWM') - before) / 1024,
      over: lab.peers[0].over === true,
    };
  } finally {
    await attacker?.kill();
    await lab.down();
  }
}

async function main(argv) {
  const options = begin(argv, {
    reps: 3,
    secs: 2,
    attacks: Object.keys(ATTACKS).join(),
    ways: 'down,up',
    scale: 1,
  });
  const setup = { tools: buildTools(), mtu: 1500, tree: options.tree };
  const results = {};
  for (let rep = 0; rep < options.reps; rep++)
    for (const attack of options.attacks.split(','))
      for (const way of options.ways.split(',')) {
        const sample = await measure(
          setup,
          attack,
          Math.ceil(ATTACKS[attack] * options.scale),
          way,
          options.secs,
        );
        (results[`${attack}, ${way}`] ??= []).push(sample);
        process.stderr.write(`  ${attack.padEnd(12)} ${way.padEnd(5)} ${JSON.stringify(sample)}\n`);
      }
  const rows = Object.entries(results).map(([name, samples]) => {
    const of = (key) => median(samples.map((sample) => sample[key]));
    const ratio = of('ratio');
    const kept = ratio >= WANTED ? 'met' : 'NOT met';
    return [
      name,
      short(of('alone')),
      short(of('beside')),
      short(ratio),
      kept,
      short(of('perCpu')),
      short(of('attackerCpu')),
      short(of('grownMiB')),
    ];
  });
  const head = [
    '',
    'alone, Gbit/s',
    'beside it',
    'kept',
    `≥ ${WANTED}`,
    'kept per CPU-second',
    "attacker's CPUs",
    'memory, MiB more',
  ];
  conclude(options, results, `### Under attack from another guest\n\n${markdown(head, rows)}`);
}

await main(process.argv.slice(2));
process.exit(0);
