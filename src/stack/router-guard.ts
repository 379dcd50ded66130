/**
 * IPv6 router advertisements, redirects and answers of DHCPv6 servers, told by a look into the packet (RFC 6105, RFC 7610). netproxy
 * has no IPv6 router of its own, so a guest that sends them to others means to be theirs.
 */
const HEADER = 40;
const NEXT_HEADER = 6;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION_OPTIONS = 60;
const UDP = 17;
const ICMPV6 = 58;
/** RFC 4861 sections 4.2 and 4.5. */
const ROUTER_ADVERTISEMENT = 134;
const REDIRECT = 137;
const DHCPV6_SERVER = 547;
/** Extension headers that are followed; a longer chain is nobody's honest packet. */
const MAX_HEADERS = 8;

/** True for such a packet at `at`, and for one that hides what it is (RFC 7113 section 3). */
export function isFromRouter(view: DataView, at: number, end: number): boolean {
  if (at + HEADER > end) return false;
  let next = view.getUint8(at + NEXT_HEADER);
  let offset = at + HEADER;
  for (let n = 0; n <= MAX_HEADERS; n++) {
    if (next === ICMPV6) return offset >= end || isRouting(view.getUint8(offset));
    if (next === UDP) return offset + 2 > end || view.getUint16(offset) === DHCPV6_SERVER;
    if (next !== HOP_BY_HOP && next !== ROUTING && next !== FRAGMENT && next !== DESTINATION_OPTIONS)
      return false;
    if (offset + 8 > end) return true;
    if (next === FRAGMENT && (view.getUint16(offset + 2) & 0xfff8) !== 0) return false;
    const length = next === FRAGMENT ? 8 : (view.getUint8(offset + 1) + 1) * 8;
    next = view.getUint8(offset);
    offset += length;
  }
  return true;
}

function isRouting(type: number): boolean {
  return type === ROUTER_ADVERTISEMENT || type === REDIRECT;
}
