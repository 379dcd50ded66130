/**
 * Who is asked for what: the settings of the moment, and the route of one request by them. They come from the configuration, from
 * vpnkit's http_proxy.json, or from the environment; each request asks anew, so a change holds for the next one.
 */
import { NetproxyError } from '../core/index.js';
import { type Host, formatHost } from './host.js';
import { NoProxy } from './no-proxy.js';
import { DIRECT, type Upstream, parseUpstream } from './upstream.js';

export interface ProxySettings {
  /** For `http:` in the order in which they are tried; empty: straight. */
  readonly http: readonly Upstream[];
  /** For CONNECT, `https:` and `wss:`. */
  readonly https: readonly Upstream[];
  readonly noProxy: NoProxy;
  /** Only these may be asked for at all; undefined: everything. */
  readonly allow: NoProxy | undefined;
  /** What others are told; `%s` is the host. */
  readonly allowError: string | undefined;
  /** Ports whose connections are intercepted. Default 80 and 443. */
  readonly httpPorts: readonly number[];
  readonly httpsPorts: readonly number[];
  /** Where they come from, for people. */
  readonly source: string;
  /** Who knows the route of what is neither refused nor past the proxy; the lists are what holds without it. */
  readonly finder?: RouteFinder | undefined;
}

/** Finds routes that no list holds: a proxy auto-config file, or settings of the system that have to be asked for. */
export interface RouteFinder {
  /** false: what it knows now leads nowhere but straight. */
  readonly active: boolean;
  /** Rejects with Problem. */
  find(query: RouteQuery, settings: ProxySettings): Promise<Route>;
}

export const DEFAULT_HTTP_PORTS: readonly number[] = [80];
export const DEFAULT_HTTPS_PORTS: readonly number[] = [443];

export const NO_SETTINGS: ProxySettings = {
  http: [],
  https: [],
  noProxy: new NoProxy(''),
  allow: undefined,
  allowError: undefined,
  httpPorts: DEFAULT_HTTP_PORTS,
  httpsPorts: DEFAULT_HTTPS_PORTS,
  source: 'no settings',
};

export interface RouteQuery {
  readonly scheme: 'http' | 'https';
  readonly host: Host;
  readonly port: number;
  /** Where an intercepted connection wanted to go: what lists say of it counts, too. */
  readonly address?: Host | undefined;
}

export interface Route {
  /** In the order in which they are tried; never empty. */
  readonly upstreams: readonly Upstream[];
  /** One sentence for people. */
  readonly why: string;
  /** Set: it must not be asked for, and this is what the guest is told. */
  readonly refused?: string;
  /** The entry that sends it past the proxies. */
  readonly past?: string;
}

/** The route of a request. Rejects with Problem where there is none. */
export async function findRoute(settings: ProxySettings, query: RouteQuery): Promise<Route> {
  const { finder } = settings;
  const fixed = fixedRoute(settings, query);
  if (finder === undefined || fixed.final === true) return fixed;
  return finder.find(query, settings);
}

/** The route by the lists alone. `final`: no finder is asked. */
function fixedRoute(settings: ProxySettings, query: RouteQuery): Route & { readonly final?: boolean } {
  const { scheme, host } = query;
  if (settings.allow !== undefined && entryOf(settings.allow, query) === undefined) {
    const told = settings.allowError ?? 'Connections to %s are not allowed here';
    const refused = told.replaceAll('%s', () => formatHost(host));
    return { upstreams: [DIRECT], why: `${settings.source} does not allow it`, refused, final: true };
  }
  const list = settings[scheme];
  const entry = entryOf(settings.noProxy, query);
  if (entry !== undefined) {
    const why = `"${entry}" goes past the proxy (${settings.source})`;
    return { upstreams: [DIRECT], why, past: entry, final: true };
  }
  if (list.length === 0) return { upstreams: [DIRECT], why: `no upstream proxy for ${scheme}` };
  return { upstreams: list, why: `the proxy for ${scheme} of ${settings.source}` };
}

