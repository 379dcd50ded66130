/** ICMP from guests: the gateway answers echo requests itself (RFC 792, RFC 1122 section 3.2.2.6), others go up. */
import type { Neighbour } from '../arp/index.js';
import { type Ipv4, checksum } from '../core/index.js';
import { ICMP_ECHO_REQUEST, ICMP_HEADER } from '../icmp/index.js';
import type { Stack } from './stack.js';

/** A message of `length` bytes at `at`. `local`: to the gateway or the host alias; `toAll`: broadcast or multicast. */
export function icmpInput(
  stack: Stack,
  neighbour: Neighbour,
  bytes: Uint8Array,
  at: number,
  length: number,
  destination: Ipv4,
  ttl: number,
  local: boolean,
  toAll: boolean,
): void {
  const { counters } = stack;
  if (length < ICMP_HEADER) {
    counters.icmpTruncated++;
    return;
  }
  if (checksum(bytes, at, length) !== 0) {
    counters.icmpChecksum++;
    return;
  }
  if (bytes[at] !== ICMP_ECHO_REQUEST || bytes[at + 1] !== 0 || toAll) {
    counters.icmpIgnored++;
    return;
  }
  if (local) stack.packets.echoReply(neighbour, destination, bytes, at + 4, length - 4);
  else stack.upper.echo({ neighbour, destination, bytes, offset: at + 4, length: length - 4, ttl });
}
