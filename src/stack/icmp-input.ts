/**
 * ICMP from guests: the gateway answers echo requests itself (RFC 792, RFC 1122 section 3.2.2.6), those to others go up.
 * Errors about what we delivered are checked against the packet that they quote; of a closed UDP port the owner of the flow
 * is told.
 */
import type { Neighbour } from '../arp/index.js';
import { type Ipv4, finish, ipv4, sumView } from '../core/index.js';
import {
  ICMP_ECHO_REQUEST,
  ICMP_HEADER,
  ICMP_UNREACHABLE,
  UNREACHABLE_FRAGMENTATION,
  UNREACHABLE_PORT,
  UNREACHABLE_PROHIBITED,
  UNREACHABLE_PROTOCOL,
  isIcmpError,
} from '../icmp/index.js';
import {
  IP_DESTINATION,
  IP_DONT_FRAGMENT,
  IP_FRAGMENT,
  IP_HEADER,
  IP_PROTOCOL,
  IP_SOURCE,
  IP_TOS,
  IP_TTL,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../ipv4/index.js';
import type { Stack } from './stack.js';

/** Codes of "unreachable" with which a firewall refuses, or a host that cannot: not the ones that may pass (RFC 1122). */
const REFUSALS: ReadonlySet<number> = new Set([
  UNREACHABLE_PROTOCOL,
  UNREACHABLE_PORT,
  9,
  10,
  UNREACHABLE_PROHIBITED,
]);
/** Where "fragmentation needed" tells the MTU (RFC 1191 section 4). */
const NEXT_HOP_MTU = 6;
/** What an error has to quote of the transport (RFC 792), bytes. */
const QUOTED = 8;

/**
 * A message of `length` bytes at `at`, in a packet whose header is at `ip`. `local`: to the gateway or the host alias;
 * `toAll`: broadcast or multicast.
 */
export function icmpInput(
  stack: Stack,
  neighbour: Neighbour,
  bytes: Uint8Array,
  view: DataView,
  ip: number,
  at: number,
  length: number,
  destination: Ipv4,
  local: boolean,
  toAll: boolean,
): void {
  const { counters } = stack;
  if (length < ICMP_HEADER) {
    counters.icmpTruncated++;
    return;
  }
  if (finish(sumView(view, at, length, 0)) !== 0) {
    counters.icmpChecksum++;
    return;
  }
  const type = bytes[at]!;
  if (isIcmpError(type) && !toAll) {
    guestError(stack, neighbour, bytes, view, at, length);
    return;
  }
  if (type !== ICMP_ECHO_REQUEST || bytes[at + 1] !== 0 || toAll) {
    counters.icmpIgnored++;
    return;
  }
  const tos = bytes[ip + IP_TOS]!;
  if (local) {
    stack.packets.echoReply(neighbour, destination, bytes, at + 4, length - 4, undefined, tos);
    return;
  }
  stack.upper.echo({
    neighbour,
    destination,
    bytes,
    offset: at,
    length,
    ttl: bytes[ip + IP_TTL]!,
    tos,
    dontFragment: (view.getUint16(ip + IP_FRAGMENT) & IP_DONT_FRAGMENT) !== 0,
  });
}

/**
 * A guest says that something which we delivered did not arrive. It may only speak of packets to an address of its own, or of
 * a machine behind it.
 */
function guestError(
  stack: Stack,
  neighbour: Neighbour,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  length: number,
): void {
  const { counters } = stack;
  const quote = at + ICMP_HEADER;
  const header = length > ICMP_HEADER ? (bytes[quote]! & 15) * 4 : 0;
  if (header < IP_HEADER || length < ICMP_HEADER + header + QUOTED || bytes[quote]! >>> 4 !== 4) {
    counters.guestErrorBad++;
    return;
  }
  const to = ipv4(view.getUint32(quote + IP_DESTINATION));
  const target = to === neighbour.ip ? neighbour : stack.portOf(neighbour)?.neighbours.find(to);
  if (target === undefined) {
    counters.guestErrorBad++;
    return;
  }
  const code = bytes[at] === ICMP_UNREACHABLE ? bytes[at + 1]! : -1;
  const peer = ipv4(view.getUint32(quote + IP_SOURCE));
  const transport = quote + header;
  if (bytes[quote + IP_PROTOCOL] === PROTOCOL_TCP) {
    if (code === UNREACHABLE_FRAGMENTATION) {
      stack.tcp.tooBig(target, peer, view, transport, view.getUint16(at + NEXT_HOP_MTU));
    } else stack.tcp.undelivered(target, peer, view, transport, REFUSALS.has(code));
  }
  if (code === UNREACHABLE_FRAGMENTATION) counters.guestFragmentationNeeded++;
  else if (code !== UNREACHABLE_PORT) counters.guestErrorOther++;
  else {
    counters.guestPortUnreachable++;
    if (bytes[quote + IP_PROTOCOL] !== PROTOCOL_UDP) return;
    stack.upper.portClosed(target, view.getUint16(transport + 2), peer, view.getUint16(transport));
  }
}
