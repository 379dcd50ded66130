/**
 * How much a test does: `npm test` runs every test at reduced counts, `npm run soak` at full ones
 * (NETPROXY_COUNTS=full, set by scripts/test.mjs).
 */

export const FULL = process.env['NETPROXY_COUNTS'] === 'full';

/** The reduced number, or the full one in `npm run soak`. */
export function count(reduced: number, full: number): number {
  return FULL ? full : reduced;
}
