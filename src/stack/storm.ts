/** Storm control: how many frames of a guest may go to all others, by kind, and how many questions of it are answered. */
import { Bucket, type Millis } from '../core/index.js';

/** Broadcasts a second; as many multicasts, as many frames to unknown addresses. */
export const FLOODS = 1000;
/** ARP packets a second of one guest that the gateway looks at, and at once (RFC 1122 section 2.3.2.1: prevent ARP flooding). */
export const ARP_RATE = 500;
export const ARP_BURST = 256;
/** DHCP messages of one guest that are answered. */
export const DHCP_RATE = 50;
export const DHCP_BURST = 64;

export class Storm {
  /** Questions of the guest to the gateway. */
  readonly arp = new Bucket(ARP_RATE, ARP_BURST);
  readonly dhcp = new Bucket(DHCP_RATE, DHCP_BURST);
  private readonly broadcasts: Bucket;
  private readonly multicasts: Bucket;
  private readonly unknowns: Bucket;

  /** `floods`: frames a second of each kind; a quarter of it, 16 at least, may come at once. */
  constructor(floods: number) {
    const burst = Math.max(16, Math.floor(floods / 4));
    this.broadcasts = new Bucket(floods, burst);
    this.multicasts = new Bucket(floods, burst);
    this.unknowns = new Bucket(floods, burst);
  }

  /** May a frame to this address go to everybody? */
  mayFlood(high: number, low: number, now: Millis): boolean {
    if ((high & 0x100) === 0) return this.unknowns.take(now, 1);
    const all = high === 0xffff && (low | 0) === -1;
    return (all ? this.broadcasts : this.multicasts).take(now, 1);
  }
}