function entryOf(list: NoProxy, { host, port, address }: RouteQuery): string | undefined {
  return list.explain(host, port) ?? (address === undefined ? undefined : list.explain(address, port));
}

/** Whether anything of this scheme may leave by a proxy. */
export function hasUpstream(settings: ProxySettings, scheme: 'http' | 'https'): boolean {
  return settings.finder?.active === true || settings[scheme].some(({ kind }) => kind !== 'direct');
}

/**
 * What `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say, in small or capital letters; undefined when they name no proxy.
 * HTTP_PROXY is not believed where a web server set it (httpoxy). Values that are no proxies are left out and told.
 */
export function environmentSettings(
  environment: Readonly<Record<string, string | undefined>>,
  complain: (message: string) => void,
): ProxySettings | undefined {
  const value = (name: string): string | undefined => {
    const capitals = name.toUpperCase();
    const cgi = capitals === 'HTTP_PROXY' && environment['REQUEST_METHOD'] !== undefined;
    const text = environment[name] ?? (cgi ? undefined : environment[capitals]);
    return text === '' ? undefined : text;
  };
  const upstreams = (name: string): readonly Upstream[] => {
    const text = value(name) ?? value('all_proxy');
    if (text === undefined) return [];
    try {
      return [parseUpstream(text)];
    } catch (error) {
      if (!(error instanceof NetproxyError)) throw error;
      complain(`${name} of the environment: ${error.message}`);
      return [];
    }
  };
  const http = upstreams('http_proxy');
  const https = upstreams('https_proxy');
  if (http.length === 0 && https.length === 0) return undefined;
  return {
    ...NO_SETTINGS,
    http,
    https,
    noProxy: new NoProxy(value('no_proxy') ?? ''),
    source: 'the environment',
  };
}

/** Reads vpnkit's http_proxy.json; throws ERR_NETPROXY_CONFIG that says what is wrong. `file`: for people. */
export function vpnkitSettings(text: string, file: string): ProxySettings {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    throw new NetproxyError('ERR_NETPROXY_CONFIG', `${file} is no JSON: ${(error as Error).message}`);
  }
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    throw new NetproxyError('ERR_NETPROXY_CONFIG', `${file} holds no object`);
  const keys = data as Readonly<Record<string, unknown>>;
  const allowed = listOf(keys, 'allow', file);
  return {
    http: upstreamOf(keys, 'http', file),
    https: upstreamOf(keys, 'https', file),
    noProxy: new NoProxy(listOf(keys, 'exclude', file)),
    allow: keys['allow_enabled'] === true ? new NoProxy(allowed) : undefined,
    allowError: textOf(keys, 'allow_error_msg', file),
    httpPorts: portsOf(keys, 'transparent_http_ports', file) ?? DEFAULT_HTTP_PORTS,
    httpsPorts: portsOf(keys, 'transparent_https_ports', file) ?? DEFAULT_HTTPS_PORTS,
    source: file,
  };
}

type Keys = Readonly<Record<string, unknown>>;

function wrong(file: string, key: string, allowed: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', `${file}: "${key}" must be ${allowed}`);
}

function textOf(keys: Keys, key: string, file: string): string | undefined {
  const value = keys[key];
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value !== 'string') throw wrong(file, key, 'text');
  return value;
}

function upstreamOf(keys: Keys, key: string, file: string): readonly Upstream[] {
  const text = textOf(keys, key, file);
  return text === undefined ? [] : [parseUpstream(text)];
}

/** A list, or text with commas or spaces. */
function listOf(keys: Keys, key: string, file: string): readonly string[] {
  const value = keys[key];
  if (!Array.isArray(value)) return [textOf(keys, key, file) ?? ''];
  if (!value.every((item) => typeof item === 'string')) throw wrong(file, key, 'text, or a list of texts');
  return value;
}

function portsOf(keys: Keys, key: string, file: string): readonly number[] | undefined {
  const value = keys[key];
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || !value.every((port) => Number.isInteger(port) && port >= 1 && port <= 65_535))
    throw wrong(file, key, 'a list of ports');
  return value as number[];
}
