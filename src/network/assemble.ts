/** Puts the parts of a network together; who holds whom is decided here and nowhere else. */
import {
  BlockPool,
  type Cidr,
  type HostIo,
  type Ipv4,
  type Logger,
  NetproxyError,
  type Scheduler,
  formatCidr,
  formatIpv4,
  parseCidr,
  plainMemory,
  silentLogger,
} from '../core/index.js';
import type { DhcpEvent } from '../dhcp/index.js';
import {
  DEFAULT_OUTBOUND_LIMITS,
  DEFAULT_UDP_LIMITS,
  OutboundTcp,
  PingNat,
  Publisher,
  UdpNat,
} from '../forwarder/index.js';
import { RouteWatch, hostNetworks, nodeIo, ownAddresses, systemRandom } from '../host/index.js';
import { Policy, type PolicyRule, parseRule } from '../policy/index.js';
import { Stack } from '../stack/index.js';
import { type Addresses, resolveAddresses } from './addresses.js';
import { DhcpService } from './dhcp-service.js';
import { DnsService } from './dns-service.js';
import { Guests } from './guests.js';
import { type NativeParts, nativeParts } from './native-parts.js';
import { Services } from './services.js';
import { answerTime } from './time-service.js';
import { withUnixListener } from './unix-listener.js';
import { NetworkState } from './state.js';
import type { NetworkConfig, NetworkDeps } from './types.js';
import { Upper } from './upper.js';

export interface Parts {
  readonly logger: Logger;
  readonly scheduler: Scheduler;
  readonly addresses: Addresses;
  readonly native: NativeParts;
  readonly io: HostIo;
  readonly pool: BlockPool;
  readonly policy: Policy;
  readonly stack: Stack;
  readonly services: Services;
  readonly outbound: OutboundTcp;
  readonly nat: UdpNat;
  readonly pings: PingNat;
  readonly publisher: Publisher;
  readonly dhcp: DhcpService;
  readonly dns: DnsService;
  readonly roster: Guests;
  readonly state: NetworkState;
  /** Absent where nothing is known of the host. */
  readonly routes: RouteWatch | undefined;
}

/** Throws ERR_NETPROXY_CONFIG before anything is opened. */
export function assemble(
  config: NetworkConfig,
  deps: NetworkDeps,
  leaseChanged: (event: DhcpEvent) => void,
): Parts {
  const logger = deps.logger ?? silentLogger;
  const native = nativeParts(deps.native ?? deps.io === undefined);
  const scheduler = deps.scheduler ?? native.scheduler;
  const random = deps.random ?? systemRandom();
  const networks = networksOf(deps);
  const addresses = resolveAddresses(config, () => networks?.(noTap) ?? []);
  const { subnet, gatewayIp, gatewayMac, hostAlias, mtu } = addresses;
  const rules = (config.policy?.rules ?? []).map(parseRuleText);
  const defaultAction = config.policy?.default ?? 'allow';
  const policy = new Policy(
    { subnet, gatewayIp, hostAlias, rules, defaultAction },
    ownAddressCheck(deps, () => scheduler.now()),
  );
  const memory = native.hub?.memory ?? plainMemory;
  const io = deps.io ?? withUnixListener(native.io ?? nodeIo);
  const pool = new BlockPool(memory);
  const upper = new Upper();
  const stack = new Stack(
    { subnet, gatewayIp, gatewayMac, hostAlias, mtu, ...memoryLimits(config), ...switchLimits(config) },
    { scheduler, random, memory, pool, logger },
    upper,
  );
  const services = new Services(policy);
  const { outbound, nat } = forwarders(config, stack, io, logger);
  const pings = new PingNat(stack, io, logger);
  const publisher = new Publisher(stack, io, logger, random, (spec, callback) => {
    roster.find(spec, callback);
  });
  const dhcp = new DhcpService(stack, addresses, config, logger, leaseChanged);
  const roster = new Guests(stack, dhcp, addresses);
  const dns = new DnsService(services, stack, addresses, config, deps, dhcp, logger, native.lookups);
  answerTime(services, stack, gatewayIp);
  upper.parts = { stack, services, outbound, nat, publisher, dhcp, pings };
  return {
    logger,
    scheduler,
    addresses,
    native,
    io,
    pool,
    policy,
    stack,
    services,
    outbound,
    nat,
    pings,
    publisher,
    dhcp,
    dns,
    roster,
    routes:
      networks === undefined
        ? undefined
        : watchRoutes(() => networks(isOurTap(roster)), addresses, scheduler, logger),
    state: new NetworkState(config.stateFile, { logger, scheduler, disk: deps.disk }, dhcp),
  };
}

