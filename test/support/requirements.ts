/**
 * What a test needs of the machine. A test whose needs are not met says why and is skipped; with
 * `NETPROXY_REQUIRE_ALL=1`, as CI sets it, that is a failure.
 *
 * @example
 * const ready = requirements('namespaces', requireRoot(), requireTool('ip'));
 * describe.runIf(ready)('namespaces', () => { … });
 */
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's root folder. */
export const PROJECT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The built command line. */
export const CLI = join(PROJECT, 'dist/cli/main.js');

/** Undefined when the need is met, otherwise what is missing and how to get it. */
export type Missing = string | undefined;

export function requireRoot(): Missing {
  return process.getuid?.() === 0 ? undefined : 'needs root: run the tests as root';
}

/** A program in PATH or an sbin folder. */
export function requireTool(name: string): Missing {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  const found = folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  return found ? undefined : `needs ${name}: run node scripts/guest-packages.mjs --install`;
}

/** The built command line in dist/. */
export function requireBuild(): Missing {
  return existsSync(CLI) ? undefined : 'needs dist/: run npm run build';
}

/** The built crate, loadable by this Node. Loading it opens nothing. */
export function requireAddon(): Missing {
  const folder = join(PROJECT, 'crates/vsock-bridge');
  const name = existsSync(folder) ? readdirSync(folder).find((file) => file.endsWith('.node')) : undefined;
  if (name === undefined) return 'needs the crate: run npm run bootstrap where cargo is installed';
  try {
    createRequire(import.meta.url)(join(folder, name));
    return undefined;
  } catch (error) {
    return `needs the crate, but ${name} does not load: ${(error as Error).message}`;
  }
}

/** A TAP needs the kernel's tun driver. */
export function requireTun(): Missing {
  return existsSync('/dev/net/tun') ? undefined : 'needs /dev/net/tun: run modprobe tun';
}

/**
 * True when nothing is missing. Otherwise prints what is, and returns false for `describe.runIf`.
 * @throws Error when something is missing and NETPROXY_REQUIRE_ALL=1
 */
export function requirements(what: string, ...needs: readonly Missing[]): boolean {
  const missing = needs.filter((need) => need !== undefined);
  if (missing.length === 0) return true;
  const line = `${what}: ${missing.join('; ')}`;
  if (process.env['NETPROXY_REQUIRE_ALL'] === '1') throw new Error(line);
  process.stderr.write(`skipped: ${line}\n`);
  return false;
}

/** What every namespace test needs. */
export function requireNamespaces(): Missing {
  return requireRoot() ?? requireTool('ip') ?? requireTool('setpriv') ?? requireTun();
}

/** What every QEMU test needs. */
export function requireGuest(): Missing {
  return (
    requireTool('qemu-system-x86_64') ??
    requireTool('busybox') ??
    requireTool('depmod') ??
    requireTool('dhclient')
  );
}
