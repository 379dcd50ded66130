/**
 * Which names led a guest to which addresses: what its DNS answers said, kept for as long as it may use them and a while
 * longer. A rule by name holds for the addresses that are found here.
 *
 * Theory of operation. Each guest has a memory of its own, so that none can push out or add to what another was told. An
 * address is kept until its TTL and GRACE are over: programs go on using an address for longer than they were told to.
 *
 * Limits: MAX_ADDRESSES of a guest, MAX_NAMES of an address; beyond, the ones that were told longest ago go, counted.
 */
import type { Ipv4, Millis } from '../core/index.js';

/** Addresses of one guest. */
export const MAX_ADDRESSES = 4096;
/** Names of one address. */
export const MAX_NAMES = 16;
/** How long an address outlives its TTL, ms. */
export const GRACE: Millis = 300_000;
/** A longer TTL counts as this, ms: a week (RFC 8767 section 4). */
const LONGEST: Millis = 604_800_000;

/** What is known of the names of addresses. */
export interface NameMemory {
  /** The names that led to an address, the last told one first. */
  namesOf(ip: Ipv4): readonly string[];
  /** Changes when an address got a name that it did not have. */
  readonly version: number;
}

interface Told {
  readonly name: string;
  until: Millis;
}

const NONE: readonly string[] = [];

export class DnsMemory implements NameMemory {
  version = 0;
  /** Addresses and names that went at a limit. */
  forgotten = 0;
  private readonly addresses = new Map<Ipv4, Told[]>();
  private readonly now: () => Millis;

  constructor(now: () => Millis) {
    this.now = now;
  }

  get size(): number {
    return this.addresses.size;
  }

  /** The guest was told this address of a name (normal form), for so many seconds. */
  learn(name: string, ip: Ipv4, ttl: number): void {
    const until = this.now() + Math.min(ttl * 1000, LONGEST) + GRACE;
    const known = this.addresses.get(ip);
    // Moved to the end: the map is in the order of telling.
    if (known !== undefined) this.addresses.delete(ip);
    else if (this.addresses.size >= MAX_ADDRESSES) this.forgetOldest();
    const names = known ?? [];
    this.addresses.set(ip, names);
    const at = names.findIndex((told) => told.name === name);
    const [told] = at < 0 ? [] : names.splice(at, 1);
    if (told === undefined || told.until < this.now()) this.version++;
    names.unshift({ name, until: Math.max(until, told?.until ?? 0) });
    if (names.length <= MAX_NAMES) return;
    names.pop();
    this.forgotten++;
  }

  namesOf(ip: Ipv4): readonly string[] {
    const names = this.addresses.get(ip);
    if (names === undefined) return NONE;
    const now = this.now();
    const alive = names.filter(({ until }) => until >= now);
    if (alive.length === 0) this.addresses.delete(ip);
    else if (alive.length < names.length) this.addresses.set(ip, alive);
    return alive.map(({ name }) => name);
  }

  private forgetOldest(): void {
    for (const oldest of this.addresses.keys()) {
      this.addresses.delete(oldest);
      this.forgotten++;
      return;
    }
  }
}

/** Knows nothing. */
export const noNames: NameMemory = { namesOf: () => NONE, version: 0 };
