/**
 * Whose address is whose: no guest speaks as the gateway, as the host alias, or as another guest.
 *
 * Theory of operation. A guest holds an IPv4 address that DHCP leased to it, as long as the lease lasts, and one that it
 * was the first to use, until it has not used it for HELD_AFTER_USE. It keeps the MAC addresses that it is configured with, that
 * its leases were made for, and the first that it sent from, while it is attached; others as long as the switch knows them. What
 * a guest says under an address that another attached guest holds is dropped and counted, on its way to the gateway and on
 * its way to other guests; so are answers of a DHCP server or an IPv6 router that a guest plays for others. A lease goes before
 * first use. Isolated guests meet nobody, so each has addresses of its own, whatever others have: clones work side by side.
 */
import {
  ARP_LENGTH,
  ARP_OPERATION,
  ARP_REQUEST,
  ARP_SENDER_IP,
  ARP_SENDER_MAC,
  ARP_TARGET_IP,
  type Neighbour,
} from '../arp/index.js';
import {
  type Block,
  type Ipv4,
  type Mac,
  type Millis,
  cidrContains,
  macFrom,
  macHigh,
  macLow,
} from '../core/index.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETH_HEADER, ETH_TYPE } from '../ethernet/index.js';
import { IP_FRAGMENT, IP_HEADER, IP_PROTOCOL, IP_SOURCE, PROTOCOL_UDP } from '../ipv4/index.js';
import type { StackPort } from './port.js';
import { isFromRouter } from './router-guard.js';
import type { Stack } from './stack.js';
import type { UdpIn } from './types.js';

const DHCP_SERVER_PORT = 67;
/** How long an address without a lease stays with the guest that used it, ms; as a switch keeps a MAC address. */
export const HELD_AFTER_USE: Millis = 300_000;
/** 169.254.0.0/16: what hosts without an address take (RFC 3927); it is nobody's. */
const LINK_LOCAL = 0xa9fe;
/** IEEE 802.1Q and 802.1ad tags; an operating system takes a frame tagged with VLAN 0 as if it had none. */
const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_QINQ = 0x88a8;
const MAX_TAGS = 2;

export class Guard {
  private readonly stack: Stack;

  /** No guest may take over another's addresses. */
  private readonly strict: boolean;

  constructor(stack: Stack) {
    this.stack = stack;
    this.strict = stack.config.antiSpoof ?? true;
  }

  /** May a guest at this port send from this MAC address? Learns it; counts why not. */
  mayUseMac(port: StackPort, high: number, low: number, now: Millis): boolean {
    const { stack } = this;
    const foreign = port.onlyMacHigh >= 0 && (high !== port.onlyMacHigh || low !== port.onlyMacLow);
    if (foreign || (high === stack.gatewayHigh && low === stack.gatewayLow)) {
      this.spoofed(port);
      return false;
    }
    if (port.isolated) return true;
    const { macs } = stack;
    if (this.strict && macs.isTaken(high, low, port.id, now)) {
      stack.counters.spoofedMac++;
      port.counters.spoofed++;
      stack.deps.logger.warn(
        `${port.label} sends from the MAC address of another guest: these frames are dropped`,
        { every: 60_000, mac: macFrom(high, low) },
      );
      return false;
    }
    if (port.lastMacHigh < 0) this.keepMac(port, high, low, false);
    macs.learn(high, low, port.id, now);
    return true;
  }

  /** Gives a guest the MAC address that it is configured with, also when another one had it that is not. */
  assignMac(port: StackPort, high: number, low: number): void {
    const holder = this.stack.port(this.stack.macs.lookup(high, low, this.stack.now()));
    port.onlyMacHigh = high;
    port.onlyMacLow = low;
    this.keepMac(port, high, low, holder?.onlyMacHigh !== high || holder.onlyMacLow !== low);
  }

  private keepMac(port: StackPort, high: number, low: number, seize: boolean): void {
    if (this.strict && !port.isolated) this.stack.macs.keep(high, low, port.id, seize);
  }

  /** May a guest at this port speak as this address? */
  mayUse(port: StackPort, ip: Ipv4): boolean {
    if (this.stack.isOurs(ip)) return false;
    if (!this.strict || port.isolated) return true;
    const now = this.stack.now();
    if ((port.neighbours.find(ip)?.heldUntil ?? 0) > now) return true;
    for (const other of this.stack.ports()) {
      if (other !== port && !other.isolated && (other.neighbours.find(ip)?.heldUntil ?? 0) > now)
        return false;
    }
    return true;
  }

  /** Notes that a guest uses an address that it may use. */
  learn(port: StackPort, ip: Ipv4, macHigh: number, macLow: number): Neighbour {
    // Where guests may take over, the last one to speak has the address.
    if (!this.strict && !port.isolated && port.neighbours.find(ip) === undefined)
      this.forgetElsewhere(port, ip);
    return port.neighbours.learn(ip, macHigh, macLow, this.stack.now() + HELD_AFTER_USE);
  }

  /** The address was leased to a guest: whoever used it without a lease loses it. */
  claim(port: StackPort, ip: Ipv4, macHigh: number, macLow: number, until: Millis): void {
    if (!port.isolated) this.forgetElsewhere(port, ip);
    port.neighbours.learn(ip, macHigh, macLow, until).leasedUntil = until;
    this.keepMac(port, macHigh, macLow, false);
  }

