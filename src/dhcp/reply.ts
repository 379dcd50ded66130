/** The parts that all answers have: where they go, and their fixed fields. */
import { IPV4_ANY, IPV4_BROADCAST, MAC_BROADCAST, type Ipv4 } from '../core/index.js';
import type { DhcpDestination } from './types.js';
import type { DhcpMessage } from './wire.js';

export const EVERYBODY: DhcpDestination = { kind: 'broadcast', ip: IPV4_BROADCAST, mac: MAC_BROADCAST };

/** RFC 2131 section 4.1. */
export function destination(request: DhcpMessage, yiaddr: Ipv4): DhcpDestination {
  if (request.ciaddr !== IPV4_ANY) return { kind: 'unicast', ip: request.ciaddr, mac: request.chaddr };
  if (request.broadcast) return EVERYBODY;
  return { kind: 'unicast', ip: yiaddr, mac: request.chaddr };
}

/** The fixed part of every answer (RFC 2131 table 3). */
export function blank(request: DhcpMessage): DhcpMessage {
  const zero = IPV4_ANY;
  const { xid, broadcast, chaddr } = request;
  const fixed = {
    op: 2,
    hops: 0,
    xid,
    secs: 0,
    broadcast,
    ciaddr: zero,
    yiaddr: zero,
    siaddr: zero,
  } as const;
  return { ...fixed, giaddr: zero, chaddr, options: new Map() };
}
