/** The files that say how a host resolves names: resolv.conf(5), nsswitch.conf(5), hosts(5). Parsers never throw. */
import { isIP } from 'node:net';
import { canonicalAddress } from '../core/index.js';
import { normalName, parseSecureServer } from '../dns/index.js';

/** A name server by address. */
export interface DnsServerAddress {
  /** IPv4 or IPv6, the latter perhaps with a zone (`fe80::1%eth0`). */
  readonly host: string;
  readonly port: number;
  /** Absent: UDP and TCP. */
  readonly kind?: 'tls' | 'https' | undefined;
  /** The name in its certificate; absent: its address. For `tls` and `https`. */
  readonly name?: string | undefined;
  /** For `https`. */
  readonly path?: string | undefined;
}

/** The C library reads no more (MAXNS). */
const MAX_SERVERS = 3;

/** The name servers of a resolv.conf, in its order, three at most. */
export function parseResolvConf(text: string): readonly DnsServerAddress[] {
  const servers: DnsServerAddress[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*nameserver\s+([^\s;#]+)/.exec(line);
    if (match && isIP(match[1]!) !== 0) servers.push({ host: match[1]!, port: 53 });
  }
  return servers.slice(0, MAX_SERVERS);
}

/** `IP`, `IP#PORT`, or a server behind TLS (`parseSecureServer`); undefined when it is none of these. */
export function parseServer(text: string): DnsServerAddress | undefined {
  const secure = parseSecureServer(text);
  if (secure) return secure;
  const [host = '', port = '53', ...more] = text.split('#');
  if (isIP(host) === 0 || more.length > 0 || !/^\d{1,5}$/.test(port)) return undefined;
  const number = Number(port);
  return number >= 1 && number <= 65_535 ? { host, port: number } : undefined;
}

/** The modules behind `hosts:` of an nsswitch.conf, without the actions; undefined when it has no such line. */
export function parseNsswitch(text: string): readonly string[] | undefined {
  const line = text.split('\n').find((candidate) => /^\s*hosts\s*:/.test(candidate));
  if (line === undefined) return undefined;
  const value = line.slice(line.indexOf(':') + 1).replace(/#.*/, '');
  return value
    .replace(/\[[^\]]*\]/g, ' ')
    .split(/\s+/)
    .filter(Boolean);
}

/** Whether these modules find addresses by hosts file and name servers alone. */
export function isFilesAndDns(modules: readonly string[]): boolean {
  return modules.includes('dns') && modules.every((module) => module === 'files' || module === 'dns');
}

/** Names and addresses of a hosts file, both ways. */
export interface HostsTable {
  readonly addresses: ReadonlyMap<string, readonly string[]>;
  readonly names: ReadonlyMap<string, readonly string[]>;
}

/** Reads a hosts file; lines that are none are passed over, as the C library does. */
export function parseHosts(text: string): HostsTable {
  const addresses = new Map<string, string[]>();
  const names = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...aliases] = line.replace(/#.*/, '').trim().split(/\s+/);
    const canonical = canonicalAddress(address);
    if (canonical === undefined) continue;
    for (const alias of aliases) {
      const name = normalName(alias);
      if (name === undefined || name === '') continue;
      append(addresses, name, address);
      append(names, canonical, alias);
    }
  }
  return { addresses, names };
}

function append(map: Map<string, string[]>, key: string, value: string): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else if (!list.includes(value)) list.push(value);
}
