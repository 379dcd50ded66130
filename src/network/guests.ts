/** Who is attached, and who is meant: names, reservations, the guest of a published port. */
import type { Neighbour } from '../arp/index.js';
import {
  type HashKey,
  type Ipv4,
  type Mac,
  NetproxyError,
  cidrContains,
  cidrLast,
  formatIpv4,
  hash4,
  ipv4,
  macHigh,
  macLow,
  parseIpv4,
  parseMac,
} from '../core/index.js';
import type { GuestSpec } from '../forwarder/index.js';
import type { VpnkitAssignment } from '../link/index.js';
import type { Stack } from '../stack/index.js';
import { type Addresses, parseGuestMac } from './addresses.js';
import { dhcpSettings } from './dhcp-config.js';
import type { DhcpService } from './dhcp-service.js';
import type { Guest } from './guest.js';
import type { AttachOptions } from './types.js';

/** UUIDs of vpnkit guests that are remembered; beyond, the one that came first is forgotten. */
export const MAX_UUIDS = 4096;
/** What a UUID becomes as a MAC address is no secret. */
const NO_SECRET: HashKey = [0, 0];

export class Guests {
  private readonly stack: Stack;
  private readonly dhcp: DhcpService;
  private readonly addresses: Addresses;
  private readonly list = new Set<Guest>();
  private readonly uuids = new Map<string, { readonly ip: Ipv4; readonly mac: Mac }>();
  /** Of vpnkit guests that are known beforehand, by UUID. */
  private readonly macs = new Map<string, Mac>();
  readonly counters = { uuidsForgotten: 0 };
  private firstKey: string | undefined;

  constructor(
    stack: Stack,
    dhcp: DhcpService,
    addresses: Addresses,
    macs: Readonly<Record<string, string>> = {},
  ) {
    for (const [uuid, text] of Object.entries(macs)) {
      const mac = parseGuestMac(text);
      if (mac !== undefined) this.macs.set(uuid.toLowerCase(), mac);
    }
    this.stack = stack;
    this.dhcp = dhcp;
    this.addresses = addresses;
  }

  /** In the order in which they came. */
  all(): Guest[] {
    return [...this.list];
  }

  byName(name: string): Guest | undefined {
    for (const guest of this.list) if (guest.name === name) return guest;
    return undefined;
  }

  byKey(key: string): Guest | undefined {
    for (const guest of this.list) if (guest.key === key) return guest;
    return undefined;
  }

  /** The name that was asked for, or the first free `guestN`. Throws ERR_NETPROXY_STATE when it is taken. */
  nameFor(wanted: string | undefined): string {
    if (wanted !== undefined) {
      if (!/^[\w.-]{1,64}$/.test(wanted)) {
        throw new NetproxyError('ERR_NETPROXY_CONFIG', `bad guest name "${wanted}"`, {
          remedy: 'Allowed are 1 to 64 letters, digits, dots, dashes and underscores.',
        });
      }
      if (this.byName(wanted) !== undefined)
        throw new NetproxyError('ERR_NETPROXY_STATE', `a guest named ${wanted} is attached already`);
      return wanted;
    }
    for (let n = 1; ; n++) if (this.byName(`guest${n}`) === undefined) return `guest${n}`;
  }

  /** Enters a guest and keeps its address for it. */
  add(guest: Guest, options: AttachOptions): void {
    this.list.add(guest);
    const { server } = this.dhcp;
    const named = this.dhcp.plan.byGuest.get(guest.name);
    const own = options.dhcp === undefined ? {} : dhcpSettings(options.dhcp, guest.name, this.addresses);
    guest.told = { mtu: options.mtu ?? this.addresses.mtu, ...named?.settings, ...own };
    const text = options.ip ?? (named === undefined ? undefined : formatIpv4(named.ip));
    if (text !== undefined) {
      const ip = parseIpv4(text);
      const result = ip === undefined ? 'outOfRange' : server.reserve(guest.key, ip);
      if (result !== 'ok') {
        throw new NetproxyError(
          'ERR_NETPROXY_CONFIG',
          `cannot keep ${text} for guest ${guest.name}: ${result === 'taken' ? 'another guest has it' : 'it is no free address of the subnet'}`,
        );
      }
    } else if (!this.uuids.has(guest.key) && (this.firstKey === undefined || this.firstKey === guest.key)) {
      // The first guest, and whoever takes its place, has the address that --guest-ip says, unless somebody leased it.
      if (server.reserve(guest.key, this.addresses.guestIp, true) === 'ok') this.firstKey = guest.key;
    }
  }

  remove(guest: Guest): void {
    this.list.delete(guest);
    this.dhcp.detach(guest);
  }

  /** The place of a guest that is meant by name or host name, by MAC address, by address, or as the first one. */
  find(spec: GuestSpec, callback: (neighbour: Neighbour | undefined) => void): void {
    if (spec.guestIp !== undefined) this.at(parseIpv4(spec.guestIp), callback);
    else if (spec.guestMac !== undefined) this.withMac(parseMac(spec.guestMac), callback);
    else if (spec.guest === undefined) this.of(this.firstWithAddress(), callback);
    else {
      const guest = this.byName(spec.guest);
      if (guest !== undefined) this.of(guest, callback);
      // The address that this host name has now: leases change hands.
      else this.at(this.dhcp.server.addressOf(spec.guest), callback);
    }
  }

