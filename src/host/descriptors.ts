/** How many descriptors this process may have. */
import { readFileSync } from 'node:fs';

/** The soft limit, which Node raises to the hard one when it starts; undefined where it is not known or there is none. */
export function descriptorLimit(read: () => string = readLimits): number | undefined {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(read());
    return found === null ? undefined : Number(found[1]);
  } catch {
    return undefined;
  }
}

function readLimits(): string {
  return readFileSync('/proc/self/limits', 'utf8');
}
