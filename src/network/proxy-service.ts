/** The HTTP proxy on the gateway: node streams for its parser, the policy for its destinations, flows for its tunnels. */
import type { Duplex } from 'node:stream';
import {
  type BlockPool,
  type HostIo,
  type Ipv4,
  type Logger,
  NetproxyError,
  formatIpv4,
} from '../core/index.js';
import { GuestStream, HostDuplex, type OutboundTcp, type UdpNat } from '../forwarder/index.js';
import {
  CREDENTIALS_VARIABLE,
  Pac,
  ProxyCredentials,
  ProxySettingsStack,
  SystemProxySettings,
  type SystemProxySource,
  fetchText,
  outwardAddresses,
  readAuthorities,
  secureStream,
  systemProxySource,
} from '../host/index.js';
import {
  type Client,
  type Denial,
  type Host,
  HttpProxy,
  type Judgement,
  type ProxyDeps,
  type ProxySettings,
  formatHost,
  parseHost,
} from '../httpproxy/index.js';
import { type Decision, LOOPBACK, nameFits, ruleCovers } from '../policy/index.js';
import type { Stack } from '../stack/index.js';
import type { Addresses } from './addresses.js';
import type { DnsService } from './dns-service.js';
import type { Guest } from './guest.js';
import { Interception } from './interception.js';
import type { Judge } from './judge.js';
import type { NameMemories } from './name-memories.js';
import type { Services } from './services.js';
import { chosenSettings } from './proxy-config.js';
import { ProxyControl } from './proxy-control.js';
import type { HttpProxyConfig } from './types.js';

export const DEFAULT_PROXY_PORT = 3128;
/** Names of the gateway for those who want the proxy. */
export const DEFAULT_PROXY_NAMES: readonly string[] = ['proxy.netproxy.internal'];

export interface ProxyServiceParts {
  readonly services: Services;
  readonly stack: Stack;
  readonly addresses: Addresses;
  readonly dns: DnsService;
  readonly outbound: OutboundTcp;
  readonly nat: UdpNat;
  readonly names: NameMemories;
  readonly io: HostIo;
  readonly pool: BlockPool;
  readonly judge: Judge;
  readonly logger: Logger;
  readonly systemProxy: SystemProxySource | undefined;
}

export class ProxyService {
  readonly control: ProxyControl;
  readonly interception: Interception;
  private readonly proxy: HttpProxy;
  private readonly parts: ProxyServiceParts;
  private readonly config: HttpProxyConfig;
  private readonly settings: ProxySettingsStack;
  private readonly system: SystemProxySettings | undefined;
  private readonly credentials: ProxyCredentials;
  private readonly authorities: readonly string[] | undefined;

  /** Throws ERR_NETPROXY_CONFIG. */
  constructor(config: HttpProxyConfig, parts: ProxyServiceParts) {
    this.parts = parts;
    const { services, addresses, logger, stack } = parts;
    this.config = config;
    const now = (): number => stack.deps.scheduler.now();
    const makePac = (where: string): Pac => this.makePac(where);
    const environment = environmentOf(config.environment);
    const asked = config.system === true ? (parts.systemProxy ?? systemProxySource()) : undefined;
    this.system = asked && new SystemProxySettings(asked, makePac, logger, now);
    this.settings = new ProxySettingsStack(
      { fixed: fixedSettings(config, makePac), file: config.file, environment, system: this.system },
      logger,
    );
    this.credentials = new ProxyCredentials(
      config.credentialsCommand,
      environment?.[CREDENTIALS_VARIABLE],
      logger,
    );
    this.authorities = config.caFile === undefined ? undefined : readAuthorities(config.caFile);
    this.proxy = new HttpProxy(this.deps(stack));
    const { settings, proxy, credentials } = this;
    this.control = new ProxyControl({ stack: settings, proxy, credentials, makePac, now });
    this.interception = new Interception(config, () => settings.current(), proxy);
    this.intercept();
    if (config.explicit === false) return;
    services.addTcp(addresses.gatewayIp, config.port ?? DEFAULT_PROXY_PORT, 'proxy', (stream, guest) => {
      this.proxy.accept(stream, this.clientOf(guest));
    });
  }

  get counters() {
    return {
      ...this.proxy.counters,
      ...this.proxy.size,
      pac: this.control.pacCounters,
      upstreams: Object.fromEntries(
        [...this.proxy.upstreams()].map(([name, { downUntil: _until, pause: _pause, ...counts }]) => [
          name,
          counts,
        ]),
      ),
    };
  }

  stop(): void {
    this.proxy.stop();
    this.system?.close();
    for (const { settings } of this.settings.all())
      if (settings.finder instanceof Pac) settings.finder.close();
  }

  /** From now on flows to web servers are looked at. */
  private intercept(): void {
    const { outbound, nat } = this.parts;
    outbound.wayOf = (port, ip, destinationPort) =>
      this.interception.way(this.clientOf(port.user as Guest), ip, destinationPort);
    nat.isClosed = (ip, port) => {
      const refused = this.interception.refusesUdp(ip, port);
      if (refused) this.proxy.counters.refusedQuic++;
      return refused;
    };
  }

  private deps(stack: Stack): ProxyDeps {
    const { dns, logger, outbound } = this.parts;
    return {
      scheduler: stack.deps.scheduler,
      logger,
      settings: () => this.settings.current(),
      resolve: (name) => dns.resolve(name),
      dial: (host, port, signal) => this.dial(host, port, signal),
      secure: (stream, { host }) => this.secure(stream, host),
      credentials: (upstream) => this.credentials.of(upstream),
      refused: (upstream) => this.credentials.refused(upstream),
      splice: (guest, host, peer, name) =>
        guest instanceof GuestStream && host instanceof HostDuplex && outbound.adopt(guest, host, peer, name),
    };
  }