  private at(ip: Ipv4 | undefined, callback: (neighbour: Neighbour | undefined) => void): void {
    if (ip === undefined) callback(undefined);
    else this.stack.arp.resolve(ip, callback);
  }

  private of(guest: Guest | undefined, callback: (neighbour: Neighbour | undefined) => void): void {
    const restored = guest && this.dhcp.server.restoredAddress(guest.key);
    const ip = guest?.address ?? restored ?? this.addresses.guestIp;
    const known = guest?.port.neighbours.find(ip);
    if (known !== undefined) callback(known);
    else if (guest === undefined) this.at(ip, callback);
    // Another guest may have this address: what answers must be the one that is meant.
    else this.at(ip, (found) => callback(found?.port === guest.port.id ? found : undefined));
  }

  /** The machine with this MAC address: at the address that is leased to it, else at one that it uses. */
  private withMac(mac: Mac | undefined, callback: (neighbour: Neighbour | undefined) => void): void {
    const leased = mac && this.dhcp.server.addressOfMac(mac);
    if (mac !== undefined) {
      const [high, low] = [macHigh(mac), macLow(mac)];
      for (const { port } of this.list)
        for (const one of port.neighbours)
          if (one.macHigh === high && one.macLow === low && (leased ?? one.ip) === one.ip) {
            callback(one);
            return;
          }
    }
    this.at(leased, callback);
  }

  /** vpnkit: the same UUID gets the same address and MAC again. */
  assign(uuid: string, preferred?: Ipv4): VpnkitAssignment {
    const known = this.uuids.get(uuid);
    if (known !== undefined) {
      if (preferred !== undefined && preferred !== known.ip)
        return {
          ok: false,
          message: 'UUID already assigned to a different IP than the IP requested by the client',
        };
      return { ok: true, ...known };
    }
    const mac = this.macs.get(uuid.toLowerCase()) ?? this.macOf(uuid);
    const ip = preferred === undefined ? this.freeAddress(uuid, mac) : this.claim(uuid, preferred);
    if (typeof ip === 'string') return { ok: false, message: ip };
    if (this.uuids.size >= MAX_UUIDS) {
      const oldest = this.uuids.keys().next().value;
      if (oldest !== undefined) this.forget(oldest);
      this.counters.uuidsForgotten++;
    }
    this.uuids.set(uuid, { ip, mac });
    return { ok: true, ip, mac };
  }

  /** The same for a UUID after a restart, too, so that its lease is found again; unless another guest has it. */
  private macOf(uuid: string): Mac {
    let hash = 0;
    for (const char of uuid.toLowerCase()) hash = hash4(NO_SECRET, hash, char.codePointAt(0) ?? 0, 0, 0);
    const mac = vpnkitMac(hash);
    for (const other of this.uuids.values())
      if (other.mac === mac) return vpnkitMac(this.stack.deps.random.u32());
    return mac;
  }

  private claim(uuid: string, ip: Ipv4): Ipv4 | string {
    const { subnet } = this.addresses;
    if (!cidrContains(subnet, ip) || ip === subnet.base || ip === cidrLast(subnet))
      return 'Preferred IP address out of range.';
    return this.dhcp.server.reserve(uuid, ip) === 'ok'
      ? ip
      : `Preferred IP address ${formatIpv4(ip)} already used.`;
  }

  /** The address that is leased to this machine; else the first that is not leased to another, else one that is but waits for nobody. */
  private freeAddress(uuid: string, mac: Mac): Ipv4 | string {
    const { subnet, guestIp } = this.addresses;
    const { server } = this.dhcp;
    const before = server.addressOfMac(mac);
    if (before !== undefined && server.reserve(uuid, before) === 'ok') return before;
    const count = cidrLast(subnet) - subnet.base - 1;
    for (const leased of [false, true])
      for (let n = 0; n < count; n++) {
        const ip = ipv4(subnet.base + 1 + ((guestIp - subnet.base - 1 + n) % count));
        if ((server.leaseAt(ip) !== undefined) === leased && server.reserve(uuid, ip) === 'ok') return ip;
      }
    return 'No IP addresses available.';
  }

  private forget(uuid: string): void {
    this.uuids.delete(uuid);
    this.dhcp.server.unreserve(uuid);
  }

  private firstWithAddress(): Guest | undefined {
    let first: Guest | undefined;
    for (const guest of this.list) {
      if (guest.address !== undefined) return guest;
      first ??= guest;
    }
    return first;
  }
}

/** An address of the kind that vpnkit gives, by the lower 24 bits. */
function vpnkitMac(bits: number): Mac {
  const last = [16, 8, 0].map((shift) => ((bits >>> shift) & 255).toString(16).padStart(2, '0'));
  return `02:50:00:${last.join(':')}` as Mac;
}