  /** The lease is over: of the guest at this port, or, when it is not there, of whoever had the address from it. */
  unclaim(ip: Ipv4, port: StackPort | undefined): void {
    if (port !== undefined) forget(port, ip);
    else for (const other of this.stack.ports()) if (!other.isolated) forget(other, ip);
  }

  /** Where an address is: with whom it is leased to, else with its holder, else with the guest that used it once. */
  find(ip: Ipv4): Neighbour | undefined {
    const now = this.stack.now();
    let best: Neighbour | undefined;
    let bestRank = -1;
    for (const port of this.stack.ports()) {
      const neighbour = port.neighbours.find(ip);
      if (neighbour === undefined) continue;
      const rank =
        (neighbour.leasedUntil > now ? 4 : 0) + (neighbour.heldUntil > now ? 2 : 0) + (port.isolated ? 0 : 1);
      if (rank <= bestRank) continue;
      best = neighbour;
      bestRank = rank;
    }
    return best;
  }

  /** An ARP packet speaks of its sender by the sender's own MAC address. Counts when not. */
  isOwnArp(from: StackPort, view: DataView, frame: number, arp: number): boolean {
    if (!this.strict) return true;
    const sender = arp + ARP_SENDER_MAC;
    if (
      view.getUint16(sender) === view.getUint16(frame + 6) &&
      view.getUint32(sender + 2) === view.getUint32(frame + 8)
    )
      return true;
    this.stack.counters.spoofedArp++;
    from.counters.spoofed++;
    return false;
  }

  /** A DHCP client asks for the hardware address that it sends from. Counts when not. */
  isOwnDhcp({ port, macHigh: high, macLow: low }: UdpIn, client: Mac): boolean {
    if (!this.strict || (macHigh(client) === high && macLow(client) === low)) return true;
    this.stack.counters.spoofedDhcp++;
    port.counters.spoofed++;
    return false;
  }

  /** May this frame of a guest go to other guests? Counts why not. */
  mayPass(from: StackPort, block: Block, at: number, length: number): boolean {
    const { view } = block.region;
    let type = view.getUint16(at + ETH_TYPE);
    let next = at + ETH_HEADER;
    const end = at + length;
    for (let n = 0; n < MAX_TAGS && isTag(type) && next + 4 <= end; n++) {
      type = view.getUint16(next + 2);
      next += 4;
    }
    // Some systems take off any number of tags, so a frame with more than anybody needs hides what it is.
    if (isTag(type) && this.strict) {
      this.spoofed(from);
      return false;
    }
    if (type === ETHERTYPE_ARP) return next + ARP_LENGTH > end || this.mayPassArp(from, view, at, next);
    if (type === ETHERTYPE_IPV4) return next + IP_HEADER > end || this.mayPassIpv4(from, view, next, end);
    if (type === ETHERTYPE_IPV6 && this.strict && isFromRouter(view, next, end)) {
      this.stack.counters.rogueRouter++;
      from.counters.spoofed++;
      return false;
    }
    return true;
  }

  private mayPassArp(from: StackPort, view: DataView, frame: number, arp: number): boolean {
    if (!this.isOwnArp(from, view, frame, arp)) return false;
    if (!this.speaksAs(from, view.getUint32(arp + ARP_SENDER_IP) as Ipv4)) return false;
    // Who asks for the gateway is answered by the gateway.
    const asks = view.getUint16(arp + ARP_OPERATION) === ARP_REQUEST;
    return !(asks && this.stack.isOurs(view.getUint32(arp + ARP_TARGET_IP) as Ipv4));
  }

  private mayPassIpv4(from: StackPort, view: DataView, ip: number, end: number): boolean {
    if (!this.speaksAs(from, view.getUint32(ip + IP_SOURCE) as Ipv4)) return false;
    const role = dhcpRole(view, ip, end);
    if (role === 'server' && this.strict) {
      this.stack.counters.rogueDhcp++;
      from.counters.spoofed++;
      return false;
    }
    // Questions for a DHCP server are answered by the gateway.
    return role !== 'client';
  }

  private speaksAs(from: StackPort, ip: Ipv4): boolean {
    if (from.lastNeighbour?.ip === ip || ip === 0) return true;
    const inside = cidrContains(this.stack.config.subnet, ip);
    if (inside ? this.mayUse(from, ip) : !this.strict || ip >>> 16 === LINK_LOCAL) return true;
    this.spoofed(from);
    return false;
  }

  private spoofed(from: StackPort): void {
    this.stack.counters.spoofedSource++;
    from.counters.spoofed++;
  }

  private forgetElsewhere(port: StackPort, ip: Ipv4): void {
    for (const other of this.stack.ports()) if (other !== port && !other.isolated) forget(other, ip);
  }
}

function isTag(type: number): boolean {
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ;
}

/** Which side of DHCP an IPv4 packet is from. */
function dhcpRole(view: DataView, ip: number, end: number): 'server' | 'client' | undefined {
  if (view.getUint8(ip + IP_PROTOCOL) !== PROTOCOL_UDP || (view.getUint16(ip + IP_FRAGMENT) & 0x1fff) !== 0)
    return undefined;
  const udp = ip + (view.getUint8(ip) & 15) * 4;
  if (udp + 4 > end) return undefined;
  if (view.getUint16(udp) === DHCP_SERVER_PORT) return 'server';
  return view.getUint16(udp + 2) === DHCP_SERVER_PORT ? 'client' : undefined;
}

function forget(port: StackPort, ip: Ipv4): void {
  port.neighbours.forget(ip);
  if (port.lastNeighbour?.ip === ip) port.lastNeighbour = undefined;
}
