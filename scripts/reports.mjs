/**
 * What the runners reported, as counts: { passed, failed, skipped, notes }.
 */
import path from 'node:path';
import { ROOT, readJson } from './tools.mjs';

/** Counts of vitest's JSON report; a run that crashed, or could not load a file, has at least one failure. */
export function readVitest(file, { code, why }) {
  const report = readJson(file);
  if (!report) return { passed: 0, failed: 1, skipped: 0, notes: [`no report (${why})`] };
  const unloaded = report.testResults.filter(
    (result) =>
      result.status === 'failed' && !result.assertionResults.some((test) => test.status === 'failed'),
  );
  const counts = {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloaded.length,
    skipped: report.numPendingTests + report.numTodoTests,
    notes: unloaded.map((result) => `could not run ${result.name}`),
  };
  if (code !== 0 && counts.failed === 0) {
    counts.failed = 1;
    counts.notes.push(`the runner failed outside of a test (${why})`);
  }
  return counts;
}

/** The test files with a failure, as vitest's JSON report names them; none where there is no report. */
export function failedFiles(file) {
  const results = readJson(file)?.testResults ?? [];
  return results
    .filter((result) => result.status === 'failed')
    .map((result) => path.relative(ROOT, result.name));
}

/**
 * The counts of a run whose failing files ran a second time: a test that failed first and passed then counts as passed,
 * with a note that names it. Anything else counts as the first run said.
 *
 * @param {{ file: string, counts: object }} first
 * @param {{ file: string, counts: object }} second
 */
export function rescued(first, second) {
  const before = failures(first.file);
  if (second.counts.failed > 0 || second.counts.passed === 0 || first.counts.failed !== before.length)
    return first.counts;
  return {
    ...first.counts,
    passed: first.counts.passed + first.counts.failed,
    failed: 0,
    notes: before.map((name) => `unsteady: failed once, passed when run again: ${name}`),
  };
}

/** The names of the tests that failed. */
function failures(file) {
  const results = readJson(file)?.testResults ?? [];
  return results.flatMap((result) =>
    result.assertionResults
      .filter((test) => test.status === 'failed')
      .map((test) => `${path.relative(ROOT, result.name)}: ${test.fullName}`),
  );
}

/** Counts of cargo test's closing lines, one for each test binary. */
export function readCargo({ code, why, text }) {
  const counts = { passed: 0, failed: 0, skipped: 0, notes: [] };
  for (const line of text.matchAll(/^test result: .*?(\d+) passed; (\d+) failed; (\d+) ignored/gm)) {
    counts.passed += Number(line[1]);
    counts.failed += Number(line[2]);
    counts.skipped += Number(line[3]);
  }
  if (code !== 0 && counts.failed === 0) {
    counts.failed = 1;
    counts.notes.push(`cargo failed outside of a test (${why})`);
  }
  return counts;
}

/** A command that passes or fails as a whole. */
export function readCheck({ code, why }) {
  return code === 0
    ? { passed: 1, failed: 0, skipped: 0, notes: [] }
    : { passed: 0, failed: 1, skipped: 0, notes: [why] };
}

/** The suites' counts as a table, and their sums as the closing line `N passed, N failed[, N skipped]`. */
export function table(suites) {
  const sum = (key) => suites.reduce((total, suite) => total + suite[key], 0);
  const width = Math.max(...suites.map((suite) => suite.name.length), 0);
  const rows = suites.map((suite) => {
    const counts = `${suite.passed} passed, ${suite.failed} failed, ${suite.skipped} skipped`;
    return [
      `  ${suite.name.padEnd(width)}  ${counts}, ${suite.time}`,
      ...suite.notes.map((note) => `    ${note}`),
    ];
  });
  const skipped = sum('skipped') > 0 ? `, ${sum('skipped')} skipped` : '';
  return [...rows.flat(), `${sum('passed')} passed, ${sum('failed')} failed${skipped}`].join('\n');
}
