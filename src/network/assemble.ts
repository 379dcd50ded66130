/** Puts the parts of a network together; who holds whom is decided here and nowhere else. */
import {
  BlockPool,
  type Cidr,
  type HostIo,
  type Logger,
  type Scheduler,
  formatCidr,
  parseCidr,
  plainMemory,
  silentLogger,
} from '../core/index.js';
import type { DhcpEvent } from '../dhcp/index.js';
import {
  DEFAULT_OUTBOUND_LIMITS,
  DEFAULT_UDP_LIMITS,
  type OutboundLimits,
  OutboundTcp,
  PingNat,
  Publisher,
  type UdpLimits,
  UdpNat,
} from '../forwarder/index.js';
import { RouteWatch, descriptorLimit, hostNetworks, nodeIo, systemRandom } from '../host/index.js';
import type { AuditEntry } from '../policy/index.js';
import type { SpinWatch } from '../native/index.js';
import { Stack } from '../stack/index.js';
import { type Addresses, resolveAddresses } from './addresses.js';
import { Asking, type AskingTold } from './asking.js';
import { DhcpService } from './dhcp-service.js';
import { withSearch } from './dns-domains.js';
import { DnsService } from './dns-service.js';
import { Guests } from './guests.js';
import { PolicyKeeper } from './live-keepers.js';
import { type NativeParts, nativeParts } from './native-parts.js';
import { type PolicyParts, policyParts } from './policy-parts.js';
import { ProxyService } from './proxy-service.js';
import { Services } from './services.js';
import { answerTime } from './time-service.js';
import { withUnixListener } from './unix-listener.js';
import { watchSpins } from './spins.js';
import { NetworkState } from './state.js';
import type { NetworkConfig, NetworkDeps } from './types.js';
import { Upper } from './upper.js';

export interface Parts extends PolicyParts {
  readonly logger: Logger;
  readonly scheduler: Scheduler;
  readonly addresses: Addresses;
  readonly native: NativeParts;
  readonly io: HostIo;
  readonly pool: BlockPool;
  readonly stack: Stack;
  readonly services: Services;
  readonly outbound: OutboundTcp;
  readonly nat: UdpNat;
  readonly pings: PingNat;
  readonly publisher: Publisher;
  readonly asking: Asking;
  readonly dhcp: DhcpService;
  readonly dns: DnsService;
  readonly proxy: ProxyService;
  readonly roster: Guests;
  readonly state: NetworkState;
  /** Absent where nothing is known of the host. */
  readonly routes: RouteWatch | undefined;
  /** Absent without the addon. */
  readonly spins: SpinWatch | undefined;
}

/** Who is told what happens. */
export interface Told extends AskingTold {
  readonly leaseChanged: (event: DhcpEvent) => void;
  readonly decided: (entry: AuditEntry) => void;
}

