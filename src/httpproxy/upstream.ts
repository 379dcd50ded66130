/** Where requests may be sent to: straight, or by another proxy. Credentials never show in `name`, which is what logs and pages say. */
import { NetproxyError } from '../core/index.js';
import { type Host, formatHost, parseAuthority } from './host.js';

export type UpstreamKind = 'http' | 'https' | 'socks5' | 'socks5h';

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

export interface ProxyUpstream {
  readonly kind: UpstreamKind;
  readonly host: Host;
  readonly port: number;
  readonly credentials: Credentials | undefined;
  /** The credentials are not of the settings: somebody was asked for them, and may be asked again. */
  readonly lent?: boolean;
  /** `http://proxy.corp:3128`, for people and as a key of statistics. */
  readonly name: string;
}

export type Upstream = { readonly kind: 'direct'; readonly name: 'direct' } | ProxyUpstream;

export const DIRECT: Upstream = { kind: 'direct', name: 'direct' };

const DEFAULT_PORT: Readonly<Record<UpstreamKind, number>> = {
  http: 80,
  https: 443,
  socks5: 1080,
  socks5h: 1080,
};

const ALLOWED =
  'Allowed: "direct", HOST:PORT, or a URL with http, https, socks5 (names resolved here) or socks5h (by the proxy), such as http://user:password@proxy.corp:3128.';

/** Reads an upstream as settings say it; throws ERR_NETPROXY_CONFIG, whose message holds no password. */
export function parseUpstream(text: string): Upstream {
  const trimmed = text.trim();
  if (trimmed.toLowerCase() === 'direct') return DIRECT;
  const match = /^(?:([a-z][a-z0-9]*):\/\/)?(?:([^/]*)@)?([^/@?#]+)\/?$/i.exec(trimmed);
  const kind = kindOf(match?.[1]?.toLowerCase() ?? 'http');
  const authority = match?.[3] === undefined ? undefined : parseAuthority(match[3]);
  if (kind === undefined || authority === undefined) throw bad(trimmed);
  const { host } = authority;
  const port = authority.port ?? DEFAULT_PORT[kind];
  const credentials = match?.[2] === undefined ? undefined : parseCredentials(match[2], trimmed);
  return { ...upstreamAt(kind, host, port), credentials };
}

/** A proxy without credentials. */
export function upstreamAt(kind: UpstreamKind, host: Host, port: number): ProxyUpstream {
  return { kind, host, port, credentials: undefined, name: `${kind}://${formatHost(host)}:${port}` };
}

/** `Basic …` of RFC 7617, in UTF-8. */
export function basicAuthorization({ user, password }: Credentials): string {
  return `Basic ${Buffer.from(`${user}:${password}`, 'utf8').toString('base64')}`;
}

function kindOf(scheme: string): UpstreamKind | undefined {
  if (scheme === 'socks') return 'socks5h';
  return Object.hasOwn(DEFAULT_PORT, scheme) ? (scheme as UpstreamKind) : undefined;
}

function parseCredentials(text: string, whole: string): Credentials {
  const colon = text.indexOf(':');
  try {
    return {
      user: decodeURIComponent(colon < 0 ? text : text.slice(0, colon)),
      password: colon < 0 ? '' : decodeURIComponent(text.slice(colon + 1)),
    };
  } catch {
    throw bad(whole);
  }
}

function bad(text: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', `"${withoutSecret(text)}" is no HTTP proxy`, {
    remedy: ALLOWED,
  });
}

function withoutSecret(text: string): string {
  return text.replace(/^([a-z][a-z0-9]*:\/\/)?.*@/i, '$1…@').slice(0, 100);
}
