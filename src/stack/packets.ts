/** Packets that the stack authors itself: UDP to guests (fragmented where needed), ICMP, lone TCP answers, ARP. */
import type { Neighbour } from '../arp/index.js';
import { type Ipv4, type Seq, TX_CHECKSUM, checksum, cidrContains } from '../core/index.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETH_HEADER, writeEthernetHeader } from '../ethernet/index.js';
import { ARP_LENGTH, type ArpPacket, writeArp } from '../arp/index.js';
import {
  ICMP_ECHO_REPLY,
  ICMP_HEADER,
  ICMP_QUOTE_MAX,
  ICMP_UNREACHABLE,
  isIcmpError,
} from '../icmp/index.js';
import {
  DEFAULT_TTL,
  IP_DONT_FRAGMENT,
  IP_HEADER,
  IP_MORE_FRAGMENTS,
  IP_PROTOCOL,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  writeIpv4Header,
} from '../ipv4/index.js';
import { UDP_HEADER, udpChecksum } from '../udp/index.js';
import type { StackPort } from './port.js';
import type { Stack } from './stack.js';
import type { TcpEndpoint } from './tcp-endpoint.js';

export class Packets {
  private readonly stack: Stack;
  private ipId = 0;
  /** A whole datagram is built here before it is cut into fragments. */
  private scratch: Uint8Array | undefined;

  constructor(stack: Stack) {
    this.stack = stack;
  }

  /**
   * A UDP datagram to a guest; larger than the MTU it is fragmented (RFC 791 section 2.3).
   * Payload 0 to 65,507 bytes; more is dropped.
   */
  udp(
    neighbour: Neighbour,
    source: Ipv4,
    sourcePort: number,
    destinationPort: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
    ttl = DEFAULT_TTL,
    tos = 0,
  ): void {
    const port = this.stack.portOf(neighbour);
    if (port === undefined || length > 65535 - IP_HEADER - UDP_HEADER) return;
    if (port.drops(this.stack.now(), length)) return;
    const total = UDP_HEADER + length;
    if (IP_HEADER + total > port.mtu) {
      const whole = (this.scratch ??= new Uint8Array(65535)).subarray(0, total);
      const view = new DataView(whole.buffer, 0, total);
      writeUdpHeader(view, 0, sourcePort, destinationPort, total);
      whole.set(bytes.subarray(offset, offset + length), UDP_HEADER);
      view.setUint16(6, udpChecksum(view, 0, total, source, neighbour.ip));
      this.fragments(port, neighbour, source, PROTOCOL_UDP, whole, ttl, tos);
      return;
    }
    const at = this.begin(port, neighbour, source, PROTOCOL_UDP, total, ttl, tos, 0, 0);
    const { output } = port;
    writeUdpHeader(output.view, at, sourcePort, destinationPort, total);
    output.bytes.set(bytes.subarray(offset, offset + length), at + UDP_HEADER);
    this.end(port, total, TX_CHECKSUM);
  }

  /** Answers an echo request with its own rest and data: `bytes` from `offset` is what stands behind the checksum. */
  echoReply(
    neighbour: Neighbour,
    source: Ipv4,
    bytes: Uint8Array,
    offset: number,
    length: number,
    ttl = DEFAULT_TTL,
    tos = 0,
  ): void {
    const port = this.stack.portOf(neighbour);
    if (port === undefined) return;
    const message = new Uint8Array(4 + length);
    message[0] = ICMP_ECHO_REPLY;
    message.set(bytes.subarray(offset, offset + length), 4);
    this.icmp(port, neighbour, source, message, ttl, tos);
  }

  /**
   * An ICMP error about a packet of the guest. `quote`: the packet's IP header and at least 8 bytes more
   * (RFC 792); as much as fits into 576 bytes is sent (RFC 1812 section 4.3.2.3). Rate limited.
   */
  icmpError(
    neighbour: Neighbour,
    source: Ipv4,
    type: number,
    code: number,
    rest: number,
    quote: Uint8Array,
  ): void {
    const port = this.stack.portOf(neighbour);
    if (port === undefined || isAboutError(quote)) return;
    if (!port.icmpErrors.take(this.stack.now())) {
      this.stack.counters.icmpRateLimited++;
      return;
    }
    const body = quote.subarray(0, ICMP_QUOTE_MAX);
    const message = new Uint8Array(ICMP_HEADER + body.length);
    message[0] = type;
    message[1] = code;
    new DataView(message.buffer).setUint32(4, rest);
    message.set(body, ICMP_HEADER);
    this.icmp(port, neighbour, source, message, DEFAULT_TTL, 0);
  }