/** `allow tcp:10.0.0.0/8:443` as a rule; throws ERR_NETPROXY_CONFIG. */
export function parseRuleText(text: string): PolicyRule {
  const match = /^\s*(allow|deny)\s+(.+)$/.exec(text);
  if (match === null) {
    throw new NetproxyError('ERR_NETPROXY_CONFIG', `bad policy rule "${text}"`, {
      remedy: 'A rule begins with "allow " or "deny ".',
    });
  }
  return parseRule(match[1] as 'allow' | 'deny', match[2]!);
}

function switchLimits({ switch: { antiSpoof, floods } = {} }: NetworkConfig) {
  return { antiSpoof, floods };
}

type Networks = (except: (name: string) => boolean) => readonly Cidr[];

const noTap = (): boolean => false;

/** The host's networks: told, or looked up; undefined where the host is another one. */
function networksOf({ hostNetworks: told, io }: NetworkDeps): Networks | undefined {
  if (told !== undefined) return () => told().flatMap((text) => parseCidr(text) ?? []);
  return io === undefined ? hostNetworks : undefined;
}

/** An interface of ours may have an address of the network: there the host is a guest. */
function isOurTap(roster: Guests): (name: string) => boolean {
  return (name) => roster.all().some(({ link }) => link.kind === 'tap' && link.name === name);
}

function watchRoutes(
  networks: () => readonly Cidr[],
  { subnet }: Addresses,
  scheduler: Scheduler,
  logger: Logger,
): RouteWatch {
  return new RouteWatch(subnet, networks, scheduler, (network) => {
    logger.warn(
      `the host has a route or an address in ${network}, which overlaps the guests' network ${formatCidr(subnet)}: ` +
        'guests do not reach what is there. Choose another network with --subnet',
    );
  });
}

function memoryLimits({ limits }: NetworkConfig) {
  return { totalMemory: limits?.totalMemory, guestMemory: limits?.guestMemory };
}

function forwarders(config: NetworkConfig, stack: Stack, io: typeof nodeIo, logger: Logger) {
  const limits = config.limits ?? {};
  const { flowBuffer } = limits;
  const outbound = new OutboundTcp(
    stack,
    io,
    logger,
    withDefaults(DEFAULT_OUTBOUND_LIMITS, {
      dialsPerGuest: limits.dialsPerGuest,
      dialsPerDestination: limits.dialsPerDestination,
      flowsPerGuest: limits.flowsPerGuest,
      dialTimeout: limits.dialTimeout,
    }),
    flowBuffer === undefined ? {} : { receiveWindow: flowBuffer, sendBuffer: flowBuffer },
  );
  const udpLimits = withDefaults(DEFAULT_UDP_LIMITS, {
    perGuest: limits.udpPerGuest,
    total: limits.udpTotal,
    idleShort: limits.udpIdle,
    idleStream: limits.udpStreamIdle,
  });
  return { outbound, nat: new UdpNat(stack, io, (ip) => ip >>> 24 === 127, udpLimits, config.udpNat) };
}

function ownAddressCheck(deps: NetworkDeps, now: () => number): (ip: Ipv4) => boolean {
  const { isOwnAddress } = deps;
  if (isOwnAddress !== undefined) return (ip) => isOwnAddress(formatIpv4(ip));
  return deps.io === undefined ? ownAddresses(now) : () => false;
}

/** Defaults with what was given on top. */
function withDefaults<T extends object>(defaults: T, given: { [K in keyof T]?: T[K] | undefined }): T {
  return {
    ...defaults,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  };
}
