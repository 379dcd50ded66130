/** The HTTP proxy's settings as a configuration or a program says them. */
import { NetproxyError } from '../core/index.js';
import type { Pac } from '../host/index.js';
import { NO_SETTINGS, NoProxy, type ProxySettings, parseUpstream } from '../httpproxy/index.js';

/** Whom requests go to. What is absent is as if it were never said. */
export interface ProxyChoice {
  /** Upstream proxies in the order in which they are tried: URLs (http, https, socks5, socks5h), `HOST:PORT`, `direct`. */
  readonly http?: readonly string[] | undefined;
  /** For CONNECT and https. Default: those of `http`. */
  readonly https?: readonly string[] | undefined;
  /** What goes past them: names, networks, `*.example.org`, `<local>` (docs/http-proxy.md). */
  readonly noProxy?: readonly string[] | undefined;
  /** A proxy auto-config file: a path, or a URL with http, https, file or data. It goes before the lists, which hold when it fails. */
  readonly pac?: string | undefined;
}

/** Undefined when nobody is named. `key`: what messages call the object. Throws ERR_NETPROXY_CONFIG. */
export function chosenSettings(
  { http, https, noProxy, pac }: ProxyChoice,
  source: string,
  key: string,
  makePac: (where: string) => Pac,
): (ProxySettings & { readonly finder?: Pac | undefined }) | undefined {
  if (http === undefined && https === undefined && pac === undefined) return undefined;
  return {
    ...NO_SETTINGS,
    http: (http ?? []).map(parseUpstream),
    https: (https ?? http ?? []).map(parseUpstream),
    noProxy: listOf(noProxy ?? [], key),
    source,
    finder: pac === undefined ? undefined : makePac(pac),
  };
}

/** Settings with some of them replaced. Throws ERR_NETPROXY_CONFIG. */
export function changedSettings(
  settings: ProxySettings,
  { http, https, noProxy, pac }: ProxyChoice,
  source: string,
  key: string,
  makePac: (where: string) => Pac,
): ProxySettings {
  return {
    ...settings,
    http: http?.map(parseUpstream) ?? settings.http,
    https: https?.map(parseUpstream) ?? settings.https,
    noProxy: noProxy === undefined ? settings.noProxy : listOf(noProxy, key),
    source,
    finder: pac === undefined ? settings.finder : makePac(pac),
  };
}

function listOf(noProxy: readonly string[], key: string): NoProxy {
  const list = new NoProxy(noProxy);
  if (list.invalid.length === 0) return list;
  throw new NetproxyError(
    'ERR_NETPROXY_CONFIG',
    `${key}.noProxy: "${list.invalid[0]!}" is neither a name nor an address nor a network`,
  );
}