  /** ICMP destination unreachable about a TCP or UDP packet of the guest, told by its first words. */
  unreachable(
    neighbour: Neighbour,
    protocol: number,
    destination: Ipv4,
    word0: number,
    word1: number,
    code: number,
    mtu: number,
  ): void {
    const quoted = quotePacket(neighbour.ip, destination, protocol, word0, word1, 40);
    // What the address itself would say comes from the address, as from a host; RFC 1122 section 3.2.2.1.
    const source = code === 2 || code === 3 ? destination : this.stack.config.gatewayIp;
    this.icmpError(neighbour, source, ICMP_UNREACHABLE, code, mtu & 0xffff, quoted);
  }

  unreachableTcp(endpoint: TcpEndpoint, code: number): void {
    const ports = (endpoint.remotePort << 16) | endpoint.localPort;
    this.unreachable(
      endpoint.neighbour,
      PROTOCOL_TCP,
      endpoint.localIp,
      ports,
      endpoint.firstSequence,
      code,
      0,
    );
  }

  /** An ICMP error about a datagram of the guest. `from`: who said so outside; undefined: nobody did, it is ours. */
  errorUdp(
    neighbour: Neighbour,
    guestPort: number,
    destination: Ipv4,
    port: number,
    length: number,
    type: number,
    code: number,
    mtu: number,
    from: Ipv4 | undefined,
  ): void {
    const ports = ((guestPort << 16) | port) >>> 0;
    const length0 = ((length + UDP_HEADER) << 16) >>> 0;
    const quoted = quotePacket(neighbour.ip, destination, PROTOCOL_UDP, ports, length0, IP_HEADER + 20);
    this.icmpError(neighbour, this.speaker(type, code, destination, from), type, code, mtu & 0xffff, quoted);
  }

  /**
   * In whose name an error is told: the router's that sent it, as far as it may be one that the guest can know; otherwise
   * what an address itself would say comes from the address (RFC 1122 section 3.2.2.1), and the rest from the gateway.
   */
  speaker(type: number, code: number, destination: Ipv4, from: Ipv4 | undefined): Ipv4 {
    const { gatewayIp, subnet, hostAlias } = this.stack.config;
    const first = (from ?? 0) >>> 24;
    const known = first > 0 && first < 224 && first !== 127;
    if (from !== undefined && known && (from === hostAlias || !cidrContains(subnet, from))) return from;
    return type === ICMP_UNREACHABLE && (code === 2 || code === 3) ? destination : gatewayIp;
  }

  /** A TCP segment without connection or payload: RST answers. `ports` is the guest's (source, destination) word. */
  bareTcp(
    port: StackPort,
    neighbour: Neighbour,
    source: Ipv4,
    ports: number,
    segment: { seq: Seq; ack: Seq; flags: number },
  ): void {
    const at = this.begin(port, neighbour, source, PROTOCOL_TCP, 20, DEFAULT_TTL, 0, 0, IP_DONT_FRAGMENT);
    const { view } = port.output;
    view.setUint16(at, ports & 0xffff);
    view.setUint16(at + 2, ports >>> 16);
    view.setUint32(at + 4, segment.seq);
    view.setUint32(at + 8, segment.ack);
    view.setUint16(at + 12, 0x5000 | segment.flags);
    view.setUint16(at + 14, 0);
    view.setUint32(at + 16, 0);
    this.end(port, 20, TX_CHECKSUM);
  }

  /** An ARP packet from the gateway to one MAC on one port. */
  arp(port: StackPort, packet: ArpPacket, destinationHigh: number, destinationLow: number): void {
    if (port.closed) return;
    const { output } = port;
    const at = output.begin(ETH_HEADER + ARP_LENGTH);
    writeEthernetHeader(output.bytes, at, packet.targetMac, this.stack.config.gatewayMac, ETHERTYPE_ARP);
    output.view.setUint16(at, destinationHigh);
    output.view.setUint32(at + 2, destinationLow);
    writeArp(output.bytes, output.view, at + ETH_HEADER, packet);
    output.end(0, 0);
    this.stack.sent(port, ETH_HEADER + ARP_LENGTH);
  }

  /** A datagram to a guest that has no address yet: destination MAC and IP as given (RFC 2131 section 4.1). */
  udpTo(
    port: StackPort,
    macHigh: number,
    macLow: number,
    source: Ipv4,
    sourcePort: number,
    destination: Ipv4,
    destinationPort: number,
    payload: Uint8Array,
  ): void {
    if (port.closed || IP_HEADER + UDP_HEADER + payload.length > port.mtu) return;
    this.udp(
      { ip: destination, port: port.id, macHigh, macLow, heldUntil: 0, leasedUntil: 0 },
      source,
      sourcePort,
      destinationPort,
      payload,
      0,
      payload.length,
    );
  }

