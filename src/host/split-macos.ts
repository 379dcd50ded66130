/** Which servers macOS has for which domains: `scutil --dns`, read. The parser never throws. */
import { strictGroup, type DnsGroup } from './dns-group.js';

interface Resolver {
  readonly domain: string | undefined;
  readonly servers: readonly string[];
  readonly order: number;
  readonly timeout: number | undefined;
  readonly usable: boolean;
}

/**
 * The groups of a configuration as `scutil --dns` prints it. The first resolver without a domain stands for all other
 * names. Those of multicast DNS, and the second list, which is for programs that chose an interface, do not count.
 */
export function parseScutil(text: string): readonly DnsGroup[] {
  const [shared = ''] = text.split(/^DNS configuration \(for scoped queries\)/m);
  const resolvers = shared
    .split(/^resolver #\d+\s*$/m)
    .slice(1)
    .map(readResolver)
    .filter(({ usable, servers }) => usable && servers.length > 0)
    // Those of one domain are asked by their order.
    .sort((a, b) => a.order - b.order);
  const groups = new Map<string, DnsGroup>();
  for (const { domain, servers, timeout } of resolvers) {
    const group = strictGroup('scutil --dns', [domain ?? ''], servers);
    const [name] = group?.domains ?? [];
    if (group === undefined || name === undefined) continue;
    const known = groups.get(name);
    const tiers = group.tiers.map((tier) => ({ ...tier, timeout }));
    // Only the first default is the system's; the others belong to interfaces that are not in use.
    if (known === undefined) groups.set(name, { ...group, tiers });
    else if (name !== '') groups.set(name, { ...known, tiers: [...known.tiers, ...tiers] });
  }
  return [...groups.values()];
}

function readResolver(text: string): Resolver {
  const values = new Map<string, string>();
  const servers: string[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*([a-z_ ]+?)(\[\d+\])?\s*:\s*(.*?)\s*$/.exec(line);
    if (match === null) continue;
    if (match[1] === 'nameserver') servers.push(match[3]!);
    else values.set(match[1]!, match[3]!);
  }
  const port = values.get('port');
  const seconds = Number(values.get('timeout') ?? Number.NaN);
  return {
    domain: values.get('domain'),
    servers: servers.map((server) => (port === undefined ? server : `${server}#${port}`)),
    order: Number(values.get('order') ?? 0) || 0,
    timeout: seconds > 0 && seconds <= 60 ? seconds * 1000 : undefined,
    usable: values.get('options') !== 'mdns',
  };
}
