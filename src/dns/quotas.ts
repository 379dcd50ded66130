/** How much of the server each guest has: queries on the way, and queries a second. */
import { Bucket, type Millis } from '../core/index.js';
import type { DnsGuest } from './types.js';

/** Guests whose buckets are kept though they are full again. */
const MAX_IDLE = 256;

export class GuestQuota {
  /** Queries on the way. */
  waiting = 0;
  readonly bucket: Bucket | undefined;

  constructor(rate: number) {
    this.bucket = rate > 0 ? new Bucket(rate, rate) : undefined;
  }
}

export class GuestQuotas {
  private readonly rate: number;
  private readonly quotas = new Map<DnsGuest['id'], GuestQuota>();

  /** `rate`: queries a second of one guest, as many at once; 0: no limit. */
  constructor(rate: number) {
    this.rate = rate;
  }

  /** Whether a guest may ask now; false when it asked too often this second. */
  admit(guest: DnsGuest, now: Millis): boolean {
    if (this.rate === 0) return true;
    return this.of(guest).bucket?.take(Math.floor(now)) ?? true;
  }

  of(guest: DnsGuest): GuestQuota {
    let quota = this.quotas.get(guest.id);
    if (quota === undefined) {
      quota = new GuestQuota(this.rate);
      this.quotas.set(guest.id, quota);
      if (this.rate > 0 && this.quotas.size > MAX_IDLE) this.sweep();
    }
    return quota;
  }

  /** A query of the guest got its answer. */
  done(guest: DnsGuest): void {
    const quota = this.quotas.get(guest.id);
    if (quota === undefined) return;
    quota.waiting--;
    if (quota.waiting === 0 && this.rate === 0) this.quotas.delete(guest.id);
  }

  /** Forgets who was there longest and has nothing on the way: its bucket is full when it comes back. */
  private sweep(): void {
    for (const [id, quota] of this.quotas) {
      if (this.quotas.size <= MAX_IDLE) return;
      if (quota.waiting === 0) this.quotas.delete(id);
    }
  }
}