  /** The head of a guest's echo request, made again for an ICMP error about it. */
  quoteEcho(neighbour: Neighbour, destination: Ipv4, id: number, sequence: number): Uint8Array {
    const rest = ((id << 16) | sequence) >>> 0;
    return quotePacket(neighbour.ip, destination, PROTOCOL_ICMP, 0x08000000, rest, IP_HEADER + 8);
  }

  private icmp(
    port: StackPort,
    neighbour: Neighbour,
    source: Ipv4,
    message: Uint8Array,
    ttl: number,
    tos: number,
  ): void {
    if (port.drops(this.stack.now(), message.length)) return;
    message[2] = 0;
    message[3] = 0;
    const sum = checksum(message, 0, message.length);
    message[2] = sum >>> 8;
    message[3] = sum & 255;
    if (IP_HEADER + message.length > port.mtu) {
      this.fragments(port, neighbour, source, PROTOCOL_ICMP, message, ttl, tos);
      return;
    }
    const at = this.begin(port, neighbour, source, PROTOCOL_ICMP, message.length, ttl, tos, 0, 0);
    port.output.bytes.set(message, at);
    this.end(port, message.length, 0);
  }

  private fragments(
    port: StackPort,
    neighbour: Neighbour,
    source: Ipv4,
    protocol: number,
    whole: Uint8Array,
    ttl: number,
    tos: number,
  ): void {
    const most = (port.mtu - IP_HEADER) & ~7;
    const id = port.fragmentIds.next(source);
    for (let from = 0; from < whole.length; from += most) {
      const length = Math.min(most, whole.length - from);
      const field = (from + length < whole.length ? IP_MORE_FRAGMENTS : 0) | (from / 8);
      const at = this.begin(port, neighbour, source, protocol, length, ttl, tos, id, field);
      port.output.bytes.set(whole.subarray(from, from + length), at);
      this.end(port, length, 0);
    }
  }

  /** Ethernet and IP headers; returns the offset of the IP payload. `id` 0: the next one. */
  private begin(
    port: StackPort,
    neighbour: Neighbour,
    source: Ipv4,
    protocol: number,
    length: number,
    ttl: number,
    tos: number,
    id: number,
    fragment: number,
  ): number {
    const { output } = port;
    const at = output.begin(ETH_HEADER + IP_HEADER + length);
    this.ethernet(output.view, at, neighbour);
    writeIpv4Header(
      output.view,
      at + ETH_HEADER,
      IP_HEADER + length,
      id || this.nextId(),
      fragment,
      ttl,
      protocol,
      tos,
      source,
      neighbour.ip,
    );
    return at + ETH_HEADER + IP_HEADER;
  }

  private end(port: StackPort, length: number, flags: number): void {
    port.output.end(flags, 0);
    this.stack.sent(port, ETH_HEADER + IP_HEADER + length);
  }

  /** An Ethernet header from the gateway to a neighbour. */
  ethernet(view: DataView, at: number, neighbour: Neighbour): void {
    const { gatewayHigh, gatewayLow } = this.stack;
    view.setUint16(at, neighbour.macHigh);
    view.setUint32(at + 2, neighbour.macLow);
    view.setUint16(at + 6, gatewayHigh);
    view.setUint32(at + 8, gatewayLow);
    view.setUint16(at + 12, ETHERTYPE_IPV4);
  }

  private nextId(): number {
    this.ipId = (this.ipId % 0xffff) + 1;
    return this.ipId;
  }
}

function writeUdpHeader(
  view: DataView,
  at: number,
  sourcePort: number,
  destinationPort: number,
  total: number,
): void {
  view.setUint16(at, sourcePort);
  view.setUint16(at + 2, destinationPort);
  view.setUint16(at + 4, total);
  view.setUint16(at + 6, 0);
}

/** Errors are never answered with errors (RFC 1122 section 3.2.2). */
function isAboutError(quote: Uint8Array): boolean {
  const header = (quote[0]! & 15) * 4;
  return quote[IP_PROTOCOL] === PROTOCOL_ICMP && quote.length > header && isIcmpError(quote[header]!);
}

/** The head of a packet that a guest sent, made again for an ICMP error: IP header and 8 bytes of its transport. */
export function quotePacket(
  source: Ipv4,
  destination: Ipv4,
  protocol: number,
  word0: number,
  word1: number,
  total: number,
): Uint8Array {
  const bytes = new Uint8Array(IP_HEADER + 8);
  const view = new DataView(bytes.buffer);
  writeIpv4Header(view, 0, total, 0, IP_DONT_FRAGMENT, DEFAULT_TTL - 1, protocol, 0, source, destination);
  view.setUint32(IP_HEADER, word0);
  view.setUint32(IP_HEADER + 4, word1);
  return bytes;
}
