/**
 * Hosts of requests and of settings in one form: a name in lower case without its last dot, or an address as a number, however it
 * was written. `127.1`, `0x7f000001` and `::ffff:127.0.0.1` are 127.0.0.1 to a resolver, so they are here (WHATWG URL, section 3.5).
 */
import { Address6 } from 'ip-address';
import { type Ipv4, formatIpv4, ipv4, parseIpv4 } from '../core/index.js';

export type Host =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'ipv4'; readonly ip: Ipv4 }
  | { readonly kind: 'ipv6'; readonly value: bigint; readonly text: string };

/** ::ffff:0:0/96: IPv4 in the clothes of IPv6 (RFC 4291 section 2.5.5.2). */
const MAPPED = 0xffffn;

/** Reads a host as it stands in a URL, a Host field or a setting; undefined where it is none. */
export function parseHost(text: string): Host | undefined {
  const bare = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  if (bare.includes(':')) return parseIpv6(bare);
  if (bare !== text) return undefined;
  const name = asciiName(text.replace(/\.$/, ''));
  if (name === undefined) return undefined;
  if (!/(^|\.)(\d+|0x[0-9a-f]*)$/.test(name)) return isName(name) ? { kind: 'name', name } : undefined;
  const ip = parseIpv4(name) ?? parseIpv4(urlHost(name) ?? '');
  return ip === undefined ? undefined : { kind: 'ipv4', ip };
}

/** As it stands in a URL: IPv6 in brackets. */
export function formatHost(host: Host): string {
  switch (host.kind) {
    case 'name':
      return host.name;
    case 'ipv4':
      return formatIpv4(host.ip);
    case 'ipv6':
      return `[${host.text}]`;
  }
}

/** `HOST` or `HOST:PORT`, IPv6 in brackets; undefined where it is neither. `port` undefined: none was given. */
export function parseAuthority(
  text: string,
): { readonly host: Host; readonly port: number | undefined } | undefined {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] === undefined || match[1] === '' ? undefined : parseHost(match[1]);
  const port = match?.[2] === undefined ? undefined : Number(match[2]);
  if (host === undefined || (port !== undefined && (port < 1 || port > 65_535))) return undefined;
  return { host, port };
}

function parseIpv6(text: string): Host | undefined {
  // Zones mean something on one machine only.
  if (text.length > 45 || text.includes('%') || !Address6.isValid(text) || text.includes('/'))
    return undefined;
  const address = new Address6(text);
  const value = address.bigInt();
  if (value >> 32n === MAPPED) return { kind: 'ipv4', ip: ipv4(Number(value & 0xffff_ffffn)) };
  return { kind: 'ipv6', value, text: address.correctForm() };
}

/** Lower case; names in other scripts as DNS knows them. */
function asciiName(text: string): string | undefined {
  return /^[\x00-\x7f]*$/.test(text) ? text.toLowerCase() : urlHost(text);
}

function urlHost(text: string): string | undefined {
  try {
    return new URL(`http://${text}/`).hostname;
  } catch {
    return undefined;
  }
}

/** Labels of 1 to 63 letters, digits, hyphens and underscores, 253 in all (RFC 1035 section 2.3.4, with what is in use). */
function isName(name: string): boolean {
  return name.length <= 253 && name.split('.').every((label) => /^[a-z0-9_-]{1,63}$/.test(label));
}
