/** IPv4 packets from guests: checked (RFC 1122, RFC 1812), reassembled, and handed to TCP, UDP or ICMP. */
import type { Neighbour } from '../arp/index.js';
import {
  type Block,
  IPV4_BROADCAST,
  type Ipv4,
  type Millis,
  RX_CHECKSUM_OK,
  Timer,
  cidrContains,
  cidrLast,
  ipv4,
  isMulticastIpv4,
} from '../core/index.js';
import {
  EXCEEDED_REASSEMBLY,
  EXCEEDED_TTL,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  UNREACHABLE_HOST,
  UNREACHABLE_PROTOCOL,
} from '../icmp/index.js';
import {
  IP_DESTINATION,
  IP_DONT_FRAGMENT,
  IP_FRAGMENT,
  IP_HEADER,
  IP_PROTOCOL,
  IP_SOURCE,
  IP_TOS,
  IP_TOTAL_LENGTH,
  IP_TTL,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  Reassembler,
  ipv4Fault,
  optionsFault,
} from '../ipv4/index.js';
import { UDP_HEADER, udpFault } from '../udp/index.js';
import { icmpInput } from './icmp-input.js';
import type { StackPort } from './port.js';
import type { Stack } from './stack.js';
import type { UdpIn } from './types.js';

const FAULTS = {
  truncated: 'ipTruncated',
  version: 'ipVersion',
  headerLength: 'ipHeaderLength',
  totalLength: 'ipTotalLength',
  checksum: 'ipChecksum',
} as const;
const DHCP_SERVER_PORT = 67;
/** First byte of an IPv4 header without options. */
const PLAIN_HEADER = 0x45;

export class IpInput {
  readonly reassembler = new Reassembler();
  private readonly stack: Stack;
  private readonly broadcast: Ipv4;
  private readonly datagram: UdpIn;
  private readonly timer = new Timer((now) => {
    this.expire(now);
    this.arm();
  });

  constructor(stack: Stack) {
    this.stack = stack;
    this.broadcast = cidrLast(stack.config.subnet);
    this.datagram = {
      port: undefined as unknown as StackPort,
      neighbour: undefined,
      source: ipv4(0),
      sourcePort: 0,
      destination: ipv4(0),
      destinationPort: 0,
      macHigh: 0,
      macLow: 0,
      bytes: new Uint8Array(0),
      offset: 0,
      length: 0,
      ttl: 0,
      tos: 0,
      dontFragment: false,
    };
  }

  /** A packet at `at` with `length` bytes there, in a frame from this MAC. */
  input(
    port: StackPort,
    block: Block,
    at: number,
    length: number,
    flags: number,
    macHigh: number,
    macLow: number,
    now: Millis,
  ): void {
    const { counters } = this.stack;
    const { bytes, view } = block.region;
    const fault = ipv4Fault(view, bytes, at, length);
    if (fault !== undefined) {
      counters[FAULTS[fault]]++;
      return;
    }
    const headerLength = (bytes[at]! & 15) * 4;
    if (headerLength > IP_HEADER && !this.optionsPass(bytes, at, headerLength)) return;
    const source = ipv4(view.getUint32(at + IP_SOURCE));
    const neighbour = this.sender(port, source, macHigh, macLow);
    if (neighbour === undefined && !this.isDhcp(bytes, view, at)) {
      if (this.isMartian(source)) counters.martianSource++;
      else counters.spoofedSource++;
      return;
    }
    if ((view.getUint16(at + IP_FRAGMENT) & 0x3fff) !== 0) {
      if (neighbour !== undefined) this.fragment(port, neighbour, bytes, view, at, now);
      return;
    }
    this.packet(
      port,
      neighbour,
      block,
      at,
      view.getUint16(at + IP_TOTAL_LENGTH),
      flags,
      macHigh,
      macLow,
      now,
    );
  }

  /**
   * The usual frame: a TCP segment on a connection that stands, from whom the port's last frame was. False: it is another,
   * and nothing was done. Numbers that do not fit a small integer would be put on the heap for each frame: words are signed.
   */
  segment(port: StackPort, block: Block, at: number, length: number, flags: number, now: Millis): boolean {
    const { bytes, view } = block.region;
    const last = port.lastNeighbour;
    if (last === undefined || length < IP_HEADER || view.getInt32(at + IP_SOURCE) !== port.lastIpWord)
      return false;
    if (last.macHigh !== port.lastMacHigh || last.macLow !== port.lastMacLow) return false;
    if (bytes[at] !== PLAIN_HEADER || bytes[at + IP_PROTOCOL] !== PROTOCOL_TCP || bytes[at + IP_TTL]! <= 1)
      return false;
    if ((view.getUint16(at + IP_FRAGMENT) & 0x3fff) !== 0) return false;
    if (ipv4Fault(view, bytes, at, length) !== undefined) return false;
    return this.stack.tcp.known(
      port,
      block,
      at + IP_HEADER,
      view.getUint16(at + IP_TOTAL_LENGTH) - IP_HEADER,
      view.getInt32(at + IP_DESTINATION),
      bytes[at + IP_TOS]! & 3,
      (flags & RX_CHECKSUM_OK) === 0,
      now,
    );
  }

