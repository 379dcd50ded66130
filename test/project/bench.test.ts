/**
 * The bench's own logic: options, medians, goals, tables, chart, and that its C programs build. No figures: a figure is
 * the bench's business.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { chart } from '../../bench/chart.mjs';
import { goals } from '../../bench/lib/goals.mjs';
import { parseOptions } from '../../bench/lib/options.mjs';
import { PEERS } from '../../bench/lib/peers.mjs';
import { Results, median } from '../../bench/lib/results.mjs';
import { goalTable, markdown, short, tables } from '../../bench/lib/table.mjs';
import { buildTools, which } from '../../bench/lib/tools.mjs';

const root = path.resolve(import.meta.dirname, '../..');

/** A run in which netproxy moves `ours` and every rival `theirs` Gbit/s. */
function summary(ours: number, theirs: number) {
  const results = new Results();
  const metric = { id: 'tcp_up_1', unit: 'Gbit/s' };
  for (const peer of ['netproxy-tap', 'pasta', 'slirp4netns']) {
    for (const factor of [0.5, 1, 10]) {
      const value = (peer === 'netproxy-tap' ? ours : theirs) * factor;
      results.add(metric, 1500, peer, { value, gbit: value, cpu: 2 });
    }
  }
  results.add(metric, 1500, 'passt', { error: 'it did not start' });
  return results.summary();
}

describe('bench', () => {
  it('takes the median, whatever the order', () => {
    expect(median([3, 1, 100])).toBe(3);
    expect(median([4, 1, 2, 100])).toBe(3);
    expect(median([])).toBeUndefined();
  });

  it('compares with the best rival of the same run', () => {
    const find = (ours: number) =>
      goals(summary(ours, 2)).find(({ what, want }) => what.startsWith('1  TAP 1500, up, 1') && want === 6);
    expect(find(12)).toMatchObject({ got: 6, met: true });
    expect(find(11.9)).toMatchObject({ met: false });
    expect(goals([]).every(({ met }) => met === undefined)).toBe(true);
  });

  it('shows medians, Gbit per CPU-second, failures and what was not measured', () => {
    const rows = summary(12, 2);
    const text = tables(rows, [...PEERS.keys()]);
    expect(text).toMatch(/netproxy-tap \|\s+12\.0 \(6\) ±/);
    expect(text).toMatch(/passt\s+\|\s+failed \|/);
    expect(goalTable(goals(rows))).toMatch(/1 of 1 met, \d+ not measured in this run/);
  });

  it('writes numbers for people', () => {
    expect([0, 0.0123, 1.5, 12.34, 123.4, 12_345, undefined].map(short)).toEqual([
      '0',
      '0.012',
      '1.5',
      '12.3',
      '123',
      '12,345',
      '',
    ]);
    expect(markdown(['a', 'b'], [['x', '1']])).toBe('| a   |   b |\n|-----|----:|\n| x   |   1 |');
  });

  it('draws a chart that is well-formed and has a bar for each peer that was measured', () => {
    const machine = { cpu: '2 x <CPU & co>', date: '2026-01-01' };
    const svg = chart({ machine, results: summary(12, 2) });
    expect(svg.match(/<rect /g)).toHaveLength(3);
    expect(svg).toContain('2 x &#60;CPU &#38; co&#62;');
    expect(svg).not.toContain('NaN');
  });

  it('refuses options that it does not know, and names what is allowed', () => {
    expect(parseOptions(['--quick', '--peers', 'pasta'])).toMatchObject({ reps: 1, rivals: ['pasta'] });
    expect(parseOptions(['macro', '--mtu=9000']).mtus).toEqual([9000]);
    expect(() => parseOptions(['--peers', 'gvproxy'])).toThrow(/"gvproxy".*slirp4netns/);
    expect(() => parseOptions(['--reps', 'many'])).toThrow(/"many"/);
    expect(() => parseOptions(['--rep'])).toThrow(/--rep/);
  });

  it('explains itself', () => {
    const { status, stdout } = spawnSync(process.execPath, ['bench/main.mjs', '--help'], {
      cwd: root,
      encoding: 'utf8',
    });
    expect(status).toBe(0);
    expect(stdout).toContain('--peers');
  });

  it.skipIf(which('gcc') === undefined || process.platform !== 'linux')('builds its C programs', () => {
    const tools: Record<string, string> = buildTools();
    expect(Object.keys(tools)).toEqual(['nettool', 'shim', 'relay']);
    expect(spawnSync(tools['nettool']!, [], { encoding: 'utf8' }).stderr).toContain(
      'see the head of nettool.c',
    );
  });
});
