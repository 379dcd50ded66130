/**
 * The Internet checksum (RFC 1071) over big-endian words. Sums are kept unfolded until `finish`, but small enough to be small
 * integers; a sum over pieces is right when every piece but the last has even length.
 */

/** As `sumView`, where there is no view: for what is not on the path of every frame. */
export function sumBytes(bytes: Uint8Array, offset: number, length: number, sum: number): number {
  return sumView(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), offset, length, sum);
}

/**
 * Adds `length` bytes at `offset` (65,535 at most) to `sum` as big-endian 16-bit words; an odd last byte is padded with zero. The
 * halves of 32-bit words are summed apart: four times as fast as byte by byte.
 */
export function sumView(view: DataView, offset: number, length: number, sum: number): number {
  let at = offset;
  const end = offset + length;
  let high = 0;
  let low = 0;
  for (const last = end - 31; at < last; at += 32) {
    const a = view.getInt32(at);
    const b = view.getInt32(at + 4);
    const c = view.getInt32(at + 8);
    const d = view.getInt32(at + 12);
    const e = view.getInt32(at + 16);
    const f = view.getInt32(at + 20);
    const g = view.getInt32(at + 24);
    const h = view.getInt32(at + 28);
    high +=
      (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16) + (e >>> 16) + (f >>> 16) + (g >>> 16) + (h >>> 16);
    low +=
      (a & 0xffff) +
      (b & 0xffff) +
      (c & 0xffff) +
      (d & 0xffff) +
      (e & 0xffff) +
      (f & 0xffff) +
      (g & 0xffff) +
      (h & 0xffff);
  }
  for (const last = end - 1; at < last; at += 2) low += view.getUint16(at);
  if (at < end) low += view.getUint8(at) << 8;
  return sum + (high >>> 16) + (high & 0xffff) + (low >>> 16) + (low & 0xffff);
}

/** Folds the carries (end-around) to 16 bits. `sum`: below 2^32. */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded >>> 16) + (folded & 0xffff);
  return folded;
}

/** One's complement of the folded sum: what goes into the header. */
export function finish(sum: number): number {
  return ~fold(sum) & 0xffff;
}

/** Sum of the IPv4 pseudo header of TCP and UDP (RFC 9293 section 3.1, RFC 768). `length`: header and payload, bytes. */
export function pseudoSum(source: number, destination: number, protocol: number, length: number): number {
  return (
    (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + length
  );
}

/** The checksum of `length` bytes at `offset`; 0 over bytes that hold a right checksum. */
export function checksum(bytes: Uint8Array, offset: number, length: number): number {
  return finish(sumBytes(bytes, offset, length, 0));
}
