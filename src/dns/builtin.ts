/**
 * Names that netproxy answers by itself, in every network state:
 *
 * - `host` and `gateway` in the built-in zones, extra hosts, guests by their DHCP host names (in the guest zone and
 *   as a single label), and the PTR records of all of them. Within these zones and the subnet's reverse names we are
 *   the authority: a name that is not there is NXDOMAIN, a name without the asked type NODATA, both with an SOA.
 * - the special names of RFC 6761 that never leave a host: localhost, invalid, and onion (RFC 7686).
 */
import {
  type Cidr,
  type Ipv4,
  canonicalAddress,
  cidrContains,
  formatIpv4,
  ipv4,
  parseIpv4,
} from '../core/index.js';
import {
  addressRecord,
  pointerRecord,
  recordData,
  soaRecord,
  type AnswerParts,
  type DnsRecord,
} from './answer.js';
import { CLASS_IN, Rcode, RecordType } from './codes.js';
import type { Question } from './message.js';
import { isWithin, normalName, reverseAddress, reverseName } from './names.js';
import type { LocalNames } from './types.js';

/** Who the guests are: from the DHCP leases. */
export interface GuestNames {
  /** The address of a guest by its host name, one lower-case label. */
  addressOf(hostname: string): Ipv4 | undefined;
  /** The host name of the guest that has an address. */
  nameOf(ip: Ipv4): string | undefined;
}

/** A name of the configuration, anywhere in the name space. */
export interface ExtraHost {
  readonly name: string;
  /** IPv4 and IPv6 addresses as text. */
  readonly addresses: readonly string[];
}

export interface BuiltinConfig {
  readonly gateway: Ipv4;
  /** The address that stands for the host; absent: there is no `host` name. */
  readonly hostAlias?: Ipv4 | undefined;
  /** Addresses in it are ours to name. */
  readonly subnet: Cidr;
  /** Default: `DEFAULT_ZONES`. The first one also holds the guests' names. */
  readonly zones?: readonly string[] | undefined;
  readonly hosts?: readonly ExtraHost[] | undefined;
  readonly guests?: GuestNames | undefined;
  /** Seconds. Default 60. */
  readonly ttl?: number | undefined;
  /** Seconds that a guest's name may be kept. Default 10. */
  readonly guestTtl?: number | undefined;
}

export const DEFAULT_ZONES: readonly string[] = [
  'netproxy.internal',
  'docker.internal',
  'containers.internal',
];

/** Names that clients trust with their settings; a guest that calls itself so must not be asked by another one. */
const NEVER_GUESTS: ReadonlySet<string> = new Set(['wpad', 'isatap']);

interface Addresses {
  readonly list: readonly string[];
  readonly ttl: number;
}

export class BuiltinNames implements LocalNames {
  readonly source = 'builtin';
  private readonly config: BuiltinConfig;
  private readonly zones: readonly string[];
  private readonly guestZone: string | undefined;
  private readonly ttl: number;
  private readonly guestTtl: number;
  private readonly names = new Map<string, string[]>();
  private readonly pointers = new Map<string, string>();

  /** Names of the configuration that are no names are left out: the configuration's schema rejects them. */
  constructor(config: BuiltinConfig) {
    this.config = config;
    this.zones = (config.zones ?? DEFAULT_ZONES).flatMap((zone) => normalName(zone) ?? []);
    this.guestZone = this.zones[0];
    this.ttl = config.ttl ?? 60;
    this.guestTtl = config.guestTtl ?? 10;
    for (const zone of this.zones) {
      this.add(`gateway.${zone}`, [formatIpv4(config.gateway)]);
      if (config.hostAlias !== undefined) this.add(`host.${zone}`, [formatIpv4(config.hostAlias)]);
    }
    for (const host of config.hosts ?? []) this.add(host.name, host.addresses);
  }

  /** The answer to a question about a name of ours; undefined for every other name. */
  resolve(question: Question): AnswerParts | undefined {
    if (question.class !== CLASS_IN) return undefined;
    const { name, type } = question;
    const special = this.special(name, type);
    if (special) return special;
    const address = reverseAddress(name);
    if (address !== undefined) return this.reverse(name, type, address);
    const zone = this.zones.find((candidate) => isWithin(name, candidate));
    const found = this.find(name, type, zone);
    if (found) return this.answer(addressRecords(found, type), zone ?? name);
    if (zone === undefined) return undefined;
    if (name !== zone) return this.isBetween(name) ? this.answer([], zone) : this.missing(zone);
    if (type === RecordType.SOA) return this.answer([this.soa(zone)], zone);
    if (type !== RecordType.NS) return this.answer([], zone);
    const data = recordData({ type: 'NS', data: `gateway.${zone}` });
    return this.answer(data ? [{ type: RecordType.NS, ttl: this.ttl, data }] : [], zone);
  }

