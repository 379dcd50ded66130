/**
 * Interception: guests' connections to the ports of web servers go by the HTTP proxy though the guests know of none. Which ones, and by
 * whom, is said here, for flows and for `explain` alike; what becomes of them is in src/httpproxy/intercept.ts.
 *
 * It comes behind the policy: what that denies, redirects or leads to the host is not intercepted.
 */
import type { Ipv4 } from '../core/index.js';
import type { GuestStream, Way } from '../forwarder/index.js';
import {
  type Client,
  type HttpProxy,
  type InterceptedScheme,
  type ProxySettings,
  type Route,
  errnoOf,
  findRoute,
  hasUpstream,
  parseHost,
} from '../httpproxy/index.js';
import type { Decision, PolicyProtocol } from '../policy/index.js';
import type { HttpProxyConfig } from './types.js';

/** What the configuration says of it. */
export type InterceptionConfig = Pick<HttpProxyConfig, 'transparent' | 'httpPorts' | 'httpsPorts'>;

export class Interception {
  private readonly config: InterceptionConfig;
  private readonly settings: () => ProxySettings;
  private readonly proxy: HttpProxy;

  constructor(config: InterceptionConfig, settings: () => ProxySettings, proxy: HttpProxy) {
    this.config = config;
    this.settings = settings;
    this.proxy = proxy;
  }

  /** By whom a connection goes that the policy lets go; undefined: it is not intercepted. `name`: what led there. Rejects with Problem. */
  private async route(ip: Ipv4, port: number, name: string | undefined): Promise<Route | undefined> {
    const settings = this.settings();
    const scheme = this.schemeOf(settings, port);
    if (scheme === undefined) return undefined;
    const address = { kind: 'ipv4', ip } as const;
    const host = (name === undefined ? undefined : parseHost(name)) ?? address;
    return findRoute(settings, { scheme, host, port, address });
  }

  /** What the policy decided, with what becomes of it here: for `explain`. */
  async explained(
    decision: Decision,
    protocol: PolicyProtocol,
    name: string | undefined,
  ): Promise<Decision & { readonly route?: Route }> {
    const { verdict } = decision;
    if (verdict.kind !== 'dial' || verdict.via !== 'direct') return decision;
    const { ip, port } = verdict;
    if (protocol === 'udp' && this.refusesUdp(ip, port))
      return {
        ...decision,
        verdict: { kind: 'deny', how: 'reset' },
        rule: 'http proxy',
        why: 'connections to this port go by the HTTP proxy, and UDP cannot: clients of QUIC fall back to TCP',
      };
    const route = protocol === 'tcp' ? await this.route(ip, port, name).catch(refusedRoute) : undefined;
    if (route === undefined) return decision;
    if (route.refused === undefined) return { ...decision, route };
    return {
      ...decision,
      verdict: { kind: 'deny', how: 'reset' },
      rule: 'http proxy',
      why: route.refused,
    };
  }

  /** The way of a flow; undefined: the host connects. */
  way(client: Client, ip: Ipv4, port: number): Way | undefined {
    const settings = this.settings();
    const scheme = this.schemeOf(settings, port);
    if (scheme === undefined) return undefined;
    const host = { kind: 'ipv4', ip } as const;
    // Past the proxy by its address: nothing that it says could change that.
    if (
      this.config.transparent !== 'on' &&
      settings.allow === undefined &&
      settings.noProxy.matches(host, port)
    )
      return undefined;
    const detour = this.proxy.intercept(client, { host, port }, scheme);
    return {
      open: (done) => {
        if (detour === undefined) queueMicrotask(() => done('EMFILE'));
        else
          detour.reach().then(
            () => done(undefined),
            (error: unknown) => done(errnoOf(error) ?? 'ECONNREFUSED'),
          );
      },
      take: (stream: GuestStream) => {
        // A guest may reset at any moment.
        stream.on('error', () => undefined);
        detour?.serve(stream);
      },
      drop: () => detour?.drop(),
    };
  }

  /**
   * Whether UDP to there is refused: QUIC cannot go by an upstream and shows no name to a list of what is allowed; where its port is
   * unreachable clients take TCP.
   */
  refusesUdp(ip: Ipv4, port: number): boolean {
    if (this.config.transparent === 'off') return false;
    const settings = this.settings();
    const ports = this.config.httpsPorts ?? settings.httpsPorts;
    if (!ports.includes(port)) return false;
    const host = { kind: 'ipv4', ip } as const;
    if (settings.allow !== undefined) return !settings.allow.matches(host, port);
    return hasUpstream(settings, 'https') && !settings.noProxy.matches(host, port);
  }

  /** What is spoken on a port whose connections are intercepted. */
  private schemeOf(settings: ProxySettings, port: number): InterceptedScheme | undefined {
    const { transparent, httpPorts, httpsPorts } = this.config;
    if (transparent === 'off') return undefined;
    const isHttp = (httpPorts ?? settings.httpPorts).includes(port);
    if (!isHttp && !(httpsPorts ?? settings.httpsPorts).includes(port)) return undefined;
    const scheme = isHttp ? 'http' : 'https';
    if (transparent === 'on' || settings.allow !== undefined) return scheme;
    return hasUpstream(settings, scheme) ? scheme : undefined;
  }
}

/** No route is known, and nothing may go without one. */
function refusedRoute({ message }: Error): Route {
  return { upstreams: [], why: message, refused: message };
}
