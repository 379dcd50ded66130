/**
 * How the scripts run commands (scripts/tools.mjs): one that hangs or is missing ends as a failure, with its children.
 */
import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { run } from '../../scripts/tools.mjs';

const quiet = { output: 'quiet' } as const;

/** True where the process runs; one that only waits for its parent to notice the end does not. */
function isAlive(pid: number): boolean {
  const stat = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim();
  return stat !== '' && !stat.startsWith('Z');
}

it('returns the exit code and both outputs', async () => {
  const script = 'console.log("out"); console.error("err"); process.exitCode = 3';
  const result = await run([process.execPath, '-e', script], quiet);
  expect(result).toMatchObject({ code: 3, why: 'exit 3' });
  expect(result.text).toContain('out\n');
  expect(result.text).toContain('err\n');
});

it('says that a program is missing', async () => {
  const result = await run(['netproxy-no-such-program'], quiet);
  expect(result.code).toBe(127);
  expect(result.why).toContain('ENOENT');
});

it('names the signal that ended a command', async () => {
  expect(await run([process.execPath, '-e', 'process.kill(process.pid, "SIGKILL")'], quiet)).toMatchObject({
    code: 128,
    why: 'ended by SIGKILL',
  });
});

it.skipIf(process.platform === 'win32')('ends a command that hangs, and its children', async () => {
  const script =
    'const child = require("node:child_process").spawn("sleep", ["60"]); console.log(child.pid); setTimeout(() => {}, 6e4)';
  const result = await run([process.execPath, '-e', script], { ...quiet, seconds: 1 });
  expect(result).toMatchObject({ code: 124, why: 'ended after 1 s' });
  await expect.poll(() => isAlive(Number(result.text))).toBe(false);
});

it.skipIf(process.platform === 'win32')(
  'does not wait for a child that stays behind with the output',
  async () => {
    const script =
      'const child = require("node:child_process").spawn("sleep", ["60"], { stdio: "inherit", detached: true }); ' +
      'console.log(child.pid); child.unref()';
    const result = await run([process.execPath, '-e', script], quiet);
    process.kill(Number(result.text));
    expect(result.code).toBe(0);
  },
);
