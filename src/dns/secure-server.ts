/**
 * Name servers behind TLS as text: `tls://9.9.9.9#dns.quad9.net` (RFC 7858), `https://9.9.9.9/dns-query#dns.quad9.net`
 * (RFC 8484). The address is an IP address, for who would resolve a name of it? The name behind `#` is what the server's
 * certificate must have; without it, the certificate must have the address.
 */
import { addressBytes } from '../core/index.js';
import { normalName } from './names.js';

export interface SecureServer {
  readonly kind: 'tls' | 'https';
  readonly host: string;
  /** Default 853 and 443. */
  readonly port: number;
  readonly name: string | undefined;
  /** For `https`. */
  readonly path: string | undefined;
}

const FORM =
  /^(tls|https):\/\/(?:\[([0-9a-f:.]+)\]|([0-9.]+))(?::(\d{1,5}))?(\/[\x21\x24-\x7e]*)?(?:#([^#]+))?$/i;

/** Undefined when the text is none. */
export function parseSecureServer(text: string): SecureServer | undefined {
  const match = FORM.exec(text);
  if (match === null) return undefined;
  const [, scheme = '', ipv6, ipv4, digits, path, label] = match;
  const kind = scheme.toLowerCase() === 'tls' ? 'tls' : 'https';
  const host = ipv6 ?? ipv4 ?? '';
  if (addressBytes(host)?.length !== (ipv6 === undefined ? 4 : 16)) return undefined;
  const port = digits === undefined ? (kind === 'tls' ? 853 : 443) : Number(digits);
  if (port < 1 || port > 65_535 || (kind === 'tls' && path !== undefined)) return undefined;
  const name = label === undefined ? undefined : normalName(label);
  if (label !== undefined && (name === undefined || name === '')) return undefined;
  return { kind, host, port, name, path: kind === 'https' ? (path ?? '/dns-query') : undefined };
}
