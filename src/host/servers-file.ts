/**
 * vpnkit's file of name servers, like a resolv.conf: `nameserver IP[#port]`, then for that server `zone a.b c.d`,
 * `timeout MS` and `order N`; `search a b`. Servers without zones are for all other names. Of the servers of one zone those
 * with the smallest order are asked first, all at once; the others when these fail or their time is over.
 */
import { readFileSync } from 'node:fs';
import type { Millis } from '../core/index.js';
import { normalName } from '../dns/index.js';
import { MAX_DOMAINS, MAX_GROUP_SERVERS, domainOf, type DnsGroup, type DnsTier } from './dns-group.js';
import { parseServer, type DnsServerAddress } from './resolver-files.js';

/** What is wrong with such a file, once for each line. */
export interface ServersFile {
  readonly groups: readonly DnsGroup[];
  /** Search domains for guests. */
  readonly search: readonly string[];
  /** Lines that say nothing that is known, for a warning. */
  readonly wrong: readonly string[];
}

interface Entry {
  readonly server: DnsServerAddress;
  zones: readonly string[];
  timeout: Millis | undefined;
  order: number;
}

/** The search domains of such a file as it is now; none when it cannot be read. */
export function searchOfServersFile(file: string): readonly string[] {
  try {
    return parseServersFile(readFileSync(file, 'utf8'), file).search;
  } catch {
    return [];
  }
}

/** What a server has beside its address. */
const MAX_TIMEOUT = 60_000;
const MAX_ORDER = 1_000_000;

/** Reads such a file; never throws. `from` names it in explanations. */
export function parseServersFile(text: string, from: string): ServersFile {
  const entries: Entry[] = [];
  const search: string[] = [];
  const wrong: string[] = [];
  for (const line of text.split('\n')) {
    const [word = '', ...values] = line
      .replace(/[#;](?!\d).*$/, '')
      .trim()
      .split(/\s+/);
    if (word === '') continue;
    if (word === 'nameserver') {
      const server = values.length === 1 ? parseServer(values[0]!) : undefined;
      if (server === undefined) wrong.push(line.trim());
      else entries.push({ server, zones: [], timeout: undefined, order: 0 });
    } else if (word === 'search') {
      search.push(...values.flatMap((value) => normalName(value) || []));
    } else if (!takes(entries.at(-1), word, values)) wrong.push(line.trim());
  }
  return { groups: groupsOf(entries, from), search: search.slice(0, MAX_DOMAINS), wrong };
}

/** Gives the server above what a line says about it; false when it says nothing. */
function takes(entry: Entry | undefined, word: string, values: readonly string[]): boolean {
  if (entry === undefined) return false;
  const [first = ''] = values;
  const number = values.length === 1 && /^\d{1,7}$/.test(first) ? Number(first) : undefined;
  switch (word) {
    case 'zone': {
      const zones = values.flatMap((value) => domainOf(value) ?? []);
      entry.zones = [...entry.zones, ...zones].slice(0, MAX_DOMAINS);
      return zones.length === values.length && zones.length > 0;
    }
    case 'timeout':
      if (number === undefined || number === 0) return false;
      entry.timeout = Math.min(number, MAX_TIMEOUT);
      return true;
    case 'order':
      if (number === undefined) return false;
      entry.order = Math.min(number, MAX_ORDER);
      return true;
    default:
      return false;
  }
}

/** One group for each zone, of all servers that have it. */
function groupsOf(entries: readonly Entry[], from: string): readonly DnsGroup[] {
  const byZone = new Map<string, Entry[]>();
  for (const entry of entries) {
    for (const zone of entry.zones.length === 0 ? [''] : entry.zones) {
      const list = byZone.get(zone) ?? [];
      if (byZone.size < MAX_DOMAINS || byZone.has(zone)) byZone.set(zone, list);
      if (list.length < MAX_GROUP_SERVERS) list.push(entry);
    }
  }
  return [...byZone].map(([zone, list]) => ({ domains: [zone], tiers: tiersOf(list), from }));
}

function tiersOf(entries: readonly Entry[]): readonly DnsTier[] {
  const orders = [...new Set(entries.map(({ order }) => order))].sort((a, b) => a - b);
  return orders.map((wanted) => {
    const here = entries.filter(({ order }) => order === wanted);
    const timeouts = here.flatMap(({ timeout }) => timeout ?? []);
    const servers = here.map(({ server }) => server);
    return { servers, order: 'race', timeout: timeouts.length === 0 ? undefined : Math.max(...timeouts) };
  });
}
