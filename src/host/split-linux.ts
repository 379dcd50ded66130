/**
 * Which servers Linux has for which domains, without asking a daemon.
 *
 * systemd-resolved keeps what was set for a link (by a VPN, NetworkManager, `resolvectl`) in `/run/systemd/resolve/netif/N`,
 * and systemd-networkd what it was configured with and got by DHCP in `/run/systemd/netif/links/N`; N is the interface's
 * index. Neither promises its format, so what is not understood is passed over: resolved's stub, to which the other names go,
 * routes by itself. openresolv keeps a resolv.conf for each interface, and marks those whose servers are only for their own
 * domains (`resolvconf -p`). Parsers never throw.
 */
import { isIP } from 'node:net';
import { strictGroup, type DnsGroup } from './dns-group.js';

/** Values of `KEY=value` lines; the last one counts, as for systemd. */
function keysOf(text: string): ReadonlyMap<string, string> {
  const keys = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^([A-Z_]+)=(.*)$/.exec(line.trim());
    if (match !== null) keys.set(match[1]!, match[2]!);
  }
  return keys;
}

function words(text: string | undefined): readonly string[] {
  return (text ?? '').split(/\s+/).filter(Boolean);
}

/** The servers of one link's file, of resolved or networkd, for its domains; undefined when it has none of its own. */
export function parseLinkFile(text: string, from: string): DnsGroup | undefined {
  const keys = keysOf(text);
  const servers = words(keys.get('SERVERS') ?? keys.get('DNS'));
  const domains = [...words(keys.get('DOMAINS')), ...words(keys.get('ROUTE_DOMAINS'))];
  // `~.` gives a link all names: that is what the stub is asked for anyway.
  const own = domains.filter((domain) => domain !== '~.' && domain !== '.');
  if (own.length === 0) return undefined;
  return strictGroup(
    from,
    own,
    servers.flatMap((server) => linkServer(server) ?? []),
  );
}

/** `10.0.0.1`, `10.0.0.1:5353`, `[fd00::1]:53`, each perhaps with `%interface` and `#name`, as `IP#PORT`. */
function linkServer(text: string): string | undefined {
  const [address = ''] = text.split('#');
  const match =
    /^\[([^\]]+)\](?::(\d+))?(?:%(.+))?$/.exec(address) ?? /^([\d.]+)(?::(\d+))?(?:%.+)?$/.exec(address);
  const host = match?.[1] ?? address;
  if (isIP(host) === 0) return undefined;
  // An interface says something for link-local addresses only.
  const zone = match?.[3] !== undefined && host.startsWith('fe80') ? `%${match[3]}` : '';
  return `${host}${zone}#${match?.[2] ?? '53'}`;
}

/** The servers of a private interface of openresolv for the domains of its resolv.conf. */
export function parsePrivateInterface(text: string, from: string): DnsGroup | undefined {
  const domains: string[] = [];
  const servers: string[] = [];
  for (const line of text.split('\n')) {
    const [word, ...values] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (word === 'nameserver') servers.push(...values.slice(0, 1));
    else if (word === 'domain' || word === 'search') domains.push(...values);
  }
  return domains.length === 0 ? undefined : strictGroup(from, domains, servers);
}
