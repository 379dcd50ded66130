/** Servers of single domains, as a configuration says them. */
import { NetproxyError } from '../core/index.js';
import { type DnsGroup, type DnsTier, searchOfServersFile, strictGroup } from '../host/index.js';
import type { DnsDomainConfig, NetworkConfig } from './types.js';

/** The groups of a configuration. Throws ERR_NETPROXY_CONFIG. */
export function domainGroups(domains: readonly DnsDomainConfig[]): readonly DnsGroup[] {
  return domains.map((domain) => {
    const { names, servers, order = 'strict', timeout, fallback } = domain;
    const first = groupOf(names, servers);
    const tiers: DnsTier[] = first.tiers.map((tier) => ({ ...tier, order, timeout }));
    if (fallback !== undefined)
      tiers.push(...groupOf(names, fallback).tiers.map((tier) => ({ ...tier, order })));
    return { ...first, tiers };
  });
}

/** Guests search where vpnkit's file of servers says, unless the configuration says it. */
export function withSearch(config: NetworkConfig): NetworkConfig {
  const file = config.dns?.serversFile;
  if (file === undefined || config.dhcp?.search !== undefined) return config;
  const search = searchOfServersFile(file);
  return search.length === 0 ? config : { ...config, dhcp: { ...config.dhcp, search } };
}

function groupOf(names: readonly string[], servers: readonly string[]): DnsGroup {
  const group = strictGroup('configuration', names, servers);
  const known = group?.tiers[0]?.servers.length ?? 0;
  if (group !== undefined && known === servers.length && group.domains.length === new Set(names).size)
    return group;
  throw new NetproxyError(
    'ERR_NETPROXY_CONFIG',
    `bad servers "${servers.join(' ')}" of the domains ${names.join(' ')}`,
    {
      remedy: 'Allowed are names, and servers as IP or IP#PORT.',
    },
  );
}
