/**
 * Who has which address: the neighbour table (RFC 826, RFC 1122 section 2.3.2).
 *
 * A Neighbour is an object that flows keep, so that a guest whose MAC or port changes is followed without a look-up
 * per frame. The table holds MAX_NEIGHBOURS; the entry that was learned first goes first.
 */
import type { Ipv4 } from '../core/index.js';

/** Entries per network. */
export const MAX_NEIGHBOURS = 4096;

/** An address of a guest, where it is, and on which port. */
export interface Neighbour {
  readonly ip: Ipv4;
  readonly port: number;
  macHigh: number;
  macLow: number;
}

export class NeighbourTable {
  private readonly byIp = new Map<number, Neighbour>();
  evicted = 0;

  get size(): number {
    return this.byIp.size;
  }

  find(ip: Ipv4): Neighbour | undefined {
    return this.byIp.get(ip);
  }

  /**
   * Notes that `ip` is at this MAC behind this port and returns its entry. On another port than before a new entry takes
   * the place of the old one: flows of the old guest keep talking to the old guest.
   */
  learn(ip: Ipv4, macHigh: number, macLow: number, port: number): Neighbour {
    const known = this.byIp.get(ip);
    if (known?.port === port) {
      known.macHigh = macHigh;
      known.macLow = macLow;
      return known;
    }
    if (known === undefined && this.byIp.size >= MAX_NEIGHBOURS) {
      const oldest = this.byIp.keys().next().value;
      if (oldest !== undefined) this.byIp.delete(oldest);
      this.evicted++;
    }
    const entry: Neighbour = { ip, port, macHigh, macLow };
    this.byIp.set(ip, entry);
    return entry;
  }

  forgetPort(port: number): void {
    for (const [ip, entry] of this.byIp) if (entry.port === port) this.byIp.delete(ip);
  }

  [Symbol.iterator](): IterableIterator<Neighbour> {
    return this.byIp.values();
  }
}
