/**
 * The lease table: who holds which address until when.
 *
 * Theory of operation. A lease is offered (`OFFER_MILLIS`), bound (until it expires), free (expired or released: its
 * client gets the same address again as long as nobody else needed it) or declined (somebody answers on that address:
 * nobody gets it for a while). A new client gets the lowest address that never had a lease; when there is none, the
 * one that has been free for longest. The table holds at most `maxLeases` leases, of one guest at most
 * `maxPerGuest`, free and declined ones included; at the limit the oldest free one makes room, or nobody gets one.
 *
 * Clients are told apart by client id or MAC (RFC 2131 section 4.2), but a lease belongs to the guest that got it: a
 * clone of it on another port, with the same ids, is another client for as long as the first is attached.
 *
 * A lease outlives its guest: a machine that comes back finds it. But the address that is kept for a guest (its place) is
 * for whatever machine is there now; `predecessor` says whether one that was there before still has it.
 */
import { Timer, Timers, type Ipv4, type Mac, type Millis } from '../core/index.js';
import type { AddressPool, DhcpClient, GuestKey, ReserveResult } from './pool.js';

export type LeaseState = 'offered' | 'bound' | 'free' | 'declined';

/** How long an offered address waits for the client's request (RFC 2131 section 3.1 wants it kept). */
export const OFFER_MILLIS = 30_000;

/** How long a machine that went away, and may come back, keeps the address of its place from the next one. */
export const COME_BACK_MILLIS = 10_000;

export interface LeaseLimits {
  /** Leases of all guests. Default 4096. */
  readonly maxLeases?: number | undefined;
  /** Leases of one guest. Default 64. */
  readonly maxPerGuest?: number | undefined;
  /** How long a declined address stays out of use. Default 600,000. */
  readonly declineMillis?: Millis | undefined;
}

export class Lease {
  readonly ip: Ipv4;
  key: string;
  mac: Mac;
  clientId: string | undefined;
  hostname: string | undefined;
  guest: GuestKey | undefined;
  /** Who had it before this process began: where it is looked for until it speaks. */
  restoredGuest: GuestKey | undefined;
  /** Who had it when it was last attached, and when that ended. */
  formerGuest: GuestKey | undefined;
  leftAt: Millis = 0;
  state: LeaseState = 'free';
  /** End of `state` on the monotonic clock; Infinity when it is free or never ends. */
  get until(): Millis {
    return this.timer.at;
  }
  readonly timer: Timer;

  constructor(ip: Ipv4, client: DhcpClient, fire: (lease: Lease, now: Millis) => void) {
    this.ip = ip;
    this.key = client.key;
    this.mac = client.mac;
    this.clientId = client.clientId;
    this.hostname = client.hostname;
    this.guest = client.guest;
    this.timer = new Timer((now) => fire(this, now));
  }
}

export type LeaseRefusal = 'poolExhausted' | 'tableFull' | 'guestLimit';
/** A lease on the address of a place, held by another machine than the one that is there now. */
export interface Predecessor {
  readonly lease: Lease;
  /** It is gone for good; otherwise it may still be there, beside the new one. */
  readonly gone: boolean;
}

/** Who hears of leases. */
export interface LeaseListener {
  expired(lease: Lease, now: Millis): void;
  /** A lease that is kept over a restart became another one, or there is none any more. */
  changed(ip: Ipv4): void;
}

/** What the table thinks of a client's claim to an address. */
export type Claim = 'own' | 'other' | 'unknown' | 'impossible';

export class LeaseTable {
  readonly pool: AddressPool;
  private readonly maxLeases: number;
  private readonly maxPerGuest: number;
  private readonly declineMillis: Millis;
  private readonly inUse: (ip: Ipv4, guest: GuestKey | undefined) => boolean;
  private readonly listener: LeaseListener;
  private readonly timers = new Timers();
  private readonly byIp = new Map<Ipv4, Lease>();
  private readonly byKey = new Map<string, Lease>();
  private readonly perGuest = new Map<GuestKey, number>();
  /** Free leases, the one that has been free for longest first. */
  private readonly free = new Set<Lease>();
  /** How often an address went to another client because no fresh one was left. */
  reused = 0;

