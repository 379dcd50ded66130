/**
 * `npm test`: makes the clone ready, then runs the suites of vitest.config.ts one after the other, at reduced counts.
 *
 *   node scripts/test.mjs [SUITE…] [--soak] [-- VITEST ARGUMENTS]
 *
 * --soak runs at full counts (NETPROXY_COUNTS=full) and adds the suite `soak`. A suite that crashes or hangs counts as
 * a failure and the next one runs. Reports: .reports/SUITE.json and .reports/summary.json. The last line reads
 * `N passed, N failed`; exit code 1 where anything failed, or where nothing ran.
 *
 * Files in which something failed run once more, alone: what passes then counts as passed and is named as unsteady, in
 * the summary and in the suite's notes. It is a bug of the test or of the code all the same.
 *
 * Environment: NETPROXY_REQUIRE_ALL=1 makes a test fail that would be skipped because the machine lacks something.
 */
import fs from 'node:fs';
import path from 'node:path';
import { bootstrap } from './bootstrap.mjs';
import { failedFiles, readCheck, readVitest, rescued, table } from './reports.mjs';
import { ROOT, isMain, listFiles, run, since, writeText } from './tools.mjs';

export const REPORTS = path.join(ROOT, '.reports');
const VITEST = path.join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');

/** The suites in their order: where their files are, the longest they may take, reduced and full. */
export const SUITES = {
  unit: { folder: 'src', seconds: 300, fullSeconds: 1800 },
  project: { folder: 'test/project', seconds: 240, fullSeconds: 600 },
  interop: { folder: 'test/interop', seconds: 300, fullSeconds: 1800 },
  netns: { folder: 'test/netns', seconds: 720, fullSeconds: 3600 },
  vm: { folder: 'test/vm', seconds: 480, fullSeconds: 3600 },
  soak: { folder: 'test/soak', fullSeconds: 7200 },
};

/** More failing files than this are no accident of timing: they do not run a second time. */
const UNSTEADY_FILES = 4;

/**
 * Runs one suite to its end and returns its counts.
 *
 * @param {string} name a key of SUITES
 * @param {{ node?: string, report?: string, full?: boolean, args?: string[] }} [options] `node` runs vitest with another
 *   Node; `report` names the report otherwise than the suite
 */
export async function runSuite(
  name,
  { node = process.execPath, report = name, full = false, args = [] } = {},
) {
  const start = performance.now();
  const seconds = full ? SUITES[name].fullSeconds : SUITES[name].seconds;
  const vitest = async (as, ...more) => {
    const file = path.join(REPORTS, `${as}.json`);
    fs.rmSync(file, { force: true });
    const result = await run([node, VITEST, 'run', '--project', name, ...args, ...more], {
      env: {
        NETPROXY_REPORT: as,
        NETPROXY_COUNTS: full ? 'full' : (process.env.NETPROXY_COUNTS ?? 'reduced'),
      },
      seconds,
    });
    return { file, counts: readVitest(file, result) };
  };
  const first = await vitest(report);
  const files = failedFiles(first.file);
  let { counts } = first;
  if (files.length > 0 && files.length <= UNSTEADY_FILES && !process.exitCode) {
    console.log(`\n${files.length} of the files failed; once more, alone: ${files.join(' ')}`);
    const second = await vitest(`${report}-again`, '--maxWorkers=1', ...files);
    counts = rescued(first, second);
  }
  return { name: report, ...counts, time: since(start) };
}

const hasTests = (name) =>
  listFiles(path.join(ROOT, SUITES[name].folder), (file) => file.endsWith('.test.ts')).length > 0;

function parse(args) {
  const dashes = args.indexOf('--');
  const own = dashes < 0 ? args : args.slice(0, dashes);
  const names = own.filter((arg) => arg !== '--soak');
  const unknown = names.filter((name) => !Object.hasOwn(SUITES, name));
  return { names, full: own.includes('--soak'), rest: dashes < 0 ? [] : args.slice(dashes + 1), unknown };
}

async function main(args) {
  const { names, full, rest, unknown } = parse(args);
  if (unknown.length > 0) {
    console.error(
      `netproxy: unknown suite ${unknown.join(' ')}; allowed: ${Object.keys(SUITES).join(' ')} --soak`,
    );
    return 2;
  }
  const chosen = names.length > 0 ? names : Object.keys(SUITES).filter((name) => name !== 'soak' || full);
  const suites = [];
  // Written after every suite: whoever ends this run still learns what the suites before that counted.
  const record = (suite) => {
    suites.push(suite);
    writeText(path.join(REPORTS, 'summary.json'), `${JSON.stringify(suites, null, 2)}\n`);
  };
  const steps = chosen.every((name) => name === 'unit') ? ['packages'] : [];
  fs.rmSync(path.join(REPORTS, 'summary.json'), { force: true });
  const start = performance.now();
  if (await bootstrap(steps, { quiet: true })) {
    for (const name of chosen.filter(hasTests)) {
      console.log(`\n── ${name} ──`);
      record(await runSuite(name, { full, args: rest }));
      if (process.exitCode === 130) break;
    }
  } else {
    record({ name: 'bootstrap', ...readCheck({ code: 1, why: 'see above' }), time: since(start) });
  }
  console.log(`\n${table(suites)}`);
  return process.exitCode === 130 ? 130 : verdict(suites);
}

/** 0 where at least one test passed and none failed. */
export function verdict(suites) {
  return suites.some((suite) => suite.failed > 0) || !suites.some((suite) => suite.passed > 0) ? 1 : 0;
}

if (isMain(import.meta.url)) process.exitCode = await main(process.argv.slice(2));
