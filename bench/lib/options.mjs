/** The command line of the bench. */
import path from 'node:path';
import { METRICS, SPECIAL } from './metrics.mjs';
import { PEERS } from './peers.mjs';
import { BenchError, ROOT } from './tools.mjs';

const GROUPS = [...new Set(METRICS.map((metric) => metric.group)), ...SPECIAL];

const names = (role) => [...PEERS.values()].filter((peer) => peer.role === role).map((peer) => peer.label);

export const HELP = `npm run bench -- [micro] [macro] [OPTIONS]     both without a name
npm run bench -- profile METRIC [OPTIONS]       where netproxy's time goes
npm run bench -- chart [FILE]                   docs/bench.svg and docs/performance.md from bench/baseline.json

  --peers a,b      rivals: ${names('rival').join(', ')} (default: all that are installed)
  --ours a,b       netproxy's own: ${names('ours').join(', ')} (default: all)
  --floors a,b     ${names('floor').join(', ')} (default: all; none: none)
  --metrics a,b    groups or names: ${GROUPS.join(', ')} (default: all)
  --mtu a,b        default 1500,9000,65520; only TCP throughput is measured beyond the first
  --reps N         rounds over all peers, default 5
  --secs N         seconds a measurement, default 3
  --quick          one round of one second, MTU 1500 and 65520, without the slow metrics
  --json FILE      results as JSON; bench/baseline.json is made so
  --tree DIR       measure the netproxy of another checkout (built there)

Needs root, iproute2, gcc, procps (sysctl), dnsperf for the metrics dns, nginx, curl and squid for http, and the rivals' packages: passt, slirp4netns, qemu-system-x86.`;

/** Throws BenchError that names the argument. */
export function parseOptions(argv) {
  const given = { programs: [] };
  for (let i = 0; i < argv.length; i++) {
    const [flag, inline] = argv[i].split(/=(.*)/s);
    if (!flag.startsWith('--')) {
      given.programs.push(flag);
      continue;
    }
    const name = flag.slice(2);
    if (name === 'quick' || name === 'help') given[name] = true;
    else if (['peers', 'ours', 'floors', 'metrics', 'mtu', 'reps', 'secs', 'json', 'tree'].includes(name)) {
      given[name] = inline ?? argv[++i];
      if (given[name] === undefined) throw new BenchError(`${flag} needs a value`);
    } else throw new BenchError(`unknown option ${flag}\n\n${HELP}`);
  }
  const quick = given.quick === true;
  return {
    programs: given.programs,
    help: given.help === true,
    quick,
    rivals: choose(given.peers, names('rival'), '--peers'),
    rivalsAsked: given.peers !== undefined,
    ours: choose(given.ours, names('ours'), '--ours'),
    floors: choose(given.floors, names('floor'), '--floors'),
    metrics:
      given.metrics === undefined
        ? undefined
        : choose(given.metrics, [...GROUPS, ...METRICS.map((metric) => metric.id)], '--metrics'),
    mtus: (given.mtu ?? (quick ? '1500,65520' : '1500,9000,65520'))
      .split(',')
      .map((mtu) => number(mtu, '--mtu', 576, 65520)),
    reps: number(given.reps ?? (quick ? 1 : 5), '--reps', 1, 100),
    secs: number(given.secs ?? (quick ? 1 : 3), '--secs', 0.3, 600),
    json: given.json,
    tree: path.resolve(given.tree ?? ROOT),
  };
}

function choose(text, allowed, flag) {
  if (text === undefined) return allowed;
  if (text === 'none') return [];
  const chosen = text.split(',').filter(Boolean);
  const unknown = chosen.find((name) => !allowed.includes(name));
  if (unknown !== undefined)
    throw new BenchError(`${flag}: there is no "${unknown}"; there is ${allowed.join(', ')}`);
  return chosen;
}

function number(text, flag, least, most) {
  const value = Number(text);
  if (!(value >= least && value <= most))
    throw new BenchError(`${flag}: "${text}" is not a number from ${least} to ${most}`);
  return value;
}
