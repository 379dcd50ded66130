/**
 * Finds and loads the native addon. It is optional: without it the TypeScript path is used, and `reason` says why.
 *
 * The addon lies in the package at crates/vsock-bridge/vsock-bridge.<platform>-<arch>.node; the package's root is
 * two folders up from here, in src/ as in dist/.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { NativeAddon } from './addon.js';
import { INTERFACE } from './constants.js';

/** What `loadNative` found: the addon, or why there is none (a clause to put behind "no addon: "). */
export interface NativeResult {
  readonly addon?: NativeAddon;
  readonly reason?: string;
}

let cached: NativeResult | undefined;

/** Loads the addon, once per thread. NETPROXY_NO_ADDON=1 in the environment makes it absent. */
export function loadNative(): NativeResult {
  if (process.env['NETPROXY_NO_ADDON'] === '1') return { reason: 'NETPROXY_NO_ADDON=1 is set' };
  cached ??= load();
  return cached;
}

function load(): NativeResult {
  const name = `vsock-bridge.${process.platform}-${process.arch}.node`;
  const file = fileURLToPath(new URL(`../../crates/vsock-bridge/${name}`, import.meta.url));
  if (!existsSync(file)) {
    const linux = process.platform === 'linux';
    return {
      reason: linux ? 'it is not built (npm run build:native)' : `there is none for ${process.platform}`,
    };
  }
  try {
    const addon = createRequire(import.meta.url)(file) as NativeAddon;
    if (addon.constants()['INTERFACE'] !== INTERFACE)
      return { reason: 'it was built for another version of netproxy (npm run build:native)' };
    return { addon };
  } catch (error) {
    const [why] = String(error instanceof Error ? error.message : error).split('\n');
    return { reason: `it does not load: ${why ?? ''}` };
  }
}
