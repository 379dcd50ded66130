/** What the kernel of a network namespace has counted. */
import { sh } from './tools.mjs';

/** Counters of /proc/net/snmp and netstat by name, such as RetransSegs or TCPTimeouts. */
export function kernelCounters(netns) {
  const text = sh('ip', 'netns', 'exec', netns, 'cat', '/proc/net/snmp', '/proc/net/netstat');
  const lines = text
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  const all = new Map();
  for (let i = 0; i + 1 < lines.length; i += 2)
    lines[i].forEach((name, k) => all.set(name, Number(lines[i + 1][k])));
  return all;
}

/** What each of `names` has grown by since `before`. */
export function grown(netns, before, names) {
  const after = kernelCounters(netns);
  return Object.fromEntries(names.map((name) => [name, (after.get(name) ?? 0) - (before.get(name) ?? 0)]));
}
