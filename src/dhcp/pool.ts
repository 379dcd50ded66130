/**
 * Which addresses may be handed out, and which of them are kept for whom.
 *
 * Never handed out: the network's own and its broadcast address, the gateway, the host alias and whatever else is
 * excluded. A static lease or a guest's reservation keeps its address from everybody else, inside the range or not.
 */
import { cidrContains, cidrLast, type Cidr, type Ipv4, type Mac } from '../core/index.js';
import type { DhcpSettings } from './settings.js';

/** Whatever identifies an attachment; stable as long as it is attached. */
export type GuestKey = string | number;

/** What a client is known by. */
export interface DhcpClient {
  /** `clientKey` of it. */
  readonly key: string;
  readonly mac: Mac;
  /** Option 61 in hexadecimal. */
  readonly clientId: string | undefined;
  /** Option 12, cleaned. */
  readonly hostname: string | undefined;
  readonly guest: GuestKey | undefined;
}

/**
 * An address kept for one client. It must match the MAC and the client id where these are given. When neither is, the
 * client that asks with the host name gets it; otherwise the host name is told to the client.
 */
export interface StaticLease {
  readonly ip: Ipv4;
  readonly mac?: Mac | undefined;
  /** Hexadecimal, lower case. */
  readonly clientId?: string | undefined;
  readonly hostname?: string | undefined;
  /** What this client is told, before what all are. */
  readonly settings?: DhcpSettings | undefined;
}

export interface PoolConfig {
  readonly subnet: Cidr;
  /** Addresses never handed out: gateway, host alias. */
  readonly excluded: readonly Ipv4[];
  /** First and last address of the dynamic range, inclusive. Default: the whole subnet. */
  readonly range?: { readonly first: Ipv4; readonly last: Ipv4 } | undefined;
  readonly statics?: readonly StaticLease[] | undefined;
}

export type ReserveResult = 'ok' | 'outOfRange' | 'taken';

export class AddressPool {
  private readonly subnet: Cidr;
  private readonly first: number;
  private readonly last: number;
  private readonly excluded: ReadonlySet<Ipv4>;
  private readonly statics: readonly StaticLease[];
  private readonly staticIps = new Map<Ipv4, StaticLease>();
  private readonly byGuest = new Map<GuestKey, Ipv4>();
  private readonly guestOf = new Map<Ipv4, GuestKey>();
  /** Reservations that give way to whoever holds a lease on the address already. */
  private readonly loose = new Set<Ipv4>();

  constructor(config: PoolConfig) {
    this.subnet = config.subnet;
    this.excluded = new Set(config.excluded);
    this.first = Math.max(config.subnet.base, config.range?.first ?? 0);
    this.last = Math.min(cidrLast(config.subnet), config.range?.last ?? 0xffffffff);
    this.statics = config.statics ?? [];
    for (const lease of this.statics) if (this.isHost(lease.ip)) this.staticIps.set(lease.ip, lease);
  }

  /** An address of the subnet that a client could have. */
  isHost(ip: Ipv4): boolean {
    const { subnet } = this;
    if (!cidrContains(subnet, ip) || this.excluded.has(ip)) return false;
    // RFC 3021: in a /31 (and a /32) no address means network or broadcast.
    return subnet.prefix >= 31 || (ip !== subnet.base && ip !== cidrLast(subnet));
  }

  inSubnet(ip: Ipv4): boolean {
    return cidrContains(this.subnet, ip);
  }

  /** Whether this client may hold the address: it is kept for it, or dynamic and kept for nobody. */
  allows(ip: Ipv4, client: DhcpClient): boolean {
    if (!this.isHost(ip)) return false;
    const keeper = this.staticIps.get(ip);
    if (keeper) return matches(keeper, client);
    const guest = this.guestOf.get(ip);
    if (guest !== undefined) return guest === client.guest;
    return ip >= this.first && ip <= this.last;
  }

  /** The address kept for a client, static before reserved; undefined when there is none. */
  fixedFor(client: DhcpClient): Ipv4 | undefined {
    const lease = this.staticFor(client);
    if (lease) return lease.ip;
    return client.guest === undefined ? undefined : this.byGuest.get(client.guest);
  }

  /** The static lease that a client matches: one that names MAC or client id before one that names the host name. */
  staticFor(client: DhcpClient): StaticLease | undefined {
    const own = this.statics.filter((lease) => this.isHost(lease.ip) && matches(lease, client));
    return own.find((lease) => lease.mac !== undefined || lease.clientId !== undefined) ?? own[0];
  }

  /** Whether the address is kept for a guest only as far as nobody has a lease on it. */
  isLoose(ip: Ipv4): boolean {
    return this.loose.has(ip);
  }

  /** Keeps an address for a guest instead of the one kept before. Leases are the caller's to look at. */
  reserve(guest: GuestKey, ip: Ipv4, loosely = false): ReserveResult {
    if (!this.isHost(ip)) return 'outOfRange';
    const holder = this.guestOf.get(ip);
    if ((holder !== undefined && holder !== guest) || this.staticIps.has(ip)) return 'taken';
    this.unreserve(guest);
    this.byGuest.set(guest, ip);
    this.guestOf.set(ip, guest);
    if (loosely) this.loose.add(ip);
    return 'ok';
  }

  unreserve(guest: GuestKey): void {
    const ip = this.byGuest.get(guest);
    if (ip === undefined) return;
    this.byGuest.delete(guest);
    this.guestOf.delete(ip);
    this.loose.delete(ip);
  }

  reservationOf(guest: GuestKey): Ipv4 | undefined {
    return this.byGuest.get(guest);
  }

  /** The lowest dynamic address that is kept for nobody and not `taken`. */
  lowestFree(taken: (ip: Ipv4) => boolean): Ipv4 | undefined {
    for (let value = this.first; value <= this.last; value++) {
      const ip = value as Ipv4;
      if (this.isHost(ip) && !this.staticIps.has(ip) && !this.guestOf.has(ip) && !taken(ip)) return ip;
    }
    return undefined;
  }
}

function matches(lease: StaticLease, client: DhcpClient): boolean {
  if (lease.mac === undefined && lease.clientId === undefined) {
    return lease.hostname !== undefined && lease.hostname.toLowerCase() === client.hostname;
  }
  return (
    (lease.mac === undefined || lease.mac === client.mac) &&
    (lease.clientId === undefined || lease.clientId === client.clientId)
  );
}
