/** The guest's IPv4 (RFC 791, RFC 1122): one address, one router, fragments both ways. */
import {
  type Block,
  type BlockPool,
  IPV4_ANY,
  IPV4_BROADCAST,
  type Ipv4,
  MAC_BROADCAST,
  type Mac,
  type Millis,
  type Random,
  ipv4,
  isMulticastIpv4,
  prefixMask,
  readMac,
} from '../core/index.js';
import { ETHERTYPE_IPV4, ETH_HEADER, ETH_SRC, emitEthernet } from '../ethernet/index.js';
import {
  DEFAULT_TTL,
  IP_DESTINATION,
  IP_FRAGMENT,
  IP_HEADER,
  IP_PROTOCOL,
  IP_SOURCE,
  IP_TOS,
  IP_TOTAL_LENGTH,
  IP_TTL,
  Reassembler,
  emitIpv4Packet,
  ipv4Fault,
} from '../ipv4/index.js';
import { GuestArp } from './guest-arp.js';
import { GuestError } from './guest-error.js';
import type { GuestWire } from './guest-wire.js';

/** A received packet, whole; reused, copy what you keep. */
export interface PacketIn {
  block: Block;
  /** Payload. */
  at: number;
  length: number;
  source: Ipv4;
  destination: Ipv4;
  protocol: number;
  ttl: number;
  /** 0 to 3 (RFC 3168). */
  ecn: number;
  /** The kernel vouches for checksums. */
  flags: number;
  /** The sender's MAC. */
  mac: Mac;
}

export interface SendOptions {
  readonly ttl?: number | undefined;
  readonly tos?: number | undefined;
  /** Refuse to send what is longer than the MTU, and forbid others to fragment it. */
  readonly dontFragment?: boolean | undefined;
}

const NO_OPTIONS = new Uint8Array(0);

export class GuestIp {
  readonly arp: GuestArp;
  readonly counters = { packetsIn: 0, packetsOut: 0, malformed: 0, notForUs: 0, unroutable: 0 };
  /** Undefined until the guest is configured. */
  ip: Ipv4 | undefined;
  prefix = 24;
  gateway: Ipv4 | undefined;
  /** Bytes. */
  mtu = 1500;
  private readonly wire: GuestWire;
  private readonly pool: BlockPool;
  private readonly deliver: (packet: PacketIn) => void;
  private readonly reassembler = new Reassembler();
  private id: number;

  constructor(wire: GuestWire, pool: BlockPool, random: Random, deliver: (packet: PacketIn) => void) {
    this.wire = wire;
    this.pool = pool;
    this.deliver = deliver;
    this.id = random.u32() & 0xffff;
    this.arp = new GuestArp(wire, () => this.ip);
  }

  /** Whom a packet to this address is handed to; undefined when there is no way. */
  nextHop(destination: Ipv4): Ipv4 | undefined {
    if (this.ip === undefined) return undefined;
    return ((destination ^ this.ip) & prefixMask(this.prefix)) === 0 ? destination : this.gateway;
  }

  /**
   * Sends a packet, in fragments where it must; it waits for ARP where it must, and is dropped when nobody answers.
   *
   * @throws GuestError ENETUNREACH without a route, EMSGSIZE when it is too long
   */
  send(destination: Ipv4, protocol: number, payload: Uint8Array, options: SendOptions = {}): void {
    const { mtu } = this;
    if (payload.length + IP_HEADER > (options.dontFragment === true ? mtu : 65535)) {
      throw new GuestError('EMSGSIZE', `a packet with ${payload.length} bytes of payload is too long`);
    }
    const id = (this.id = (this.id + 1) & 0xffff);
    const step = payload.length + IP_HEADER <= mtu ? payload.length : (mtu - IP_HEADER) & ~7;
    let offset = 0;
    do {
      const piece = payload.subarray(offset, offset + step);
      const packet = emitIpv4Packet({
        source: this.ip ?? IPV4_ANY,
        destination,
        protocol,
        id,
        ttl: options.ttl ?? DEFAULT_TTL,
        tos: options.tos ?? 0,
        dontFragment: options.dontFragment ?? false,
        moreFragments: offset + step < payload.length,
        fragmentOffset: offset,
        options: NO_OPTIONS,
        payload: piece,
      });
      this.sendPacket(destination, packet);
      offset += step;
    } while (offset < payload.length);
  }

