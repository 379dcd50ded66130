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

export class RttEstimator {
  /** 0 before the first sample. */
  srtt = 0;
  rttvar = 0;
  /** Without backoff. */
  rto = INITIAL_RTO;
  /** How often the timeout was doubled since the last sample. */
  backoff = 0;
  samples = 0;

  /** RFC 6298 sections 2.2 and 2.3. `rtt` of a segment that was sent once (Karn), or by its timestamp. */
  sample(rtt: Millis): void {
    if (this.samples === 0) {
      this.srtt = rtt;
      this.rttvar = rtt / 2;
    } else {
      this.rttvar += (Math.abs(this.srtt - rtt) - this.rttvar) / 4;
      this.srtt += (rtt - this.srtt) / 8;
    }
    this.samples++;
    this.backoff = 0;
    const rto = this.srtt + Math.max(GRANULARITY, 4 * this.rttvar);
    this.rto = Math.min(Math.max(rto, MIN_RTO), MAX_RTO);
  }

  /** The handshake gave no sample because its SYN was sent again. */
  restart(): void {
    this.rto = CAUTIOUS_RTO;
    this.backoff = 0;
  }

  /** The timeout with its backoff (RFC 6298 section 5.5), in whole milliseconds. */
  timeout(): Millis {
    return Math.min(Math.ceil(this.rto * 2 ** this.backoff), MAX_RTO);
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
