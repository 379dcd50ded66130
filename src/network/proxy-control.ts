/** What programs see and change of the HTTP proxy's settings while it runs. */
import { NetproxyError } from '../core/index.js';
import {
  Pac,
  type PacStatus,
  type ProxyCredentials,
  type ProxySettingsStack,
  type ProxySourceName,
  SystemProxySettings,
} from '../host/index.js';
import {
  type HttpProxy,
  NO_SETTINGS,
  type ProxySettings,
  Problem,
  type Upstream,
  findRoute,
  formatHost,
  parseAuthority,
  vpnkitSettings,
} from '../httpproxy/index.js';
import { type ProxyChoice, changedSettings, chosenSettings } from './proxy-config.js';

/** One upstream and how it does. Times are means, ms; absent before there is one. */
export interface ProxyUpstreamStatus {
  /** Without credentials. */
  readonly name: string;
  /** `down`: it failed last, and others are tried before it. */
  readonly state: 'up' | 'down';
  readonly connections: number;
  readonly failures: number;
  readonly requests: number;
  readonly connectMillis?: number | undefined;
  readonly answerMillis?: number | undefined;
}

export interface ProxyStatus {
  /** Who decides; `none`: nobody names a proxy. */
  readonly source: ProxySourceName | 'none';
  /** The same for people: with the file's name, the system's tool. */
  readonly from: string;
  /** Names of upstreams: without credentials. */
  readonly http: readonly string[];
  readonly https: readonly string[];
  readonly noProxy: readonly string[];
  readonly pac?: PacStatus | undefined;
  /** Sources that say something, the one that decides first. */
  readonly sources: readonly ProxySourceName[];
  /** Where credentials come from for upstreams that have none in their URL. */
  readonly credentials?: 'command' | 'environment' | undefined;
  /** Those that were used, and those of the settings. */
  readonly upstreams: readonly ProxyUpstreamStatus[];
}

/** How one URL would be served. */
export interface ProxyExplanation {
  readonly url: string;
  readonly source: ProxySourceName | 'none';
  /** Names of upstreams in the order in which they would be tried, `direct` among them. */
  readonly upstreams: readonly string[];
  /** One sentence. */
  readonly why: string;
  /** The entry that sends it past the proxies. */
  readonly past?: string | undefined;
  /** What the guest would be told instead. */
  readonly refused?: string | undefined;
}

export interface ProxyControlParts {
  readonly stack: ProxySettingsStack;
  readonly proxy: HttpProxy;
  readonly credentials: ProxyCredentials;
  readonly makePac: (where: string) => Pac;
  readonly now: () => number;
}

export class ProxyControl {
  private readonly parts: ProxyControlParts;
  /** Made for what was set; others belong to their sources. */
  private pac: Pac | undefined;

  constructor(parts: ProxyControlParts) {
    this.parts = parts;
  }

  /** The settings of now and where they come from. */
  async status(): Promise<ProxyStatus> {
    const { stack, credentials } = this.parts;
    const [{ name, settings } = NOBODY] = stack.all();
    const said = await shown(settings);
    return {
      source: name,
      from: said.source,
      http: said.http.map(nameOf),
      https: said.https.map(nameOf),
      noProxy: said.noProxy.list,
      ...(said.finder instanceof Pac ? { pac: said.finder.status } : {}),
      sources: stack.all().map((one) => one.name),
      ...(credentials.source === undefined ? {} : { credentials: credentials.source }),
      upstreams: this.upstreams([...said.http, ...said.https]),
    };
  }

  /** What the proxy auto-config file of the moment counts; zeros where there is none. */
  get pacCounters(): { asked: number; kept: number; failed: number; ended: number } {
    const { finder } = this.parts.stack.current();
    const pac = finder instanceof SystemProxySettings ? finder.last.finder : finder;
    const { asked = 0, kept = 0, failed = 0, ended = 0 } = pac instanceof Pac ? pac.status : {};
    return { asked, kept, failed, ended };
  }

  /** Goes before the configuration and all else, from the next request on, until `clear`. Throws ERR_NETPROXY_CONFIG. */
  set(choice: ProxyChoice): void {
    const settings = chosenSettings(choice, SOURCE, 'proxy', this.parts.makePac);
    if (settings === undefined)
      throw new NetproxyError('ERR_NETPROXY_CONFIG', 'the proxy settings name nobody', {
        remedy: 'Give http, https or pac; http: ["direct"] goes straight.',
      });
    this.replace(settings);
  }

