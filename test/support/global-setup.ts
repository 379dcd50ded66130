/**
 * Runs once before the tests under test/: puts the Debian packages there that they need. It changes nothing
 * where they are already there, where we are not root on Debian, or with `NETPROXY_NO_INSTALL=1`; tests
 * whose needs are not met then skip themselves (requirements.ts).
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { PROJECT } from './requirements.js';

export default function setup(): void {
  if (process.env['NETPROXY_NO_INSTALL'] === '1') return;
  const script = join(PROJECT, 'scripts/guest-packages.mjs');
  spawnSync(process.execPath, [script, '--install'], { stdio: 'inherit', timeout: 600_000 });
}
