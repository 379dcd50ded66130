/**
 * Who has which address: the neighbour table (RFC 826, RFC 1122 section 2.3.2).
 *
 * A Neighbour is an object that flows keep, so that a guest whose MAC or port changes is followed without a look-up
 * per frame. Every port has a table of its own, so that clones with one address on two isolated ports do not meet; it
 * holds MAX_NEIGHBOURS, and the entry that was learned first goes first.
 */
import type { Ipv4, Millis } from '../core/index.js';

/** Entries per port. */
export const MAX_NEIGHBOURS = 1024;

/** An address of a guest, where it is, and on which port. */
export interface Neighbour {
  readonly ip: Ipv4;
  readonly port: number;
  macHigh: number;
  macLow: number;
  /** Until then the address is this guest's and nobody else's. */
  heldUntil: Millis;
  /** Until then it is leased to this guest; 0: it is not. */
  leasedUntil: Millis;
}

export class NeighbourTable {
  private readonly byIp = new Map<number, Neighbour>();
  private readonly port: number;
  evicted = 0;

  constructor(port: number) {
    this.port = port;
  }

  get size(): number {
    return this.byIp.size;
  }

  find(ip: Ipv4): Neighbour | undefined {
    return this.byIp.get(ip);
  }

  forget(ip: Ipv4): void {
    this.byIp.delete(ip);
  }

  /** Notes that `ip` is at this MAC, held at least until then, and returns its entry. */
  learn(ip: Ipv4, macHigh: number, macLow: number, heldUntil: Millis = 0): Neighbour {
    const known = this.byIp.get(ip);
    if (known !== undefined) {
      known.macHigh = macHigh;
      known.macLow = macLow;
      known.heldUntil = Math.max(known.heldUntil, heldUntil);
      return known;
    }
    if (this.byIp.size >= MAX_NEIGHBOURS) {
      const oldest = this.byIp.keys().next().value;
      if (oldest !== undefined) this.byIp.delete(oldest);
      this.evicted++;
    }
    const entry: Neighbour = { ip, port: this.port, macHigh, macLow, heldUntil, leasedUntil: 0 };
    this.byIp.set(ip, entry);
    return entry;
  }

  [Symbol.iterator](): IterableIterator<Neighbour> {
    return this.byIp.values();
  }
}
