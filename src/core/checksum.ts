/**
 * The Internet checksum (RFC 1071) over big-endian words. Sums are kept unfolded until `finish`, but small enough to be small
 * integers; a sum over pieces is right when every piece but the last has even length (`sumOdd` for those that have not).
 */

/** Adds `length` bytes at `offset` to `sum` as big-endian 16-bit words; an odd last byte is padded with zero. */
export function sumBytes(bytes: Uint8Array, offset: number, length: number, sum: number): number {
  let at = offset;
  const end = offset + length;
  const even = end - (length & 1);
  let high = 0;
  let low = 0;
  const unrolled = even - 7;
  while (at < unrolled) {
    high += bytes[at]! + bytes[at + 2]! + bytes[at + 4]! + bytes[at + 6]!;
    low += bytes[at + 1]! + bytes[at + 3]! + bytes[at + 5]! + bytes[at + 7]!;
    at += 8;
  }
  while (at < even) {
    high += bytes[at]!;
    low += bytes[at + 1]!;
    at += 2;
  }
  if (at < end) high += bytes[at]!;
  // 256 times the high bytes, with what exceeds 16 bits carried around.
  return sum + ((high & 255) << 8) + (high >>> 8) + low;
}

/** As `sumBytes`, for a piece that starts at an odd position of the checksummed text. */
export function sumOdd(bytes: Uint8Array, offset: number, length: number, sum: number): number {
  if (length === 0) return sum;
  return sumBytes(bytes, offset + 1, length - 1, sum + bytes[offset]!);
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
