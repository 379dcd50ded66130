/** Random numbers of 16 bits that nobody can foresee, for ids and the choice of ports: drawn in bulk. */
import { randomFillSync } from 'node:crypto';

const pool = new Uint16Array(2048);
let left = 0;

/** 0 to 65,535. */
export function draw16(): number {
  if (left === 0) {
    randomFillSync(pool);
    left = pool.length;
  }
  return pool[--left]!;
}
