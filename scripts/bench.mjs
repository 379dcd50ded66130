/**
 * `npm run bench`: makes the clone ready, then runs the benchmarks, each a program bench/NAME.mjs.
 *
 *   node scripts/bench.mjs [NAME…] [-- ARGUMENTS FOR EACH]
 */
import path from 'node:path';
import { bootstrap } from './bootstrap.mjs';
import { ROOT, listFiles, run } from './tools.mjs';

const args = process.argv.slice(2);
const dashes = args.indexOf('--');
const wanted = dashes < 0 ? args : args.slice(0, dashes);
const rest = dashes < 0 ? [] : args.slice(dashes + 1);
const programs = listFiles(
  path.join(ROOT, 'bench'),
  (file) => path.dirname(file) === path.join(ROOT, 'bench'),
)
  .filter((file) => file.endsWith('.mjs'))
  .map((file) => path.basename(file, '.mjs'));
const unknown = wanted.filter((name) => !programs.includes(name));

if (unknown.length > 0) {
  console.error(`netproxy: no benchmark ${unknown.join(' ')}; there is: ${programs.join(' ') || 'none'}`);
  process.exitCode = 2;
} else if (!(await bootstrap([], { quiet: true }))) {
  process.exitCode = 1;
} else {
  let failed = programs.length === 0;
  for (const name of wanted.length > 0 ? wanted : programs) {
    console.log(`\n── ${name} ──`);
    const command = [process.execPath, path.join(ROOT, 'bench', `${name}.mjs`), ...rest];
    const result = await run(command, { output: 'inherit', env: { NETPROXY_NO_VSOCK: '1' } });
    failed ||= result.code !== 0;
  }
  process.exitCode = failed ? 1 : 0;
}
