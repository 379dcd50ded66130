/**
 * `npm run check`: types, lint with the import walls, format and the fast tests. All of them run; exit code 1 where one
 * fails.
 */
import { bootstrap } from './bootstrap.mjs';
import { readCheck, table } from './reports.mjs';
import { isMain, npmCommand, run, since } from './tools.mjs';
import { runSuite, verdict } from './test.mjs';

/** The checks of the text, each an npm script. */
export const CHECKS = ['types', 'lint', 'format:check'];

/** Runs an npm script that passes or fails as a whole. */
export async function runCheck(script) {
  const start = performance.now();
  const result = await run(npmCommand(['run', '--silent', script]), { seconds: 300 });
  return { name: script, ...readCheck(result), time: since(start) };
}

async function main() {
  if (!(await bootstrap(['packages'], { quiet: true }))) return 1;
  const results = [];
  for (const script of CHECKS) results.push(await runCheck(script));
  results.push(await runSuite('unit'));
  console.log(`\n${table(results)}`);
  return verdict(results);
}

if (isMain(import.meta.url)) process.exitCode = await main();
