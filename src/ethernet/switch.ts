/**
 * A learning switch: which port a MAC address is behind.
 *
 * Theory of operation. Every frame teaches its source address (IEEE 802.1D section 7.8); a frame to a known address
 * goes to that port alone, one to an unknown or group address to all others. Entries age (MAC_AGE) and the table is
 * bounded: MAX_MACS in all and MAX_MACS_PER_PORT, beyond which a port's new addresses are not learned (counted), so a
 * guest that invents addresses harms itself only. A full table evicts its oldest entry. Port 0 is the gateway.
 */
import type { Mac, Millis } from '../core/index.js';

/** Ageing time, ms (802.1D table 7-5 recommends 300 s). */
export const MAC_AGE: Millis = 300_000;
/** Addresses in the whole table. */
export const MAX_MACS = 4096;
/** Addresses behind one port (nested bridges and containers have some). */
export const MAX_MACS_PER_PORT = 256;

interface Entry {
  port: number;
  seen: Millis;
}

export interface SwitchCounters {
  learned: number;
  moved: number;
  aged: number;
  evicted: number;
  /** Not learned: the port has MAX_MACS_PER_PORT already. */
  refused: number;
}

export class MacTable {
  readonly counters: SwitchCounters = { learned: 0, moved: 0, aged: 0, evicted: 0, refused: 0 };
  /** Oldest first: an entry that is seen again goes to the end now and then. */
  private readonly entries = new Map<number, Entry>();
  private readonly perPort = new Map<number, number>();

  get size(): number {
    return this.entries.size;
  }

  /** Notes that the address (16 upper, 32 lower bits) sends from this port. False when it was not learned. */
  learn(high: number, low: number, port: number, now: Millis): boolean {
    const key = high * 0x100000000 + low;
    const known = this.entries.get(key);
    if (known !== undefined) {
      if (known.port === port && now - known.seen < MAC_AGE / 10) return true;
      if (known.port !== port) {
        if (!this.hasRoom(port)) return false;
        this.count(known.port, -1);
        this.count(port, 1);
        known.port = port;
        this.counters.moved++;
      }
      known.seen = now;
      this.entries.delete(key);
      this.entries.set(key, known);
      return true;
    }
    if (!this.hasRoom(port)) return false;
    if (this.entries.size >= MAX_MACS) this.evictOldest();
    this.entries.set(key, { port, seen: now });
    this.count(port, 1);
    this.counters.learned++;
    return true;
  }

  /** The port of an address; -1 when it is unknown or aged. */
  lookup(high: number, low: number, now: Millis): number {
    const key = high * 0x100000000 + low;
    const entry = this.entries.get(key);
    if (entry === undefined) return -1;
    if (now - entry.seen <= MAC_AGE) return entry.port;
    this.entries.delete(key);
    this.count(entry.port, -1);
    this.counters.aged++;
    return -1;
  }

  /** Forgets every address of a port that went away. */
  forgetPort(port: number): void {
    for (const [key, entry] of this.entries) if (entry.port === port) this.entries.delete(key);
    this.perPort.delete(port);
  }

  /** Address text and port of every entry, oldest first. */
  list(): { readonly mac: Mac; readonly port: number }[] {
    return [...this.entries].map(([key, entry]) => ({
      mac: key
        .toString(16)
        .padStart(12, '0')
        .replace(/..(?!$)/g, '$&:') as Mac,
      port: entry.port,
    }));
  }

  private hasRoom(port: number): boolean {
    if ((this.perPort.get(port) ?? 0) < MAX_MACS_PER_PORT) return true;
    this.counters.refused++;
    return false;
  }

  private evictOldest(): void {
    const oldest = this.entries.entries().next().value;
    if (oldest === undefined) return;
    this.entries.delete(oldest[0]);
    this.count(oldest[1].port, -1);
    this.counters.evicted++;
  }

  private count(port: number, by: number): void {
    this.perPort.set(port, (this.perPort.get(port) ?? 0) + by);
  }
}
