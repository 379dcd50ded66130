/**
 * Which destinations go past the proxy: the one matcher for NO_PROXY, `exclude` of vpnkit's file and the lists of operating systems.
 *
 * Entries are separated by commas, semicolons or white space; capitals do not matter, nor do last dots. An entry is
 *
 *     *                         everything
 *     <local>                   names without a dot
 *     example.org               that name and all names under it
 *     .example.org              names under it; *.example.org says the same
 *     10.1.*, *corp*            any characters where the star is, in the host as it is written
 *     10.0.0.1, 10.0.0.0/8      an address, a network (also of IPv6: ::1, [::1], fd00::/8)
 *
 * each with `:PORT` behind it, where it shall hold for that port only (IPv6 then in brackets). Names are not resolved: a network
 * does not match a name whose address is in it.
 */
import { type Ipv4, formatIpv4, parseCidr, cidrContains, type Cidr } from '../core/index.js';
import { type Host, formatHost, parseHost } from './host.js';

/** Entries of one list: more is a mistake. */
export const MAX_ENTRIES = 4096;

type Pattern =
  | { readonly kind: 'all' }
  | { readonly kind: 'local' }
  /** `self`: the name itself, too. */
  | { readonly kind: 'domain'; readonly suffix: string; readonly self: boolean }
  | { readonly kind: 'glob'; readonly regex: RegExp }
  | { readonly kind: 'ipv4'; readonly cidr: Cidr }
  | { readonly kind: 'ipv6'; readonly base: bigint; readonly shift: bigint };

interface Entry {
  /** As written. */
  readonly text: string;
  readonly pattern: Pattern;
  readonly port: number | undefined;
}

export class NoProxy {
  /** Entries that say nothing: kept to be told. */
  readonly invalid: readonly string[];
  private readonly entries: readonly Entry[];

  /** One list, or several. */
  constructor(lists: string | readonly string[]) {
    const texts = (typeof lists === 'string' ? [lists] : lists)
      .flatMap((list) => list.split(/[\s,;]+/))
      .filter((text) => text !== '');
    const parsed = texts.slice(0, MAX_ENTRIES).map((text) => ({ text, entry: parseEntry(text) }));
    this.entries = parsed.flatMap(({ entry }) => entry ?? []);
    this.invalid = [
      ...parsed.filter(({ entry }) => entry === undefined).map(({ text }) => text),
      ...texts.slice(MAX_ENTRIES),
    ];
  }

  /** What it says, as it is written. */
  get list(): readonly string[] {
    return this.entries.map(({ text }) => text);
  }

  /** The first entry, as written, that speaks of this destination; undefined: the proxy is for it. */
  explain(host: Host, port: number): string | undefined {
    return this.entries.find(
      (entry) => (entry.port === undefined || entry.port === port) && matches(entry.pattern, host),
    )?.text;
  }

  /** Whether the destination goes past the proxy. */
  matches(host: Host, port: number): boolean {
    return this.explain(host, port) !== undefined;
  }
}

function parseEntry(text: string): Entry | undefined {
  const ported = /^(\[[^\]]*\](?:\/\d+)?|[^:]*):(\d{1,5})$/.exec(text);
  const port = ported === null ? undefined : Number(ported[2]);
  if (port !== undefined && (port < 1 || port > 65_535)) return undefined;
  const pattern = parsePattern((ported?.[1] ?? text).toLowerCase());
  return pattern === undefined ? undefined : { text, pattern, port };
}

function parsePattern(text: string): Pattern | undefined {
  if (text === '*') return { kind: 'all' };
  if (text === '<local>') return { kind: 'local' };
  const network = /^\[?([^\]/]*)\]?\/(\d{1,3})$/.exec(text);
  if (network !== null) return parseNetwork(network[1]!, Number(network[2]));
  const domain = /^\*?\.([^*]+)$/.exec(text);
  if (domain !== null) {
    const host = parseHost(domain[1]!);
    return host?.kind === 'name' ? { kind: 'domain', suffix: `.${host.name}`, self: false } : undefined;
  }
  if (text.includes('*')) return parseGlob(text);
  const host = parseHost(text);
  if (host === undefined) return undefined;
  if (host.kind === 'name') return { kind: 'domain', suffix: `.${host.name}`, self: true };
  if (host.kind === 'ipv4') return { kind: 'ipv4', cidr: { base: host.ip, prefix: 32 } };
  return { kind: 'ipv6', base: host.value, shift: 0n };
}

function parseNetwork(address: string, prefix: number): Pattern | undefined {
  const cidr = parseCidr(`${address}/${prefix}`);
  if (cidr !== undefined) return { kind: 'ipv4', cidr };
  const host = address.includes(':') ? parseHost(address) : undefined;
  if (host === undefined || prefix > 128) return undefined;
  if (host.kind === 'ipv6') {
    const shift = BigInt(128 - prefix);
    return { kind: 'ipv6', base: host.value >> shift, shift };
  }
  // A network of mapped addresses is one of IPv4.
  return host.kind === 'ipv4' && prefix >= 96 ? parseNetwork(formatIpv4(host.ip), prefix - 96) : undefined;
}

/** A star is any characters, dots included. Not more stars than make sense: a pattern must not cost time. */
function parseGlob(text: string): Pattern | undefined {
  const plain = text.replace(/\.$/, '').replaceAll(/\*+/g, '*');
  if (!/^[a-z0-9._:*-]+$/.test(plain) || plain.split('*').length > 5) return undefined;
  return {
    kind: 'glob',
    regex: new RegExp(`^${plain.replaceAll('.', '\\.').replaceAll('*', '.*')}$`),
  };
}

function matches(pattern: Pattern, host: Host): boolean {
  switch (pattern.kind) {
    case 'all':
      return true;
    case 'local':
      return host.kind === 'name' && !host.name.includes('.');
    case 'domain':
      return host.kind === 'name' && matchesDomain(pattern.suffix, pattern.self, host.name);
    case 'glob':
      return pattern.regex.test(host.kind === 'ipv6' ? host.text : formatHost(host));
    case 'ipv4':
      return host.kind === 'ipv4' && cidrContains(pattern.cidr, host.ip satisfies Ipv4);
    case 'ipv6':
      return host.kind === 'ipv6' && host.value >> pattern.shift === pattern.base;
  }
}

function matchesDomain(suffix: string, self: boolean, name: string): boolean {
  return name.endsWith(suffix) || (self && name === suffix.slice(1));
}
