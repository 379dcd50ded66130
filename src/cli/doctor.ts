/** `netproxy doctor`: what this host can do, and how to get the rest. Opens no vsock and changes nothing. */
import pc from 'picocolors';
import { EXIT } from './exit.js';
import { type Check, examine } from './doctor-checks.js';
import type { Terminal } from './terminal.js';
import { packageVersion } from '../api/index.js';

export function doctor(options: { readonly json?: boolean | undefined }, terminal: Terminal): number {
  const checks = examine();
  if (options.json === true) {
    terminal.out(`${JSON.stringify({ version: packageVersion(), platform: process.platform, checks })}\n`);
    return EXIT.ok;
  }
  const paint = pc.createColors(terminal.color.out);
  terminal.out(`netproxy ${packageVersion()} on ${process.platform} ${process.arch}\n`);
  for (const check of checks) terminal.out(line(check, paint));
  const missing = checks.filter((check) => !check.ok).length;
  terminal.out(
    missing === 0
      ? 'Everything is there.\n'
      : `${missing} of ${checks.length} are missing; the rest works without them.\n`,
  );
  return EXIT.ok;
}

function line({ ok, name, detail, remedy }: Check, paint: ReturnType<typeof pc.createColors>): string {
  const mark = ok ? paint.green('✓') : paint.yellow('✗');
  const first = `${mark} ${name.padEnd(16)} ${detail}\n`;
  return remedy === undefined ? first : `${first}${' '.repeat(19)}${paint.dim(remedy)}\n`;
}
