/** The IPv4 header (RFC 791 section 3.1). */
import { type Ipv4, finish, ipv4, sumView } from '../core/index.js';

/** Offsets from the start of the header. */
export const IP_TOS = 1;
export const IP_TOTAL_LENGTH = 2;
export const IP_ID = 4;
export const IP_FRAGMENT = 6;
export const IP_TTL = 8;
export const IP_PROTOCOL = 9;
export const IP_CHECKSUM = 10;
export const IP_SOURCE = 12;
export const IP_DESTINATION = 16;
/** Header without options, bytes. */
export const IP_HEADER = 20;

export const IP_DONT_FRAGMENT = 0x4000;
export const IP_MORE_FRAGMENTS = 0x2000;

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;

/** TTL of what we originate (RFC 1700's recommendation as Linux does it). */
export const DEFAULT_TTL = 64;

/** A packet for services, tests and tools. */
export interface Ipv4Packet {
  readonly source: Ipv4;
  readonly destination: Ipv4;
  readonly protocol: number;
  readonly ttl: number;
  readonly tos: number;
  readonly id: number;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  /** Bytes. */
  readonly fragmentOffset: number;
  readonly options: Uint8Array;
  readonly payload: Uint8Array;
}

/** Why a packet is no packet. */
export type Ipv4Fault = 'truncated' | 'version' | 'headerLength' | 'totalLength' | 'checksum';

/** Checks version, lengths and checksum of a header; undefined when all is well. `length`: bytes that are there. */
export function ipv4Fault(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  length: number,
): Ipv4Fault | undefined {
  if (length < IP_HEADER) return 'truncated';
  const first = bytes[at]!;
  if (first >>> 4 !== 4) return 'version';
  const headerLength = (first & 15) * 4;
  if (headerLength < IP_HEADER || headerLength > length) return 'headerLength';
  const total = view.getUint16(at + IP_TOTAL_LENGTH);
  if (total < headerLength || total > length) return 'totalLength';
  if (
    headerLength === IP_HEADER
      ? headerSum(view, at) !== 0xffff
      : finish(sumView(view, at, headerLength, 0)) !== 0
  )
    return 'checksum';
  return undefined;
}

/** Folded sum of a 20-byte header; 0xffff over a right one. */
function headerSum(view: DataView, at: number): number {
  let sum =
    view.getUint16(at) +
    view.getUint16(at + 2) +
    view.getUint16(at + 4) +
    view.getUint16(at + 6) +
    view.getUint16(at + 8) +
    view.getUint16(at + 10) +
    view.getUint16(at + 12) +
    view.getUint16(at + 14) +
    view.getUint16(at + 16) +
    view.getUint16(at + 18);
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/** The parts of a packet, or why it is none. Views, no copies. */
export function parseIpv4Packet(bytes: Uint8Array): Ipv4Packet | Ipv4Fault {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const fault = ipv4Fault(view, bytes, 0, bytes.length);
  if (fault !== undefined) return fault;
  const headerLength = (bytes[0]! & 15) * 4;
  const fragment = view.getUint16(IP_FRAGMENT);
  return {
    source: ipv4(view.getUint32(IP_SOURCE)),
    destination: ipv4(view.getUint32(IP_DESTINATION)),
    protocol: bytes[IP_PROTOCOL]!,
    ttl: bytes[IP_TTL]!,
    tos: bytes[IP_TOS]!,
    id: view.getUint16(IP_ID),
    dontFragment: (fragment & IP_DONT_FRAGMENT) !== 0,
    moreFragments: (fragment & IP_MORE_FRAGMENTS) !== 0,
    fragmentOffset: (fragment & 0x1fff) * 8,
    options: bytes.subarray(IP_HEADER, headerLength),
    payload: bytes.subarray(headerLength, view.getUint16(IP_TOTAL_LENGTH)),
  };
}

/**
 * Writes a 20-byte header with its checksum. `total`: header and payload, bytes; `fragment`: flags and offset field. The
 * addresses may be given as int32: above 2^31 some engines put a number on the heap for each call.
 */
export function writeIpv4Header(
  view: DataView,
  at: number,
  total: number,
  id: number,
  fragment: number,
  ttl: number,
  protocol: number,
  tos: number,
  source: number,
  destination: number,
): void {
  view.setUint16(at, 0x4500 | tos);
  view.setUint16(at + IP_TOTAL_LENGTH, total);
  view.setUint16(at + IP_ID, id);
  view.setUint16(at + IP_FRAGMENT, fragment);
  view.setUint16(at + IP_TTL, (ttl << 8) | protocol);
  view.setUint16(at + IP_CHECKSUM, 0);
  view.setInt32(at + IP_SOURCE, source);
  view.setInt32(at + IP_DESTINATION, destination);
  view.setUint16(at + IP_CHECKSUM, ~headerSum(view, at) & 0xffff);
}

/** Whole packet as new bytes. Options must be padded to a multiple of 4. */
export function emitIpv4Packet(packet: Ipv4Packet): Uint8Array {
  const headerLength = IP_HEADER + packet.options.length;
  const bytes = new Uint8Array(headerLength + packet.payload.length);
  const view = new DataView(bytes.buffer);
  const fragment =
    (packet.dontFragment ? IP_DONT_FRAGMENT : 0) |
    (packet.moreFragments ? IP_MORE_FRAGMENTS : 0) |
    (packet.fragmentOffset / 8);
  writeIpv4Header(
    view,
    0,
    bytes.length,
    packet.id,
    fragment,
    packet.ttl,
    packet.protocol,
    packet.tos,
    packet.source,
    packet.destination,
  );
  bytes.set(packet.options, IP_HEADER);
  bytes[0] = 0x40 | (headerLength / 4);
  bytes.set(packet.payload, headerLength);
  view.setUint16(IP_CHECKSUM, 0);
  view.setUint16(IP_CHECKSUM, finish(sumView(view, 0, headerLength, 0)));
  return bytes;
}
