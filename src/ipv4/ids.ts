/**
 * Identification of fragmented packets (RFC 791 section 2.3, RFC 6864 section 5.2): counted for each source, so that one
 * comes again after 65,535 other fragmented packets of that source, whatever the others send. Packets that are sent whole
 * have numbers of their own. Sources share a counter when their bits say so: BUCKETS of them.
 */
import type { Ipv4 } from '../core/index.js';

/** A power of two. */
const BUCKETS = 256;

export class FragmentIds {
  private counters: Uint16Array | undefined;

  /** The next one, 1 to 65,535. */
  next(source: Ipv4): number {
    const counters = (this.counters ??= new Uint16Array(BUCKETS));
    const bucket = (source ^ (source >>> 8) ^ (source >>> 16) ^ (source >>> 24)) & (BUCKETS - 1);
    const id = (counters[bucket]! % 0xffff) + 1;
    counters[bucket] = id;
    return id;
  }
}