  private add(name: string, addresses: readonly string[]): void {
    const normal = normalName(name);
    if (normal === undefined) return;
    const list = this.names.get(normal) ?? [];
    this.names.set(normal, list);
    for (const address of addresses) {
      if (!list.includes(address)) list.push(address);
      // The first name that an address gets is the one that it is called by.
      const canonical = canonicalAddress(address);
      if (canonical !== undefined && !this.pointers.has(canonical)) this.pointers.set(canonical, normal);
    }
  }

  private find(name: string, type: number, zone: string | undefined): Addresses | undefined {
    const list = this.names.get(name);
    if (list) return { list, ttl: this.ttl };
    const guest = this.guestLabel(name, type, zone);
    if (guest === undefined || NEVER_GUESTS.has(guest)) return undefined;
    const ip = this.config.guests?.addressOf(guest);
    return ip === undefined ? undefined : { list: [formatIpv4(ip)], ttl: this.guestTtl };
  }

  /** `web` of `web.netproxy.internal`, and of `web`, which for other types is a top-level domain's to answer. */
  private guestLabel(name: string, type: number, zone: string | undefined): string | undefined {
    if (!name.includes('.')) return type === RecordType.A || type === RecordType.AAAA ? name : undefined;
    if (zone === undefined || zone !== this.guestZone || name === zone) return undefined;
    const label = name.slice(0, -zone.length - 1);
    return label.includes('.') ? undefined : label;
  }

  /** RFC 8020: a name that only has names below it exists. */
  private isBetween(name: string): boolean {
    for (const known of this.names.keys()) if (known.endsWith(`.${name}`)) return true;
    return false;
  }

  private reverse(name: string, type: number, address: string): AnswerParts | undefined {
    const known = this.pointers.get(address);
    const ip = parseIpv4(address);
    const inside = ip !== undefined && cidrContains(this.config.subnet, ip);
    const guest = known === undefined && inside ? this.config.guests?.nameOf(ip) : undefined;
    if (known === undefined && !inside) return undefined;
    const zone = inside ? this.reverseZone(ip) : undefined;
    const target = guest === undefined ? known : `${guest}.${this.guestZone ?? ''}`;
    if (target === undefined) return this.missing(zone ?? name);
    if (type !== RecordType.PTR && type !== RecordType.ANY) return this.answer([], zone ?? name);
    const record = pointerRecord(target, guest === undefined ? this.ttl : this.guestTtl);
    return this.answer(record ? [record] : [], zone ?? name);
  }

  /** The reverse zone of whole octets that an address of the subnet is in. */
  private reverseZone(ip: Ipv4): string {
    const octets = Math.min(3, this.config.subnet.prefix >>> 3);
    return reverseName(ip)
      .split('.')
      .slice(4 - octets)
      .join('.');
  }

  private special(name: string, type: number): AnswerParts | undefined {
    if (isWithin(name, 'localhost')) {
      return this.answer(addressRecords({ list: ['127.0.0.1', '::1'], ttl: this.ttl }, type), 'localhost');
    }
    if (isWithin(name, 'invalid')) return this.missing('invalid');
    if (isWithin(name, 'onion')) return this.missing('onion');
    if (name !== reverseName(LOOPBACK) && name !== LOOPBACK6) return undefined;
    const record = pointerRecord('localhost', this.ttl);
    return this.answer(type === RecordType.PTR && record ? [record] : [], name);
  }

  private answer(answers: readonly DnsRecord[], zone: string): AnswerParts {
    const authorities = answers.length === 0 ? [this.soa(zone)] : [];
    return { rcode: Rcode.noError, authoritative: true, answers, authorities };
  }

  private missing(zone: string): AnswerParts {
    return { rcode: Rcode.nxDomain, authoritative: true, authorities: [this.soa(zone)] };
  }

  private soa(zone: string): DnsRecord {
    const primary = this.guestZone === undefined ? 'localhost' : `gateway.${this.guestZone}`;
    return soaRecord(zone, primary, this.guestTtl);
  }
}

const LOOPBACK = ipv4(0x7f000001);
const LOOPBACK6 = `1.${'0.'.repeat(31)}ip6.arpa`;

function addressRecords(found: Addresses, type: number): readonly DnsRecord[] {
  const want = (family: 4 | 6): readonly DnsRecord[] => {
    const own = family === 4 ? RecordType.A : RecordType.AAAA;
    if (type !== own && type !== RecordType.ANY) return [];
    return found.list.flatMap((address) => addressRecord(address, family, found.ttl) ?? []);
  };
  return [...want(4), ...want(6)];
}
