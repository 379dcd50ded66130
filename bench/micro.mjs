/** The micro benchmarks, in a process of their own: the parts of the data path without any kernel. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { missingBuild } from './lib/peers.mjs';
import { markdown, short } from './lib/table.mjs';
import { BENCH, BenchError } from './lib/tools.mjs';

/** A nursery in which no collection comes while something is timed. */
const FLAGS = ['--expose-gc', '--min-semi-space-size=256', '--max-semi-space-size=256'];

/** @returns {{ name: string, ns?: number, heap?: number, gbps?: number, error?: string }[]} */
export function micro({ tree, quick }) {
  const missing = missingBuild(tree);
  if (missing !== undefined) throw new BenchError(missing);
  const argv = [...FLAGS, path.join(BENCH, 'micro', 'run.mjs'), tree, quick ? '0.2' : '1'];
  const { stdout, stderr, status } = spawnSync(process.execPath, argv, {
    encoding: 'utf8',
    timeout: 300_000,
    maxBuffer: 1 << 24,
  });
  if (status !== 0)
    throw new BenchError(`micro benchmarks: ${stderr.trim().split('\n').at(-1) || `exit ${status}`}`);
  return JSON.parse(stdout.trim().split('\n').at(-1)).map(tidy);
}

const tidy = (result) =>
  Object.fromEntries(
    Object.entries(result).map(([key, value]) => [
      key,
      typeof value === 'number' ? Number(value.toPrecision(4)) : value,
    ]),
  );

export function microTable(results) {
  const rows = results.map(({ name, ns, heap, gbps, error }) =>
    error === undefined
      ? [name, short(ns), heap === undefined ? '' : short(heap < 0.5 ? 0 : heap), short(gbps)]
      : [name, `failed: ${error}`],
  );
  return markdown(['one operation', 'ns', 'heap bytes', 'Gbit/s'], rows);
}
