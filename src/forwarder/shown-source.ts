/** Which address a guest sees of a client whose source is preserved. */
import { type Ipv4, addressBytes, cidrContains, ipv4, parseIpv4 } from '../core/index.js';
import type { StackConfig } from '../stack/index.js';

/**
 * The client's own, so that the guest's answers come to us by its default route. Where that cannot be: for the host's loopback
 * (127.0.0.0/8 and ::1) the host alias, which stands for it anyway; the gateway for all else, that is where the alias is off, for an
 * address of the guests' own network (the guest would look for it beside itself), for IPv6 and unix clients, and for what no
 * host may be (RFC 1122 section 3.2.1.3).
 */
export function shownSource(client: string | undefined, config: StackConfig): Ipv4 {
  const { gatewayIp, hostAlias, subnet } = config;
  const ip = client === undefined ? undefined : parseIpv4(client);
  if (ip === undefined)
    return client !== undefined && isLoopback6(client) ? (hostAlias ?? gatewayIp) : gatewayIp;
  const first = ip >>> 24;
  if (first === 127) return hostAlias ?? gatewayIp;
  return first === 0 || first >= 224 || cidrContains(subnet, ip) ? gatewayIp : ipv4(ip);
}

function isLoopback6(client: string): boolean {
  const bytes = client.includes(':') ? addressBytes(client) : undefined;
  return bytes?.every((byte, i) => byte === (i === 15 ? 1 : 0)) === true;
}