  private optionsPass(bytes: Uint8Array, at: number, headerLength: number): boolean {
    const fault = optionsFault(bytes, at, headerLength);
    if (fault === undefined) return true;
    if (fault === 'malformed') this.stack.counters.ipOptions++;
    else this.stack.counters.sourceRoute++;
    return false;
  }

  private arm(): void {
    const due = this.reassembler.next();
    if (due === this.timer.at) return;
    this.stack.timers.set(this.timer, due);
    this.stack.rearm();
  }

  /** ICMP for datagrams whose rest never came. */
  private expire(now: Millis): void {
    for (const { port, head } of this.reassembler.expire(now)) {
      const source = ipv4(new DataView(head.buffer, head.byteOffset).getUint32(IP_SOURCE));
      const neighbour = this.stack.port(port)?.neighbours.find(source);
      if (neighbour === undefined) continue;
      this.stack.packets.icmpError(
        neighbour,
        this.stack.config.gatewayIp,
        ICMP_TIME_EXCEEDED,
        EXCEEDED_REASSEMBLY,
        0,
        head,
      );
    }
  }

  /** The guest's entry for a legal source address; undefined for any other. */
  private sender(port: StackPort, source: Ipv4, macHigh: number, macLow: number): Neighbour | undefined {
    const last = port.lastNeighbour;
    if (last?.ip === source && last.macHigh === macHigh && last.macLow === macLow) return last;
    if (this.isMartian(source)) return undefined;
    const { subnet } = this.stack.config;
    if (!cidrContains(subnet, source) || source === subnet.base) return undefined;
    if (!this.stack.guard.mayUse(port, source)) return undefined;
    const neighbour = this.stack.learn(port, source, macHigh, macLow);
    port.lastNeighbour = neighbour;
    port.lastIpWord = source | 0;
    return neighbour;
  }

  /** Sources that no host may use (RFC 1122 section 3.2.1.3). */
  private isMartian(source: Ipv4): boolean {
    return source >>> 24 === 0 || source >>> 24 === 127 || source >>> 28 >= 14 || source === this.broadcast;
  }

  /** A client without an address, or with one of another network, may talk to the DHCP server (RFC 2131 section 4.1). */
  private isDhcp(bytes: Uint8Array, view: DataView, at: number): boolean {
    if (bytes[at + IP_PROTOCOL] !== PROTOCOL_UDP || (view.getUint16(at + IP_FRAGMENT) & 0x3fff) !== 0)
      return false;
    const header = (bytes[at]! & 15) * 4;
    if (view.getUint16(at + IP_TOTAL_LENGTH) < header + UDP_HEADER) return false;
    return view.getUint16(at + header + 2) === DHCP_SERVER_PORT;
  }

  private fragment(
    port: StackPort,
    neighbour: Neighbour,
    bytes: Uint8Array,
    view: DataView,
    at: number,
    now: Millis,
  ): void {
    const whole = this.reassembler.add(bytes, view, at, port.id, now);
    this.arm();
    if (whole === undefined) return;
    const { pool } = this.stack.deps;
    const total = whole.header.length + whole.payload.length;
    if (total > 65535) {
      this.stack.counters.reassembledTooLong++;
      return;
    }
    const block = pool.takeSmall(total);
    block.region.bytes.set(whole.header, 0);
    block.region.bytes.set(whole.payload, whole.header.length);
    block.region.view.setUint16(IP_TOTAL_LENGTH, total);
    this.packet(port, neighbour, block, 0, total, 0, neighbour.macHigh, neighbour.macLow, now);
    block.release();
  }