  /** Sends a packet that is complete with its header. */
  sendPacket(destination: Ipv4, packet: Uint8Array): void {
    this.counters.packetsOut++;
    const group = this.groupMac(destination);
    if (group !== undefined) {
      this.frame(group, packet);
      return;
    }
    const hop = this.nextHop(destination);
    if (hop === undefined) {
      this.counters.unroutable++;
      throw new GuestError('ENETUNREACH', 'no route');
    }
    this.arp.ask(hop, (mac) => {
      if (mac !== undefined) this.frame(mac, packet);
    });
  }

  /** A frame that holds an IPv4 packet. */
  input(block: Block, at: number, length: number, flags: number, now: Millis): void {
    const { bytes, view } = block.region;
    const ip = at + ETH_HEADER;
    if (ipv4Fault(view, bytes, ip, length - ETH_HEADER) !== undefined) {
      this.counters.malformed++;
      return;
    }
    this.counters.packetsIn++;
    const mac = readMac(bytes, at + ETH_SRC);
    if ((view.getUint16(ip + IP_FRAGMENT) & 0x3fff) === 0) {
      this.packet(block, ip, flags, mac);
      return;
    }
    this.reassembler.expire(now);
    const whole = this.reassembler.add(bytes, view, ip, 0, now);
    if (whole === undefined) return;
    const total = whole.header.length + whole.payload.length;
    const copy = this.pool.takeSmall(total);
    copy.region.bytes.set(whole.header);
    copy.region.bytes.set(whole.payload, whole.header.length);
    copy.region.view.setUint16(IP_TOTAL_LENGTH, total);
    this.packet(copy, 0, 0, mac);
    copy.release();
  }

  private packet(block: Block, ip: number, flags: number, mac: Mac): void {
    const { bytes, view } = block.region;
    const destination = ipv4(view.getUint32(ip + IP_DESTINATION));
    // Before it has an address a guest takes what DHCP sends to the one that it will have.
    if (this.ip !== undefined && destination !== this.ip && this.groupMac(destination) === undefined) {
      this.counters.notForUs++;
      return;
    }
    const header = (bytes[ip]! & 15) * 4;
    this.deliver({
      block,
      at: ip + header,
      length: view.getUint16(ip + IP_TOTAL_LENGTH) - header,
      source: ipv4(view.getUint32(ip + IP_SOURCE)),
      destination,
      protocol: bytes[ip + IP_PROTOCOL]!,
      ttl: bytes[ip + IP_TTL]!,
      ecn: bytes[ip + IP_TOS]! & 3,
      flags,
      mac,
    });
  }

  private frame(destination: Mac, payload: Uint8Array): void {
    this.wire.send(emitEthernet({ destination, source: this.wire.mac, etherType: ETHERTYPE_IPV4, payload }));
  }

  /** The MAC of broadcast and multicast addresses (RFC 1112 section 6.4). */
  private groupMac(ip: Ipv4): Mac | undefined {
    if (ip === IPV4_BROADCAST || (this.ip !== undefined && ip === ipv4(this.ip | ~prefixMask(this.prefix))))
      return MAC_BROADCAST;
    if (!isMulticastIpv4(ip)) return undefined;
    const low = [(ip >>> 16) & 127, (ip >>> 8) & 255, ip & 255].map((byte) =>
      byte.toString(16).padStart(2, '0'),
    );
    return `01:00:5e:${low.join(':')}` as Mac;
  }
}
