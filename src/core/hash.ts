/** Keyed 32-bit hashing (HalfSipHash-2-4): for sequence numbers (RFC 6528), flow tables and source ports. */
import type { Random } from './clock.js';

export type HashKey = readonly [number, number];

export function hashKey(random: Random): HashKey {
  return [random.u32() | 0, random.u32() | 0];
}

let v0 = 0;
let v1 = 0;
let v2 = 0;
let v3 = 0;

function round(): void {
  v0 = (v0 + v1) | 0;
  v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
  v0 = (v0 << 16) | (v0 >>> 16);
  v2 = (v2 + v3) | 0;
  v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
  v0 = (v0 + v3) | 0;
  v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
  v2 = (v2 + v1) | 0;
  v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
  v2 = (v2 << 16) | (v2 >>> 16);
}

function absorb(word: number): void {
  v3 ^= word;
  round();
  round();
  v0 ^= word;
}

/** Hash of four 32-bit words under the key, 0 to 2^32 - 1. */
export function hash4(key: HashKey, a: number, b: number, c: number, d: number): number {
  v0 = key[0] | 0;
  v1 = key[1] | 0;
  v2 = 0x6c796765 ^ key[0];
  v3 = 0x74656462 ^ key[1];
  absorb(a);
  absorb(b);
  absorb(c);
  absorb(d);
  absorb(16 << 24);
  v2 ^= 0xff;
  round();
  round();
  round();
  round();
  return (v1 ^ v3) >>> 0;
}

function murmur(h: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const x = h ^ k;
  return (Math.imul((x << 13) | (x >>> 19), 5) + 0xe6546b64) | 0;
}

/** Faster, weaker hash of four words for tables (MurmurHash3 with a secret seed), as a signed word. */
export function mix4(key: HashKey, a: number, b: number, c: number, d: number): number {
  let h = murmur(murmur(murmur(murmur(key[0], a), b), c), d) ^ key[1];
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
