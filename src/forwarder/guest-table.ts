/**
 * A table with a part for each guest, least recently used entries first (within a second or so), and two caps: at a guest's
 * own, its oldest entry goes; at the total, the oldest entry of the guest that has most, so that nobody is pushed out by a
 * flood of another.
 */
import type { Millis } from '../core/index.js';

export interface GuestEntry {
  readonly key: number | string;
  /** The guest, by its port of the switch. */
  readonly owner: number;
  lastUsed: Millis;
}

type Part<T> = Map<number | string, T>;

export class GuestTable<T extends GuestEntry> {
  private readonly parts = new Map<number, Part<T>>();
  private readonly perGuest: number;
  private readonly total: number;
  private readonly evict: (entry: T) => void;
  private count = 0;

  /** `evict` has to `delete` the entry that it is given. */
  constructor(perGuest: number, total: number, evict: (entry: T) => void) {
    this.perGuest = perGuest;
    this.total = total;
    this.evict = evict;
  }

  get size(): number {
    return this.count;
  }

  get(owner: number, key: number | string): T | undefined {
    return this.parts.get(owner)?.get(key);
  }

  /** Makes room for one more entry of a guest. */
  makeRoom(owner: number): void {
    const own = this.parts.get(owner);
    if (own !== undefined && own.size >= this.perGuest) this.evictFrom(own);
    if (this.count >= this.total) this.evictFrom(this.largest());
  }

  add(entry: T): void {
    const part = this.parts.get(entry.owner);
    if (part === undefined) this.parts.set(entry.owner, new Map([[entry.key, entry]]));
    else part.set(entry.key, entry);
    this.count++;
  }

  used(entry: T, now: Millis): void {
    if (now - entry.lastUsed < 1000) return;
    entry.lastUsed = now;
    const part = this.parts.get(entry.owner);
    if (part?.delete(entry.key) === true) part.set(entry.key, entry);
  }

  /** False when it was not there. */
  delete(entry: T): boolean {
    const part = this.parts.get(entry.owner);
    if (part?.get(entry.key) !== entry) return false;
    part.delete(entry.key);
    if (part.size === 0) this.parts.delete(entry.owner);
    this.count--;
    return true;
  }

  /** Those of one guest; they may be deleted on the way. */
  of(owner: number): Iterable<T> {
    return this.parts.get(owner)?.values() ?? [];
  }

  *[Symbol.iterator](): Iterator<T> {
    for (const part of this.parts.values()) yield* part.values();
  }

  private largest(): Part<T> | undefined {
    let largest: Part<T> | undefined;
    for (const part of this.parts.values())
      if (largest === undefined || part.size > largest.size) largest = part;
    return largest;
  }

  private evictFrom(part: Part<T> | undefined): void {
    const oldest = part?.values().next().value;
    if (oldest !== undefined) this.evict(oldest);
  }
}
