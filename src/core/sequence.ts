/** Sequence-number arithmetic modulo 2^32 (RFC 9293 section 3.4). Compare sequence numbers only by these. */

declare const seqBrand: unique symbol;

/**
 * A TCP sequence number, as a signed 32-bit integer: -2^31 to 2^31 - 1, so that V8 never puts one on the heap. Writing it
 * with `setUint32` gives the number of the wire.
 */
export type Seq = number & { readonly [seqBrand]: true };

export function seq(value: number): Seq {
  return (value | 0) as Seq;
}

export function seqAdd(a: Seq, n: number): Seq {
  return ((a + n) | 0) as Seq;
}

/** Signed distance a - b, -2^31 to 2^31 - 1. */
export function seqDiff(a: Seq, b: Seq): number {
  return (a - b) | 0;
}

export function seqLt(a: Seq, b: Seq): boolean {
  return ((a - b) | 0) < 0;
}

export function seqLe(a: Seq, b: Seq): boolean {
  return ((a - b) | 0) <= 0;
}

export function seqGt(a: Seq, b: Seq): boolean {
  return ((a - b) | 0) > 0;
}

export function seqGe(a: Seq, b: Seq): boolean {
  return ((a - b) | 0) >= 0;
}

export function seqMax(a: Seq, b: Seq): Seq {
  return seqGt(a, b) ? a : b;
}

export function seqMin(a: Seq, b: Seq): Seq {
  return seqLt(a, b) ? a : b;
}
