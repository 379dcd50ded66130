/**
 * A learning switch: which port a MAC address is behind.
 *
 * Theory of operation. Every frame teaches its source address (IEEE 802.1D section 7.8); a frame to a known address
 * goes to that port alone, one to an unknown or group address to all others. Entries age (MAC_AGE) and the table is
 * bounded: MAX_MACS in all and MAX_MACS_PER_PORT, beyond which a port's new addresses are not learned (counted), so a
 * guest that invents addresses harms itself only. A full table evicts its oldest entry. A port may keep addresses: they
 * neither age nor give way to others while it is there, so that a guest that is silent cannot be robbed of its frames.
 * Port 0 is the gateway.
 */
import type { Mac, Millis } from '../core/index.js';

/** Ageing time, ms (802.1D table 7-5 recommends 300 s). */
export const MAC_AGE: Millis = 300_000;
/** Addresses in the whole table. */
export const MAX_MACS = 4096;
/** Addresses behind one port (nested bridges and containers have some). */
export const MAX_MACS_PER_PORT = 256;

/** Addresses that one port keeps. */
export const MAX_KEPT_PER_PORT = 64;

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
  /** Addresses that do not age, with their ports, and how many each port has. */
  private readonly kept = new Map<number, number>();
  private readonly keptPerPort = new Map<number, number>();

  get size(): number {
    return this.entries.size + this.kept.size;
  }

  /** True when the address is another port's: kept by it, or seen there within MAC_AGE. */
  isTaken(high: number, low: number, port: number, now: Millis): boolean {
    const key = high * 0x100000000 + low;
    const keeper = this.kept.get(key);
    if (keeper !== undefined) return keeper !== port;
    const entry = this.entries.get(key);
    return entry !== undefined && entry.port !== port && now - entry.seen <= MAC_AGE;
  }

  /**
   * Gives an address to a port for as long as that is there. False when it keeps MAX_KEPT_PER_PORT others already, or another port
   * keeps this one; unless it may `seize` it.
   */
  keep(high: number, low: number, port: number, seize = false): boolean {
    const key = high * 0x100000000 + low;
    const keeper = this.kept.get(key);
    if (keeper === port) return true;
    if (keeper !== undefined && !seize) return false;
    if ((this.keptPerPort.get(port) ?? 0) >= MAX_KEPT_PER_PORT) {
      this.counters.refused++;
      return false;
    }
    this.letGo(key, keeper);
    const entry = this.entries.get(key);
    if (entry !== undefined) {
      this.entries.delete(key);
      this.count(entry.port, -1);
    }
    this.kept.set(key, port);
    bump(this.keptPerPort, port, 1);
    this.count(port, 1);
    return true;
  }

  /** Notes that the address (16 upper, 32 lower bits) sends from this port. False when it was not learned. */
  learn(high: number, low: number, port: number, now: Millis): boolean {
    const key = high * 0x100000000 + low;
    const keeper = this.kept.get(key);
    if (keeper === port) return true;
    if (keeper !== undefined) {
      if (!this.hasRoom(port)) return false;
      this.letGo(key, keeper);
      this.counters.moved++;
    }
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
    const keeper = this.kept.get(key);
    if (keeper !== undefined) return keeper;
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
    for (const [key, keeper] of this.kept) if (keeper === port) this.kept.delete(key);
    this.keptPerPort.delete(port);
  }

  /** Address text and port of every entry: those that are kept, then the others, oldest first. */
  list(): { readonly mac: Mac; readonly port: number }[] {
    const others = [...this.entries].map(([key, entry]) => [key, entry.port] as const);
    return [...this.kept, ...others].map(([key, port]) => ({ mac: textOf(key), port }));
  }

  private letGo(key: number, keeper: number | undefined): void {
    if (keeper === undefined) return;
    this.kept.delete(key);
    bump(this.keptPerPort, keeper, -1);
    this.count(keeper, -1);
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
    bump(this.perPort, port, by);
  }
}

function bump(counts: Map<number, number>, port: number, by: number): void {
  const count = (counts.get(port) ?? 0) + by;
  if (count > 0) counts.set(port, count);
  else counts.delete(port);
}

function textOf(key: number): Mac {
  return key
    .toString(16)
    .padStart(12, '0')
    .replace(/..(?!$)/g, '$&:') as Mac;
}