  /** The same by the text of vpnkit's http_proxy.json. Throws ERR_NETPROXY_CONFIG. */
  setFile(text: string): void {
    this.replace(vpnkitSettings(text, 'http_proxy.json'));
  }

  /** The same for what is given; what is left out stays what it is at this moment. Rejects with ERR_NETPROXY_CONFIG. */
  async change(choice: ProxyChoice): Promise<void> {
    const { stack, makePac } = this.parts;
    const now = await shown(stack.current());
    this.replace(changedSettings(now, choice, SOURCE, 'proxy', makePac));
  }

  /** Takes back what was set; false: nothing was. */
  clear(): boolean {
    const had = this.parts.stack.live !== undefined;
    this.replace(undefined);
    return had;
  }

  /** Whom a request for a URL (http, https, ws, wss, or HOST:PORT) would go to. Rejects with ERR_NETPROXY_CONFIG. */
  async explain(url: string): Promise<ProxyExplanation> {
    const query = queryOf(url);
    const [{ name, settings } = NOBODY] = this.parts.stack.all();
    const told = { url: query.url, source: name };
    try {
      const { upstreams, why, past, refused } = await findRoute(settings, query);
      return {
        ...told,
        upstreams: refused === undefined ? upstreams.map(nameOf) : [],
        why,
        ...(past === undefined ? {} : { past }),
        ...(refused === undefined ? {} : { refused }),
      };
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return { ...told, upstreams: [], why: error.message, refused: error.message };
    }
  }

  private replace(settings: ProxySettings | undefined): void {
    const { stack } = this.parts;
    const { finder } = settings ?? {};
    const others = stack.all().map((one) => (one.name === 'api' ? undefined : one.settings.finder));
    const old = this.pac;
    stack.live = settings;
    this.pac = finder instanceof Pac && !others.includes(finder) ? finder : undefined;
    if (old !== this.pac) old?.close();
  }

  private upstreams(named: readonly Upstream[]): readonly ProxyUpstreamStatus[] {
    const { proxy, now } = this.parts;
    const known = proxy.upstreams();
    return [...new Set([...named.map(nameOf), ...known.keys()])].map((name) => {
      const stats = known.get(name);
      if (stats === undefined) return { name, state: 'up', connections: 0, failures: 0, requests: 0 };
      const { connections, failures, requests, connectMillis, answerMillis, answers, downUntil } = stats;
      return {
        name,
        state: downUntil > now() ? 'down' : 'up',
        connections,
        failures,
        requests,
        ...(connections === 0 ? {} : { connectMillis: round(connectMillis / connections) }),
        ...(answers === 0 ? {} : { answerMillis: round(answerMillis / answers) }),
      };
    });
  }
}

const SOURCE = 'the control API';
const NOBODY = { name: 'none', settings: NO_SETTINGS } as const;

/** What the settings come to: those of the system are asked for. */
async function shown(settings: ProxySettings): Promise<ProxySettings> {
  const { finder } = settings;
  if (!(finder instanceof SystemProxySettings)) return settings;
  await finder.refresh();
  return finder.last;
}

function nameOf({ name }: Upstream): string {
  return name;
}

function round(millis: number): number {
  return Math.round(millis * 10) / 10;
}

/** `https` stands for all that leaves by CONNECT. */
function queryOf(text: string) {
  const match = /^(?:([a-z]+):\/\/)?(?:[^/?#@]*@)?([^/?#]+)(?:[/?#].*)?$/i.exec(text.trim());
  const word = match?.[1]?.toLowerCase();
  const authority = match === null ? undefined : parseAuthority(match[2]!);
  if (authority === undefined || (word !== undefined && !/^(https?|wss?)$/.test(word)))
    throw new NetproxyError('ERR_NETPROXY_CONFIG', `"${text.slice(0, 100)}" is no URL that a proxy serves`, {
      remedy: 'Allowed: URLs with http, https, ws or wss, and HOST:PORT.',
    });
  const { host, port } = authority;
  const scheme = (word?.endsWith('s') ?? port === 443) ? 'https' : 'http';
  const usual = scheme === 'https' ? 443 : 80;
  const at = port ?? usual;
  const url = `${scheme}://${formatHost(host)}${at === usual ? '' : `:${at}`}/`;
  return { scheme, host, port: at, url } as const;
}
