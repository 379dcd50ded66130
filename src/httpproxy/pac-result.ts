/** What a proxy auto-config file answers: `PROXY a:3128; SOCKS5 b:1080; DIRECT`, to be tried in this order. */
import { parseAuthority } from './host.js';
import { DIRECT, type Upstream, type UpstreamKind, upstreamAt } from './upstream.js';

/** Upstreams of one answer: more are not looked at. */
const MAX_UPSTREAMS = 16;

/** SOCKS is version 5 here, with names for the proxy to resolve, as browsers have it. */
const KINDS: Readonly<Record<string, readonly [kind: UpstreamKind, port: number]>> = {
  PROXY: ['http', 80],
  HTTP: ['http', 80],
  HTTPS: ['https', 443],
  SOCKS: ['socks5h', 1080],
  SOCKS5: ['socks5h', 1080],
};

export interface PacResult {
  /** Never empty: an answer that names nothing means straight. */
  readonly upstreams: readonly Upstream[];
  /** Parts that make no sense, or ask for what is not spoken here (SOCKS4). */
  readonly unknown: readonly string[];
}

/** Reads an answer; undefined where nothing of what it names can be used. */
export function parsePacResult(text: string): PacResult | undefined {
  const parts = text
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (parts.length === 0) return { upstreams: [DIRECT], unknown: [] };
  const read = parts.slice(0, MAX_UPSTREAMS).map((part) => ({ part, upstream: parsePart(part) }));
  const upstreams = read.flatMap(({ upstream }) => upstream ?? []);
  if (upstreams.length === 0) return undefined;
  return {
    upstreams,
    unknown: read.filter(({ upstream }) => upstream === undefined).map(({ part }) => part),
  };
}

function parsePart(part: string): Upstream | undefined {
  const [word = '', where, ...more] = part.split(/\s+/);
  const name = word.toUpperCase();
  if (name === 'DIRECT') return where === undefined ? DIRECT : undefined;
  const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  const authority = where === undefined || more.length > 0 ? undefined : parseAuthority(where);
  if (kind === undefined || authority === undefined) return undefined;
  return upstreamAt(kind[0], authority.host, authority.port ?? kind[1]);
}
