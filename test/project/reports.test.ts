/**
 * How test runs are counted (scripts/reports.mjs): a crash is never a success.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { failedFiles, readCargo, readCheck, readVitest, rescued, table } from '../../scripts/reports.mjs';
import { ROOT } from '../../scripts/tools.mjs';

const ended = { code: 0, why: 'exit 0', text: '' };
const crashed = { code: 1, why: 'exit 1', text: '' };

function report(numPassedTests: number, testResults: object[] = []): string {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'netproxy-report-')), 'report.json');
  const counts = { numPassedTests, numFailedTests: 0, numPendingTests: 1, numTodoTests: 0 };
  fs.writeFileSync(file, JSON.stringify({ ...counts, testResults }));
  return file;
}

it('counts what vitest reports', () => {
  expect(readVitest(report(3), ended)).toEqual({ passed: 3, failed: 0, skipped: 1, notes: [] });
});

it('counts a run without report, a file that did not load and a crash between tests as failures', () => {
  expect(readVitest('/nonexistent', crashed).failed).toBe(1);
  expect(readVitest('/nonexistent', ended).failed).toBe(1);
  expect(readVitest(report(3, [{ name: 'a', status: 'failed', assertionResults: [] }]), crashed).failed).toBe(
    1,
  );
  expect(readVitest(report(3), crashed)).toMatchObject({ passed: 3, failed: 1 });
});

it('counts a test that failed and passed when it ran again, and says which', () => {
  const name = path.join(ROOT, 'src/a.test.ts');
  const file = (status: string) =>
    report(3, [{ name, status, assertionResults: [{ status, fullName: 'a b' }] }]);
  const counts = { passed: 3, failed: 1, skipped: 1, notes: [] };
  const first = { file: file('failed'), counts };
  const again = (failed: number) => ({ file: '', counts: { passed: 1, failed, skipped: 0, notes: [] } });
  expect(failedFiles(first.file)).toEqual(['src/a.test.ts']);
  expect(failedFiles('/nonexistent')).toEqual([]);
  const note = 'unsteady: failed once, passed when run again: src/a.test.ts: a b';
  expect(rescued(first, again(0))).toEqual({ passed: 4, failed: 0, skipped: 1, notes: [note] });
  expect(rescued(first, again(1))).toBe(counts);
  // A failure that no test explains stays one.
  expect(rescued({ file: file('passed'), counts }, again(0))).toBe(counts);
});

it('adds up the binaries of cargo test', () => {
  const text =
    'test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured\n' +
    'test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured\n';
  expect(readCargo({ ...crashed, text })).toEqual({ passed: 6, failed: 1, skipped: 1, notes: [] });
  expect(readCargo(crashed).failed).toBe(1);
});

it('closes with the sums', () => {
  const suites = [
    { name: 'a', ...readCheck(ended), time: '1 s' },
    { name: 'b', ...readCheck(crashed), time: '1 s' },
  ];
  expect(table(suites).split('\n').at(-1)).toBe('1 passed, 1 failed');
});
