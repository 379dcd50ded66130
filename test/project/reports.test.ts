/**
 * How test runs are counted (scripts/reports.mjs): a crash is never a success.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { readCargo, readCheck, readVitest, table } from '../../scripts/reports.mjs';

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
