/**
 * Files of this package that commands start or read. Only modules two folders below the package may look from where they stand,
 * as this one: the bundle of the commands (scripts/bundle.mjs) lies there, too.
 */
import { fileURLToPath } from 'node:url';

/** The path of a file of the package; `name`: from its root. */
export function packageFile(name: string): string {
  return fileURLToPath(new URL(`../../${name}`, import.meta.url));
}
