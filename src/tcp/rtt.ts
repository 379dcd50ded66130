/** Round-trip time and retransmission timeout (RFC 6298). All in milliseconds. */
import type { Millis } from '../core/index.js';

/** Before the first sample (RFC 6298 section 2.1). */
export const INITIAL_RTO = 1000;
/** After a handshake whose SYN had to be sent again (RFC 6298 section 5.7). */
export const CAUTIOUS_RTO = 3000;
/** RFC 6298 section 2.4 says 1 s; kernels use 200 ms, and the guest is near. */
export const MIN_RTO = 200;
/** RFC 6298 section 2.5. */
export const MAX_RTO = 60_000;
/** Clock granularity G: timestamps count milliseconds. */
const GRANULARITY = 1;
/** What is kept is kept in such parts of a millisecond, as whole numbers: they cost no memory. */
const PARTS = 1024;
/** A longer sample says no more, ms. */
const LONGEST = 4 * MAX_RTO;

export class RttEstimator {
  private smoothed = 0;
  private variation = 0;
  /** Without backoff. */
  private limit = INITIAL_RTO * PARTS;
  /** How often the timeout was doubled since the last sample. */
  backoff = 0;
  samples = 0;

  /** RFC 6298 sections 2.2 and 2.3. `rtt` of a segment that was sent once (Karn), or by its timestamp. */
  sample(rtt: Millis): void {
    const parts = (Math.min(rtt, LONGEST) * PARTS) | 0;
    if (this.samples === 0) {
      this.smoothed = parts;
      this.variation = parts >> 1;
    } else {
      const off = (parts - this.smoothed) | 0;
      this.variation = (this.variation + (((off < 0 ? -off : off) - this.variation) >> 2)) | 0;
      this.smoothed = (this.smoothed + (off >> 3)) | 0;
    }
    this.samples++;
    this.backoff = 0;
    const rto = (this.smoothed + Math.max(GRANULARITY * PARTS, this.variation << 2)) | 0;
    this.limit = Math.min(Math.max(rto, MIN_RTO * PARTS), MAX_RTO * PARTS);
  }

  /** The smoothed round-trip time; 0 before the first sample. */
  get srtt(): Millis {
    return this.smoothed / PARTS;
  }

  get rttvar(): Millis {
    return this.variation / PARTS;
  }

  /** Without backoff. */
  get rto(): Millis {
    return this.limit / PARTS;
  }

  /** The handshake gave no sample because its SYN was sent again. */
  restart(): void {
    this.limit = CAUTIOUS_RTO * PARTS;
    this.backoff = 0;
  }

  /** The timeout with its backoff (RFC 6298 section 5.5), in whole milliseconds. */
  timeout(): Millis {
    // More than this many doublings lead beyond the greatest from the least.
    const doubled = this.limit * (1 << Math.min(this.backoff, 9));
    return (Math.min(doubled, MAX_RTO * PARTS) + PARTS - 1) >> 10;
  }

  /**
   * Retransmitted data was acknowledged. Without timestamps a sample may be long in coming: one doubling is kept for
   * the case that the timeout was too short, the rest of the backoff only stood for loss.
   */
  progressed(): void {
    if (this.backoff > 1) this.backoff = 1;
  }

  expired(): void {
    if (this.timeout() < MAX_RTO) this.backoff++;
  }
}
