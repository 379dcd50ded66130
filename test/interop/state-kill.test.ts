/** kill -9 at random instants while guests renew: no lease that was promised is lost, none is given twice. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { FULL, count } from '../support/counts.js';
import { exec } from '../support/process.js';
import { requireBuild, requirements } from '../support/requirements.js';

const ready = requirements('state file', requireBuild());
const ROUNDS = count(50, 1000);
const DRIVER = fileURLToPath(new URL('state-kill.mjs', import.meta.url));
/** A round takes less than half a second; where others want the processor, longer. */
const PATIENCE = FULL ? 1_700_000 : 180_000;

interface Result {
  readonly rounds: number;
  readonly early: number;
  readonly acks: number;
  readonly lost: unknown[];
  readonly duplicated: unknown[];
  readonly shortened: unknown[];
  readonly warnings: string[];
  readonly files: string[];
}

describe.runIf(ready)('leases', () => {
  it(
    `outlive ${ROUNDS} kills of their server`,
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'np-state-'));
      try {
        const argv = [process.execPath, DRIVER, folder, String(ROUNDS)];
        const { stdout } = await exec(argv, { check: true, timeoutMs: PATIENCE });
        const { acks, early, files, ...rest } = JSON.parse(stdout) as Result;
        expect(rest).toMatchObject({ rounds: ROUNDS, lost: [], duplicated: [], shortened: [], warnings: [] });
        expect(early).toBe(Math.floor(ROUNDS / 5));
        expect(acks).toBeGreaterThan(ROUNDS);
        // Nothing was set aside, and no drafts pile up.
        expect(files.filter((name) => name.includes('damaged'))).toEqual([]);
        expect(files.length).toBeLessThanOrEqual(3);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
    PATIENCE + 5_000,
  );
});
