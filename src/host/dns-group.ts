/** Groups of name servers, each for some domains: how every source of split DNS says what it knows. */
import type { Millis } from '../core/index.js';
import { normalName } from '../dns/index.js';
import { parseServer, type DnsServerAddress } from './resolver-files.js';

/** Servers that are asked about some domains, and nobody else is. */
export interface DnsGroup {
  /** Normal names; the empty one stands for all names that no other group has. */
  readonly domains: readonly string[];
  /** Those of the next tier are asked when those of one failed or kept silent. */
  readonly tiers: readonly DnsTier[];
  /** Where that was said, for people: a file, an interface. */
  readonly from: string;
}

export interface DnsTier {
  readonly servers: readonly DnsServerAddress[];
  /** Asked all at once, or one after the other. */
  readonly order: 'race' | 'strict';
  /** Until the next tier is asked, ms; undefined: an even share of what is left. */
  readonly timeout: Millis | undefined;
}

/** Domains and servers that a source may bring at most; what is more is left out. */
export const MAX_DOMAINS = 1024;
export const MAX_GROUP_SERVERS = 32;

/** A domain as a source writes it (`~corp.example`, `*.corp.example`, `.corp.example`); undefined when it is none. */
export function domainOf(text: string): string | undefined {
  return normalName(text.replace(/^(~|\*\.)?\.?/, ''));
}

/** Strict tiers of one group from words that are servers; undefined when none is. */
export function strictGroup(
  from: string,
  domains: readonly string[],
  servers: readonly string[],
): DnsGroup | undefined {
  const known = servers.flatMap((text) => parseServer(text) ?? []).slice(0, MAX_GROUP_SERVERS);
  if (known.length === 0) return undefined;
  const names = [...new Set(domains.flatMap((text) => domainOf(text) ?? []))].slice(0, MAX_DOMAINS);
  return { from, domains: names, tiers: [{ servers: known, order: 'strict', timeout: undefined }] };
}