  constructor(
    pool: AddressPool,
    limits: LeaseLimits,
    inUse: (ip: Ipv4, guest: GuestKey | undefined) => boolean,
    listener: LeaseListener,
  ) {
    this.pool = pool;
    this.maxLeases = limits.maxLeases ?? 4096;
    this.maxPerGuest = limits.maxPerGuest ?? 64;
    this.declineMillis = limits.declineMillis ?? 600_000;
    this.inUse = inUse;
    this.listener = listener;
  }

  get size(): number {
    return this.byIp.size;
  }

  values(): IterableIterator<Lease> {
    return this.byIp.values();
  }

  /** All of them: free ones first, the one that has been free for longest foremost. */
  *inOrderOfReuse(): IterableIterator<Lease> {
    yield* this.free;
    for (const lease of this.byIp.values()) if (lease.state !== 'free') yield lease;
  }

  at(ip: Ipv4): Lease | undefined {
    return this.byIp.get(ip);
  }

  /** When `poll` has something to do next. */
  nextTimeout(): Millis {
    return this.timers.next();
  }

  poll(now: Millis): void {
    this.timers.run(now);
  }

  /** The lease of a client, whatever its state; never one that belongs to another attached guest. */
  find(client: DhcpClient): Lease | undefined {
    const clone = client.guest === undefined ? undefined : this.byKey.get(guestKeyOf(client));
    if (clone) return clone;
    const lease = this.byKey.get(client.key);
    const foreign = lease?.guest !== undefined && client.guest !== undefined && lease.guest !== client.guest;
    return foreign ? undefined : lease;
  }

  /**
   * Finds the address that a client shall be offered: the one kept for it, the one it has or had, the one it asks for
   * when nobody has or had it, a new one (RFC 2131 section 4.3.1). A lease that is not bound becomes offered.
   */
  offer(client: DhcpClient, requested: Ipv4 | undefined, now: Millis): Lease | LeaseRefusal {
    const lease = this.keep(client) ?? this.create(client, requested);
    if (typeof lease === 'string') return lease;
    this.adopt(lease, client);
    if (lease.state !== 'bound') this.enter(lease, 'offered', now + OFFER_MILLIS);
    return lease;
  }

  /**
   * Judges a claim: `own` it holds or held the address and may keep it; `other` it shall have another one;
   * `unknown` nothing is known of this client and nobody has the address; `impossible` somebody else has it, or
   * nobody may.
   */
  claim(client: DhcpClient, ip: Ipv4): Claim {
    const lease = this.find(client);
    const fixed = this.pool.fixedFor(client);
    if (lease?.ip === ip) {
      const better = this.moves(lease, fixed) && this.available(fixed, client);
      return this.mayKeep(lease, client) && !better ? 'own' : 'other';
    }
    if (!this.available(ip, client)) return 'impossible';
    if (lease) return fixed === ip ? 'unknown' : 'other';
    return fixed === undefined || fixed === ip || !this.available(fixed, client) ? 'unknown' : 'other';
  }

  /** Binds an address that `claim` called own or unknown. */
  bind(client: DhcpClient, ip: Ipv4, until: Millis): Lease | LeaseRefusal {
    let lease = this.find(client);
    if (lease?.ip !== ip) {
      if (lease) this.remove(lease);
      const made = this.take(ip, client);
      if (typeof made === 'string') return made;
      lease = made;
    }
    this.adopt(lease, client);
    this.enter(lease, 'bound', until);
    return lease;
  }

  /** Gives a lease up; its client gets the address again while it is free. */
  release(lease: Lease): void {
    this.enter(lease, 'free', Number.POSITIVE_INFINITY);
  }

  /** Sets an address aside and forgets who had it. */
  decline(lease: Lease, now: Millis): void {
    this.byKey.delete(lease.key);
    lease.key = `declined ${lease.ip}`;
    this.byKey.set(lease.key, lease);
    this.enter(lease, 'declined', now + this.declineMillis);
  }

