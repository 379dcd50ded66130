/** Randomness that repeats. */
import type { Random } from '../core/index.js';

/**
 * A generator that gives the same numbers for the same seed, on every machine (splitmix32). Not for secrets.
 *
 * @param seed any integer; taken modulo 2^32
 * @example
 * const random = seededRandom(7);
 * const network = await createNetwork({}, { random });
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    u32: () => {
      state = (state + 0x9e3779b9) >>> 0;
      let mixed = state ^ (state >>> 16);
      mixed = Math.imul(mixed, 0x21f0aaad);
      mixed ^= mixed >>> 15;
      mixed = Math.imul(mixed, 0x735a2d97);
      return (mixed ^ (mixed >>> 15)) >>> 0;
    },
  };
}

/** `length` random bytes. */
export function randomBytes(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const whole = length - (length % 4);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < whole; at += 4) view.setUint32(at, random.u32());
  for (let at = whole; at < length; at++) bytes[at] = random.u32() & 255;
  return bytes;
}
