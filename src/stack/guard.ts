/**
 * Whose address is whose: no guest speaks as the gateway, as the host alias, or as another guest.
 *
 * Theory of operation. A guest holds an IPv4 address that DHCP leased to it, as long as the lease lasts, and one that it
 * was the first to use, until it has not used it for HELD_AFTER_USE. What a guest says under an address that another
 * attached guest holds is dropped and counted, on its way to the gateway and on its way to other guests; so are answers
 * of a DHCP server that a guest plays for others. A lease goes before first use.
 */
import type { Neighbour } from '../arp/index.js';
import { type Block, type Ipv4, type Millis, cidrContains } from '../core/index.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETH_HEADER, ETH_TYPE } from '../ethernet/index.js';
import { IP_FRAGMENT, IP_HEADER, IP_PROTOCOL, IP_SOURCE, PROTOCOL_UDP } from '../ipv4/index.js';
import { ARP_LENGTH, ARP_SENDER_IP } from '../arp/index.js';
import type { StackPort } from './port.js';
import type { Stack } from './stack.js';

/** How long an address without a lease stays with the guest that used it, ms; as a switch keeps a MAC address. */
export const HELD_AFTER_USE: Millis = 300_000;
const DHCP_SERVER_PORT = 67;
/** IEEE 802.1Q and 802.1ad tags; an operating system takes a frame tagged with VLAN 0 as if it had none. */
const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_QINQ = 0x88a8;
const MAX_TAGS = 2;

export class Guard {
  private readonly stack: Stack;

  constructor(stack: Stack) {
    this.stack = stack;
  }

  /** May a guest at this port speak as this address? */
  mayUse(port: StackPort, ip: Ipv4): boolean {
    if (this.stack.isOurs(ip)) return false;
    const now = this.stack.now();
    if ((port.neighbours.find(ip)?.heldUntil ?? 0) > now) return true;
    for (const other of this.stack.ports()) {
      if (other !== port && (other.neighbours.find(ip)?.heldUntil ?? 0) > now) return false;
    }
    return true;
  }

  /** Notes that a guest uses an address that it may use. */
  learn(port: StackPort, ip: Ipv4, macHigh: number, macLow: number): Neighbour {
    return port.neighbours.learn(ip, macHigh, macLow, this.stack.now() + HELD_AFTER_USE);
  }

  /** The address was leased to a guest: whoever used it without a lease loses it. */
  claim(port: StackPort, ip: Ipv4, macHigh: number, macLow: number, until: Millis): void {
    for (const other of this.stack.ports()) if (other !== port) forget(other, ip);
    port.neighbours.learn(ip, macHigh, macLow, until);
  }

  /** The lease is over. */
  unclaim(ip: Ipv4): void {
    for (const port of this.stack.ports()) forget(port, ip);
  }

  /** Where an address is: with its holder, or else with the guest that used it once. */
  find(ip: Ipv4): Neighbour | undefined {
    const now = this.stack.now();
    let found: Neighbour | undefined;
    for (const port of this.stack.ports()) {
      const neighbour = port.neighbours.find(ip);
      if (neighbour === undefined) continue;
      if (neighbour.heldUntil > now) return neighbour;
      found ??= neighbour;
    }
    return found;
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
    if (type === ETHERTYPE_ARP && next + ARP_LENGTH <= end) {
      return this.speaksAs(from, view.getUint32(next + ARP_SENDER_IP) as Ipv4);
    }
    if (type !== ETHERTYPE_IPV4 || next + IP_HEADER > end) return true;
    if (!this.speaksAs(from, view.getUint32(next + IP_SOURCE) as Ipv4)) return false;
    if (!isFromDhcpServer(view, next, end)) return true;
    this.stack.counters.rogueDhcp++;
    return false;
  }

  private speaksAs(from: StackPort, ip: Ipv4): boolean {
    if (from.lastNeighbour?.ip === ip || ip === 0) return true;
    if (!cidrContains(this.stack.config.subnet, ip)) return true;
    if (this.mayUse(from, ip)) return true;
    this.stack.counters.spoofedSource++;
    return false;
  }
}

function isTag(type: number): boolean {
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ;
}

function isFromDhcpServer(view: DataView, ip: number, end: number): boolean {
  if (view.getUint8(ip + IP_PROTOCOL) !== PROTOCOL_UDP || (view.getUint16(ip + IP_FRAGMENT) & 0x1fff) !== 0)
    return false;
  const udp = ip + (view.getUint8(ip) & 15) * 4;
  return udp + 2 <= end && view.getUint16(udp) === DHCP_SERVER_PORT;
}

function forget(port: StackPort, ip: Ipv4): void {
  port.neighbours.forget(ip);
  if (port.lastNeighbour?.ip === ip) port.lastNeighbour = undefined;
}