  /** What was judged, or an upstream of the settings. */
  private async dial(host: Host, port: number, signal: AbortSignal): Promise<Duplex> {
    const { io, pool, stack } = this.parts;
    const target = { kind: 'tcp', host: await this.addressOf(host), port } as const;
    return HostDuplex.dial({ io, pool, memory: stack.deps.memory }, target, signal);
  }

  private secure(stream: Duplex, host: Host): Promise<Duplex> {
    return secureStream(stream, host.kind === 'ipv6' ? host.text : formatHost(host), this.authorities);
  }

  /** Throws ERR_NETPROXY_CONFIG. */
  private makePac(where: string): Pac {
    const { dns, logger, stack } = this.parts;
    const { pacFailure: failure = 'direct', pacRefresh } = this.config;
    const refresh = pacRefresh === undefined ? undefined : pacRefresh * 1000;
    return new Pac(
      { where, failure, refresh },
      {
        logger,
        now: () => stack.deps.scheduler.now(),
        resolve: (name) => dns.addressesOf(name),
        ownAddresses: outwardAddresses,
        fetch: (url) => fetchText(url, { connect: (...to) => this.fetchBy(...to) }),
      },
    );
  }

  /** To where a proxy auto-config file is. */
  private async fetchBy(name: string, port: number, secure: boolean, signal: AbortSignal): Promise<Duplex> {
    const host = parseHost(name);
    if (host === undefined) throw new Error(`"${name}" is no host`);
    const stream = await this.dial(host, port, signal);
    return secure ? this.secure(stream, host) : stream;
  }

  /** A guest as the proxy sees it: its name, and what its policy says. */
  private clientOf(guest: Guest): Client {
    const { judge, dns, names } = this.parts;
    const { name, policy } = guest;
    return {
      name,
      judgeName: (asked) => {
        const denied = judge.deniedName(asked, guest, () => dns.isOwnName(asked));
        return denied === undefined ? undefined : refused(denied);
      },
      judge: (ip, port, asked) =>
        judgementOf(
          policy.decide({
            protocol: 'tcp',
            ip,
            port,
            guest: name,
            name: asked,
            resolvedFrom: asked,
            source: guest.address,
          }),
        ),
      judgeSaid: (ip, port, said) => judgeSaid(guest, ip, port, said),
      wasLed: (asked, ip) => names.of(name)?.namesOf(ip).includes(asked) === true,
      judgeUnknown: (asked, port) => judgeUnknown(guest, asked, port),
    };
  }

  private async addressOf(host: Host): Promise<string> {
    if (host.kind === 'ipv6') return host.text;
    const ip = host.kind === 'ipv4' ? host.ip : await this.parts.dns.resolve(host.name);
    // The alias is what guests call the host; from here it is the loopback.
    return formatIpv4(ip === this.parts.addresses.hostAlias ? LOOPBACK : ip);
  }
}

function environmentOf(given: HttpProxyConfig['environment']) {
  return given === true ? process.env : given === false ? undefined : given;
}

/** What the configuration says itself; undefined when it names nobody. Throws ERR_NETPROXY_CONFIG. */
function fixedSettings(config: HttpProxyConfig, makePac: (where: string) => Pac): ProxySettings | undefined {
  const settings = chosenSettings(config, 'the configuration', 'httpProxy', makePac);
  if (settings === undefined || config.file === undefined) return settings;
  throw new NetproxyError(
    'ERR_NETPROXY_CONFIG',
    'httpProxy: http, https or pac, and file, both say whom to ask',
    { remedy: 'Give the one or the other.' },
  );
}

function judgementOf(decision: Decision): Judgement {
  const { verdict } = decision;
  if (verdict.kind === 'dial')
    return { kind: 'dial', ip: verdict.ip, port: verdict.port, direct: verdict.via !== 'direct' };
  return refused(decision);
}

function refused({ verdict, rule, why, id }: Decision): Denial {
  const asks = verdict.kind === 'ask' ? ', and nobody is asked about requests to the proxy' : '';
  return { kind: 'deny', rule, why: `${why}${asks}`, decision: id };
}

/** The connection was decided about when it began; what it says of itself is told only where it changes that. */
function judgeSaid({ name: guest, policy, address }: Guest, ip: Ipv4, port: number, said: string) {
  const to = { protocol: 'tcp', ip, port, guest, name: said, source: address } as const;
  const decision = policy.explain(to);
  return decision.verdict.kind === 'deny'
    ? refused(policy.settle({ ...decision, name: said }, to))
    : undefined;
}

/** Of a name that only an upstream knows, rules about addresses say nothing; those by name and about everything do. */
function judgeUnknown({ name: guest, policy }: Guest, asked: string, port: number): Denial | undefined {
  const entry = [...policy.own.all, ...policy.table.all].find(({ rule }) => {
    const { target } = rule;
    if (!ruleCovers(rule, 'tcp', port, guest)) return false;
    return target.kind === 'any' || (target.kind === 'name' && nameFits(target, asked));
  });
  const action = entry?.rule.action ?? policy.defaultAction;
  if (action === 'allow') return undefined;
  const rule = entry?.rule.text ?? 'default';
  const why =
    entry === undefined
      ? 'the name has no address here, and what is not known is not allowed'
      : `the rule "${rule}" speaks of it`;
  return { kind: 'deny', rule, why, decision: 0 };
}