/** Throws ERR_NETPROXY_CONFIG before anything is opened. */
export function assemble(config: NetworkConfig, deps: NetworkDeps, tell: Told): Parts {
  const logger = deps.logger ?? silentLogger;
  const native = nativeParts(
    deps.native ?? deps.io === undefined,
    config.limits?.busyPoll,
    config.bindHelper,
  );
  if (config.bindHelper !== undefined && native.hub === undefined)
    logger.warn(`the bind helper is of no use without the native addon: ${native.reason ?? 'unknown'}`);
  const scheduler = deps.scheduler ?? native.scheduler;
  const random = deps.random ?? systemRandom();
  const networks = networksOf(deps);
  const addresses = resolveAddresses(config, () => networks?.(noTap) ?? []);
  const { subnet, gatewayIp, gatewayMac, hostAlias, mtu } = addresses;
  // Stands still within a batch of frames: one look at the clock for all of them.
  const now = (): number => stack.now();
  const rules = policyParts(config, deps, addresses, now, random, logger, tell.decided);
  const { policy, judge, names } = rules;
  const memory = native.hub?.memory ?? plainMemory;
  const io = deps.io ?? withUnixListener(native.io ?? nodeIo);
  const pool = new BlockPool(memory);
  const upper = new Upper();
  const stack = new Stack(
    { subnet, gatewayIp, gatewayMac, hostAlias, mtu, ...tcpLimits(config), ...switchLimits(config) },
    { scheduler, random, memory, pool, logger },
    upper,
  );
  const services = new Services(policy);
  const { outbound, nat } = forwarders(
    config,
    stack,
    io,
    logger,
    deps.io === undefined ? descriptorLimit() : undefined,
  );
  const pings = new PingNat(stack, io, logger);
  const publisher = new Publisher(stack, io, logger, random, (spec, callback) => {
    roster.find(spec, callback);
  });
  const dhcp = new DhcpService(stack, addresses, withSearch(config), logger, tell.leaseChanged);
  const roster = new Guests(stack, dhcp, addresses, config.vpnkitMacs);
  const dns = new DnsService(services, stack, addresses, config, deps, dhcp, logger, native, judge, names);
  answerTime(services, stack, gatewayIp);
  const asking = new Asking(
    { stack, policy, judge, outbound, nat, pings, refuseEcho: (echo, said) => upper.refuseEcho(echo, said) },
    tell,
    config.policy?.askTimeout,
  );
  upper.parts = { stack, services, outbound, nat, publisher, dhcp, pings, judge, asking };
  const proxy = new ProxyService(config.httpProxy ?? {}, {
    services,
    stack,
    addresses,
    dns,
    outbound,
    nat,
    names,
    io,
    pool,
    judge,
    logger,
    systemProxy: deps.systemProxy,
  });
  return {
    logger,
    scheduler,
    addresses,
    native,
    io,
    pool,
    ...rules,
    asking,
    stack,
    services,
    outbound,
    nat,
    pings,
    publisher,
    dhcp,
    dns,
    proxy,
    roster,
    spins: watchSpins(native.hub, scheduler, logger, stack, nat),
    routes:
      networks === undefined
        ? undefined
        : watchRoutes(() => networks(isOurTap(roster)), addresses, scheduler, logger),
    state: new NetworkState(
      config.stateFile,
      { logger, scheduler, disk: deps.disk },
      dhcp,
      dns.keeper,
      new PolicyKeeper(policy, rules.audit, config.policy, (callback) => {
        scheduler.defer(callback);
      }),
    ),
  };
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

function tcpLimits({ limits }: NetworkConfig) {
  return {
    totalMemory: limits?.totalMemory,
    guestMemory: limits?.guestMemory,
    keepAlive: limits?.keepAlive,
  };
}

function forwarders(
  config: NetworkConfig,
  stack: Stack,
  io: typeof nodeIo,
  logger: Logger,
  descriptors: number | undefined,
) {
  const limits = config.limits ?? {};
  const { flowBuffer } = limits;
  const outbound = new OutboundTcp(
    stack,
    io,
    logger,
    withDefaults(outboundDefaults(descriptors), {
      dialsPerGuest: limits.dialsPerGuest,
      dialsPerDestination: limits.dialsPerDestination,
      flowsPerGuest: limits.flowsPerGuest,
      dialTimeout: limits.dialTimeout,
    }),
    flowBuffer === undefined ? {} : { receiveWindow: flowBuffer, sendBuffer: flowBuffer },
  );
  const udpLimits = withDefaults(udpDefaults(descriptors), {
    perGuest: limits.udpPerGuest,
    total: limits.udpTotal,
    idleShort: limits.udpIdle,
    idleStream: limits.udpStreamIdle,
  });
  return { outbound, nat: new UdpNat(stack, io, (ip) => ip >>> 24 === 127, udpLimits, config.udpNat) };
}

/** One guest must not use up the descriptors of all: half of them are for its connections, of which half may be dials. */
export function outboundDefaults(descriptors = Number.POSITIVE_INFINITY): OutboundLimits {
  const { dialsPerGuest, flowsPerGuest } = DEFAULT_OUTBOUND_LIMITS;
  return {
    ...DEFAULT_OUTBOUND_LIMITS,
    dialsPerGuest: Math.min(dialsPerGuest, Math.ceil(descriptors / 4)),
    flowsPerGuest: Math.min(flowsPerGuest, Math.ceil(descriptors / 2)),
  };
}

/** An eighth is for a guest's UDP sockets, a quarter for those of all. */
export function udpDefaults(descriptors = Number.POSITIVE_INFINITY): UdpLimits {
  const { perGuest, total } = DEFAULT_UDP_LIMITS;
  return {
    ...DEFAULT_UDP_LIMITS,
    perGuest: Math.min(perGuest, Math.ceil(descriptors / 8)),
    total: Math.min(total, Math.ceil(descriptors / 4)),
  };
}

/** Defaults with what was given on top. */
function withDefaults<T extends object>(defaults: T, given: { [K in keyof T]?: T[K] | undefined }): T {
  return {
    ...defaults,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  };
}