  /** Keeps an address for a guest; `taken` while another client holds it. Loosely: leases in force go before it. */
  reserve(guest: GuestKey, ip: Ipv4, loosely = false): ReserveResult {
    const lease = this.byIp.get(ip);
    if (lease && lease.state !== 'free' && lease.guest !== guest) {
      // A restored lease whose guest has not spoken yet, or one that went away, is nobody's until it comes back.
      if (lease.guest !== undefined || lease.state === 'declined') return 'taken';
    }
    return this.pool.reserve(guest, ip, loosely);
  }

  /** A guest went away: its leases run on, and whoever comes with the same ids has them. Its reservation stays. */
  detach(guest: GuestKey, now: Millis): void {
    this.perGuest.delete(guest);
    for (const lease of [...this.byIp.values()]) {
      if (lease.guest !== guest) continue;
      lease.guest = undefined;
      lease.formerGuest = guest;
      lease.leftAt = now;
      const plain = plainKeyOf(lease.key);
      if (plain === lease.key || this.byKey.has(plain)) continue;
      this.byKey.delete(lease.key);
      lease.key = plain;
      this.byKey.set(plain, lease);
    }
  }

  /** The lease of another machine on the address that is kept for this client's place; only for a client without one. */
  predecessor(client: DhcpClient, now: Millis): Predecessor | undefined {
    const fixed = client.guest === undefined ? undefined : this.pool.fixedFor(client);
    const lease = fixed === undefined ? undefined : this.byIp.get(fixed);
    if (lease?.state !== 'bound' || lease.mac === client.mac || this.find(client) !== undefined)
      return undefined;
    if (lease.guest === client.guest) return { lease, gone: false };
    if (lease.guest !== undefined || lease.formerGuest !== client.guest) return undefined;
    // The same name is the same machine, made anew; any other may be back in a moment, after a link that broke.
    const same = lease.hostname !== undefined && lease.hostname === client.hostname;
    return same || now - lease.leftAt >= COME_BACK_MILLIS ? { lease, gone: true } : undefined;
  }

  /** Puts back a lease of a snapshot; false when its place is taken or no longer ours to give. */
  restore(client: DhcpClient, ip: Ipv4, state: 'bound' | 'free', until: Millis): boolean {
    if (this.byIp.has(ip) || this.byKey.has(client.key) || this.byIp.size >= this.maxLeases) return false;
    if (!this.pool.isHost(ip)) return false;
    const lease = this.insert(ip, client);
    this.enter(lease, state, until);
    return true;
  }

  /** The lease that a client goes on with, moved to the address that is kept for it. */
  private keep(client: DhcpClient): Lease | undefined {
    const lease = this.find(client);
    const fixed = this.pool.fixedFor(client);
    if (this.moves(lease, fixed) && this.available(fixed, client)) {
      if (lease) this.remove(lease);
      const taken = this.take(fixed, client);
      return typeof taken === 'string' ? undefined : taken;
    }
    if (lease && !this.mayKeep(lease, client)) {
      this.remove(lease);
      return undefined;
    }
    return lease;
  }

  /** Whether a client shall have the address kept for it instead of the one it has. */
  private moves(lease: Lease | undefined, fixed: Ipv4 | undefined): fixed is Ipv4 {
    if (fixed === undefined || lease?.ip === fixed) return false;
    return lease?.state !== 'bound' || !this.pool.isLoose(fixed);
  }

  private mayKeep(lease: Lease, client: DhcpClient): boolean {
    return this.pool.allows(lease.ip, client) || (lease.state === 'bound' && this.pool.isLoose(lease.ip));
  }

  private create(client: DhcpClient, requested: Ipv4 | undefined): Lease | LeaseRefusal {
    if (requested !== undefined && !this.byIp.has(requested) && this.available(requested, client)) {
      return this.take(requested, client);
    }
    const fresh = this.pool.lowestFree(
      (candidate) => this.byIp.has(candidate) || this.inUse(candidate, client.guest),
    );
    const ip = fresh ?? this.oldestFree(client);
    if (ip === undefined) return 'poolExhausted';
    if (fresh === undefined) this.reused++;
    return this.take(ip, client);
  }