  private packet(
    port: StackPort,
    neighbour: Neighbour | undefined,
    block: Block,
    at: number,
    total: number,
    flags: number,
    macHigh: number,
    macLow: number,
    now: Millis,
  ): void {
    const { stack } = this;
    const { bytes, view } = block.region;
    const destination = ipv4(view.getUint32(at + IP_DESTINATION));
    const headerLength = (bytes[at]! & 15) * 4;
    const protocol = bytes[at + IP_PROTOCOL]!;
    const toAll =
      destination === IPV4_BROADCAST || destination === this.broadcast || isMulticastIpv4(destination);
    const local = stack.isOurs(destination);
    if (
      !toAll &&
      !local &&
      neighbour !== undefined &&
      !this.mayForward(neighbour, bytes, at, total, destination)
    )
      return;
    const payload = at + headerLength;
    const length = total - headerLength;
    const verify = (flags & RX_CHECKSUM_OK) === 0;
    if (protocol === PROTOCOL_TCP && neighbour !== undefined && !toAll) {
      stack.tcp.input(
        port,
        neighbour,
        block,
        payload,
        length,
        destination,
        bytes[at + IP_TOS]! & 3,
        verify,
        now,
      );
    } else if (protocol === PROTOCOL_UDP) {
      this.udp(port, neighbour, bytes, view, at, payload, length, destination, macHigh, macLow, verify);
    } else if (protocol === PROTOCOL_ICMP && neighbour !== undefined) {
      icmpInput(stack, neighbour, bytes, view, at, payload, length, destination, local, toAll);
    } else if (toAll) {
      stack.counters.groupProtocol++;
    } else if (neighbour !== undefined) {
      stack.counters.unknownProtocol++;
      stack.packets.icmpError(
        neighbour,
        local ? destination : stack.config.gatewayIp,
        ICMP_UNREACHABLE,
        UNREACHABLE_PROTOCOL,
        0,
        quote(bytes, at, total),
      );
    }
  }

  /** What a router checks before it passes a packet on (RFC 1812 section 5.3). */
  private mayForward(
    neighbour: Neighbour,
    bytes: Uint8Array,
    at: number,
    total: number,
    destination: Ipv4,
  ): boolean {
    const { stack } = this;
    const { counters, config } = stack;
    if (destination >>> 24 === 127 || destination >>> 24 === 0 || destination >>> 28 === 15) {
      counters.martianDestination++;
      return false;
    }
    if (bytes[at + IP_TTL]! <= 1) {
      counters.ttlExceeded++;
      stack.packets.icmpError(
        neighbour,
        config.gatewayIp,
        ICMP_TIME_EXCEEDED,
        EXCEEDED_TTL,
        0,
        quote(bytes, at, total),
      );
      return false;
    }
    if (cidrContains(config.subnet, destination)) {
      // Guests reach each other over the switch; what comes to the gateway for their network has nobody to go to.
      counters.notForUs++;
      stack.packets.icmpError(
        neighbour,
        config.gatewayIp,
        ICMP_UNREACHABLE,
        UNREACHABLE_HOST,
        0,
        quote(bytes, at, total),
      );
      return false;
    }
    return true;
  }

  private udp(
    port: StackPort,
    neighbour: Neighbour | undefined,
    bytes: Uint8Array,
    view: DataView,
    ip: number,
    at: number,
    length: number,
    destination: Ipv4,
    macHigh: number,
    macLow: number,
    verify: boolean,
  ): void {
    const { counters } = this.stack;
    const source = ipv4(view.getUint32(ip + IP_SOURCE));
    const fault = udpFault(view, bytes, at, length, source, destination, verify);
    if (fault !== undefined) {
      if (fault === 'truncated') counters.udpTruncated++;
      else if (fault === 'length') counters.udpLength++;
      else counters.udpChecksum++;
      return;
    }
    const datagram = this.datagram;
    datagram.port = port;
    datagram.neighbour = neighbour;
    datagram.source = source;
    datagram.sourcePort = view.getUint16(at);
    datagram.destination = destination;
    datagram.destinationPort = view.getUint16(at + 2);
    datagram.macHigh = macHigh;
    datagram.macLow = macLow;
    datagram.bytes = bytes;
    datagram.offset = at + UDP_HEADER;
    datagram.length = view.getUint16(at + 4) - UDP_HEADER;
    datagram.ttl = bytes[ip + IP_TTL]!;
    datagram.tos = bytes[ip + IP_TOS]!;
    datagram.dontFragment = (view.getUint16(ip + IP_FRAGMENT) & IP_DONT_FRAGMENT) !== 0;
    this.stack.upper.udp(datagram);
  }
}

/** As much of a packet as an ICMP error quotes; a copy, for the output may be the same memory. */
function quote(bytes: Uint8Array, at: number, total: number): Uint8Array {
  return bytes.slice(at, at + Math.min(total, 548));
}
