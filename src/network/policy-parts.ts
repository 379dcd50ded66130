/** The policy of a network with what it needs: rules, names, the log of its decisions. */
import { type Ipv4, type Logger, type Random, formatIpv4, hashKey, parseIpv4 } from '../core/index.js';
import { DEFAULT_ZONES } from '../dns/index.js';
import { ownAddresses } from '../host/index.js';
import { Audit, type AuditEntry, Policy, formatAudit, readRule } from '../policy/index.js';
import type { Addresses } from './addresses.js';
import { Judge } from './judge.js';
import { NameMemories } from './name-memories.js';
import type { NetworkConfig, NetworkDeps } from './types.js';

export interface PolicyParts {
  readonly policy: Policy;
  readonly audit: Audit;
  readonly names: NameMemories;
  readonly judge: Judge;
}

/** Throws ERR_NETPROXY_CONFIG. `now`: in whole ms. */
export function policyParts(
  config: NetworkConfig,
  deps: NetworkDeps,
  { subnet, gatewayIp, hostAlias }: Addresses,
  now: () => number,
  random: Random,
  logger: Logger,
  told: (entry: AuditEntry) => void,
): PolicyParts {
  const names = new NameMemories(now);
  const audit = new Audit({
    now,
    date: () => Date.now(),
    tell: (entry) => {
      logger.info(formatAudit(entry), { guest: entry.guest, decision: entry.id });
      told(entry);
    },
  });
  audit.all = config.policy?.log === 'all';
  const policy = new Policy(
    {
      subnet,
      gatewayIp,
      hostAlias,
      rules: (config.policy?.rules ?? []).map(readRule),
      defaultAction: config.policy?.default ?? 'allow',
      hostNames: hostNames(config, hostAlias),
    },
    { isOwnAddress: ownAddressCheck(deps, now), names: (guest) => names.of(guest), audit },
  );
  return { policy, audit, names, judge: new Judge(policy, names, hashKey(random), now) };
}

/** The names by which guests reach the host. */
function hostNames(config: NetworkConfig, hostAlias: Ipv4 | undefined): string[] {
  const configured = Object.entries(config.dns?.hosts ?? {}).flatMap(([name, address]) => {
    const ip = parseIpv4(address);
    const isHost = ip !== undefined && (ip === hostAlias || ip >>> 24 === 127);
    return isHost ? [name.toLowerCase().replace(/\.$/, '')] : [];
  });
  return [...DEFAULT_ZONES.map((zone) => `host.${zone}`), ...configured];
}

function ownAddressCheck(deps: NetworkDeps, now: () => number): (ip: Ipv4) => boolean {
  const { isOwnAddress } = deps;
  if (isOwnAddress !== undefined) return (ip) => isOwnAddress(formatIpv4(ip));
  return deps.io === undefined ? ownAddresses(now) : () => false;
}