  private oldestFree(client: DhcpClient): Ipv4 | undefined {
    for (const lease of this.free) if (this.available(lease.ip, client)) return lease.ip;
    return undefined;
  }

  /** Whether a client that does not hold the address could get it now. */
  private available(ip: Ipv4, client: DhcpClient): boolean {
    if (!this.pool.allows(ip, client)) return false;
    const lease = this.byIp.get(ip);
    if (!lease || lease.state === 'free') return lease?.key === client.key || !this.inUse(ip, client.guest);
    // One guest, one interface, another client id: a boot loader gave way to the system that it started.
    return lease.state !== 'declined' && this.mayTakeOver(lease, client);
  }

  private mayTakeOver(lease: Lease, client: DhcpClient): boolean {
    const sameGuest = lease.guest === undefined || lease.guest === client.guest;
    return sameGuest && lease.mac === client.mac && this.pool.fixedFor(client) === lease.ip;
  }

  /** Makes a lease on an available address within the limits. */
  private take(ip: Ipv4, client: DhcpClient): Lease | LeaseRefusal {
    const old = this.byIp.get(ip);
    if (old) this.remove(old);
    if (client.guest !== undefined && (this.perGuest.get(client.guest) ?? 0) >= this.maxPerGuest) {
      if (!this.evict((lease) => lease.guest === client.guest)) return 'guestLimit';
    }
    if (this.byIp.size >= this.maxLeases && !this.evict(() => true)) return 'tableFull';
    return this.insert(ip, client);
  }

  private evict(which: (lease: Lease) => boolean): boolean {
    for (const lease of this.free) {
      if (!which(lease)) continue;
      this.remove(lease);
      return true;
    }
    return false;
  }

  private insert(ip: Ipv4, client: DhcpClient): Lease {
    const lease = new Lease(ip, client, (ended, now) => this.ended(ended, now));
    if (this.byKey.has(lease.key)) lease.key = guestKeyOf(client);
    this.byIp.set(ip, lease);
    this.byKey.set(lease.key, lease);
    this.free.add(lease);
    if (lease.guest !== undefined) this.count(lease.guest, 1);
    return lease;
  }

  private remove(lease: Lease): void {
    this.timers.cancel(lease.timer);
    this.free.delete(lease);
    this.byIp.delete(lease.ip);
    this.byKey.delete(lease.key);
    if (lease.guest !== undefined) this.count(lease.guest, -1);
    this.listener.changed(lease.ip);
  }

  /** The client as it is now: names and ids may have changed, and the guest may be a new one. */
  private adopt(lease: Lease, client: DhcpClient): void {
    lease.mac = client.mac;
    lease.clientId = client.clientId;
    lease.hostname = client.hostname ?? lease.hostname;
    if (lease.guest === client.guest || client.guest === undefined) return;
    if (lease.guest !== undefined) this.count(lease.guest, -1);
    lease.guest = client.guest;
    this.count(client.guest, 1);
  }

  private enter(lease: Lease, state: LeaseState, until: Millis): void {
    lease.state = state;
    this.free.delete(lease);
    if (state === 'free') this.free.add(lease);
    this.timers.set(lease.timer, until);
    // An offer that nobody takes up is nothing to keep; until then what was kept of the address stays.
    if (state !== 'offered') this.listener.changed(lease.ip);
  }

  private ended(lease: Lease, now: Millis): void {
    const was = lease.state;
    if (was === 'declined') this.remove(lease);
    else this.release(lease);
    if (was === 'bound') this.listener.expired(lease, now);
  }

  private count(guest: GuestKey, change: number): void {
    const count = (this.perGuest.get(guest) ?? 0) + change;
    if (count > 0) this.perGuest.set(guest, count);
    else this.perGuest.delete(guest);
  }
}

/** The key of a client whose plain key another attached guest holds. */
function guestKeyOf(client: DhcpClient): string {
  return `${client.key} of ${String(client.guest)}`;
}

function plainKeyOf(key: string): string {
  const at = key.indexOf(' of ');
  return at < 0 ? key : key.slice(0, at);
}
