/** The limit of challenge ACKs (RFC 5961 section 7) of many connections: of all that a guest has. */
import { below, type Millis, type Random } from '../core/index.js';

/** The mean of the limit, a second. */
export const CHALLENGES = 1000;

/**
 * Shared by all connections. A known limit could be counted by somebody who makes one connection answer and watches
 * another (CVE-2016-5696), so it is another one each second, half of the mean to one and a half.
 */
export class ChallengeLimit {
  private readonly random: Random;
  private from: Millis = Number.NEGATIVE_INFINITY;
  private left = 0;

  constructor(random: Random) {
    this.random = random;
  }

  /** May one leave now? */
  take(now: Millis): boolean {
    if (now - this.from >= 1000) {
      this.from = now;
      this.left = CHALLENGES / 2 + below(this.random, CHALLENGES);
    }
    if (this.left <= 0) return false;
    this.left--;
    return true;
  }
}
