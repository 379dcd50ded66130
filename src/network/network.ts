/** One virtual network: the stack, its services, the guests on it. What `createNetwork` makes. */
import { EventEmitter } from 'node:events';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  BlockPool, type Ipv4, type Link, type Logger, NetproxyError, type Scheduler, formatCidr, formatIpv4, parseIpv4, plainMemory, silentLogger,
} from '../core/index.js';
import {
  DEFAULT_OUTBOUND_LIMITS, DEFAULT_UDP_LIMITS, GuestStream, OutboundTcp, type PublishSpec, Publisher, UdpNat, formatPublish, parsePublish,
} from '../forwarder/index.js';
import { hostNetworks, nodeIo, nodeScheduler, ownAddresses, systemRandom } from '../host/index.js';
import { type Decision, Policy, parseRule } from '../policy/index.js';
import { Stack } from '../stack/index.js';
import { type Addresses, resolveAddresses } from './addresses.js';
import { DhcpService } from './dhcp-service.js';
import { DnsService } from './dns-service.js';
import { Guest, type GuestOwner } from './guest.js';
import { Guests } from './guests.js';
import { type LinkOptions, Links } from './links.js';
import { nativeParts } from './native-parts.js';
import { Services } from './services.js';
import { answerTime } from './time-service.js';
import type {
  AttachOptions, ExplainQuery, Explanation, FlowInfo, GuestService, LeaseView, NetworkConfig, NetworkDeps, NetworkEvents, PortInfo,
  Published, StreamHandler,
} from './types.js';
import { Upper } from './upper.js';
import { flowInfos, portInfos } from './views.js';

/** How long `stop` waits for flows to end by themselves, ms. */
export const STOP_DEADLINE = 250;

export class Network extends EventEmitter<NetworkEvents> implements GuestOwner {
  readonly config: NetworkConfig;
  readonly logger: Logger;
  readonly scheduler: Scheduler;
  readonly policy: Policy;
  readonly stack: Stack;
  /** Wraps every link that is attached from now on: capture, faults. */
  linkMiddleware: ((link: Link) => Link) | undefined;
  /** Links, listeners, TAPs: see `listenLinks`, `openTap`, … */
  private readonly links: Links;
  private readonly where: Addresses;
  private readonly pool: BlockPool;
  private readonly services: Services;
  private readonly outbound: OutboundTcp;
  private readonly nat: UdpNat;
  private readonly publisher: Publisher;
  private readonly dhcp: DhcpService;
  private readonly dns: DnsService;
  private readonly roster: Guests;
  private readonly native: ReturnType<typeof nativeParts>;
  private phase: 'new' | 'starting' | 'running' | 'stopped' = 'new';
  private starting: Promise<void> | undefined;
  private stopping: Promise<void> | undefined;

  constructor(config: NetworkConfig, deps: NetworkDeps) {
    super();
    this.config = config;
    this.logger = deps.logger ?? silentLogger;
    this.scheduler = deps.scheduler ?? nodeScheduler;
    this.native = nativeParts(deps.native ?? deps.io === undefined);
    const memory = this.native.hub?.memory ?? plainMemory;
    this.pool = new BlockPool(memory);
    this.where = resolveAddresses(config, deps.io === undefined ? hostNetworks : () => []);
    const { subnet, gatewayIp, gatewayMac, hostAlias, mtu } = this.where;
    const random = deps.random ?? systemRandom();
    const isOwn = ownAddressCheck(deps, () => this.scheduler.now());
    this.policy = new Policy(
      {
        subnet, gatewayIp, hostAlias,
        rules: (config.policy?.rules ?? []).map(parseRuleText),
        defaultAction: config.policy?.default ?? 'allow',
      },
      isOwn,
    );
    const upper = new Upper();
    const io = deps.io ?? this.native.io ?? nodeIo;
    this.stack = new Stack({ subnet, gatewayIp, gatewayMac, hostAlias, mtu }, { scheduler: this.scheduler, random, memory, pool: this.pool, logger: this.logger }, upper);
    this.services = new Services(this.policy);
    const { limits } = config;
    this.outbound = new OutboundTcp(
      this.stack, io, this.logger,
      withDefaults(DEFAULT_OUTBOUND_LIMITS, {
        dialsPerGuest: limits?.dialsPerGuest, dialsPerDestination: limits?.dialsPerDestination,
        flowsPerGuest: limits?.flowsPerGuest, dialTimeout: limits?.dialTimeout,
      }),
      limits?.flowBuffer === undefined ? {} : { receiveWindow: limits.flowBuffer, sendBuffer: limits.flowBuffer },
    );
    this.nat = new UdpNat(this.stack, io, (ip) => ip >>> 24 === 127, withDefaults(DEFAULT_UDP_LIMITS, {
      perGuest: limits?.udpPerGuest, total: limits?.udpTotal, idleShort: limits?.udpIdle,
    }));
    this.publisher = new Publisher(this.stack, io, this.logger, random, (spec, callback) => {
      this.roster.find(spec, callback);
    });
    this.dhcp = new DhcpService(this.stack, this.where, config, (event) => this.emit('lease', event));
    this.roster = new Guests(this.stack, this.dhcp, this.where, config);
    this.dns = new DnsService(this.services, this.stack, this.where, config, deps, this.dhcp, this.logger);
    answerTime(this.services, this.stack, gatewayIp);
    upper.parts = {
      stack: this.stack, services: this.services, outbound: this.outbound, nat: this.nat, publisher: this.publisher, dhcp: this.dhcp,
      pinger: this.native.pinger?.(this.stack),
    };
    this.links = new Links({
      pool: this.pool, logger: this.logger, hub: this.native.hub, mtu, assign: (uuid, preferred) => this.roster.assign(uuid, preferred),
      attach: (link, options) => this.attach(link, options),
    });
  }

  /** Native poller, when the addon is there. */
  get hub() {
    return this.native.hub;
  }

  /** Why there is no native addon; undefined when there is one. */
  get nativeMissing(): string | undefined {
    return this.native.reason;
  }

  get addresses() {
    const { subnet, gatewayIp, gatewayMac, guestIp, hostAlias, mtu } = this.where;
    return {
      subnet: formatCidr(subnet),
      gateway: formatIpv4(gatewayIp),
      gatewayMac,
      guest: formatIpv4(guestIp),
      hostAlias: hostAlias === undefined ? undefined : formatIpv4(hostAlias),
      mtu,
    };
  }

  // -- life ----------------------------------------------------------------------------------------------------

  /** Publishes the configured ports. Idempotent; rejects, and stops, when one cannot be published. */
  start(): Promise<void> {
    if (this.phase === 'stopped') return Promise.reject(new NetproxyError('ERR_NETPROXY_STATE', 'the network was stopped'));
    this.starting ??= this.doStart();
    return this.starting;
  }

  private async doStart(): Promise<void> {
    this.phase = 'starting';
    try {
      for (const spec of this.config.publish ?? []) await this.publish(spec);
    } catch (error) {
      await this.stop(0);
      throw error;
    }
    if (this.isStopped()) return;
    this.phase = 'running';
    this.emit('started');
  }

  /**
   * Takes no more guests or clients, lets flows end for at most `deadline` ms, resets the rest and lets go of everything,
   * so that nothing of it keeps the process alive. Idempotent.
   */
  stop(deadline = STOP_DEADLINE): Promise<void> {
    this.stopping ??= this.doStop(deadline);
    return this.stopping;
  }

  private async doStop(deadline: number): Promise<void> {
    this.phase = 'stopped';
    await this.links.closeListeners();
    this.publisher.stop();
    const end = this.scheduler.now() + deadline;
    while (this.stack.tcp.openFlows > 0 && this.scheduler.now() < end) {
      await new Promise<void>((resolve) => void this.scheduler.after(10, resolve));
    }
    this.services.stop();
    this.dns.stop();
    this.dhcp.stop();
    this.nat.stop();
    this.stack.stop();
    for (const guest of this.roster.all()) this.detach(guest);
    this.native.close();
    this.pool.drain();
    this.emit('stopped');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  // -- guests --------------------------------------------------------------------------------------------------

  /** Attaches a guest by its link. */
  attach(link: Link, options: AttachOptions & { readonly key?: string | undefined } = {}): Guest {
    if (this.isStopped()) {
      link.close();
      throw new NetproxyError('ERR_NETPROXY_STATE', 'the network was stopped');
    }
    const outer = this.linkMiddleware?.(link) ?? link;
    const port = this.stack.addPort(outer.output, options.mtu ?? this.where.mtu);
    const name = this.roster.nameFor(options.name);
    const policy = options.policy === undefined ? this.policy : this.policy.withRules(options.policy.map(parseRuleText));
    const guest = new Guest(this, name, options.key ?? name, outer, port, policy);
    if (options.maxFlows !== undefined) port.maxFlows = options.maxFlows;
    port.user = guest;
    this.roster.add(guest, options);
    outer.start({
      frames: (batch) => {
        this.stack.input(port, batch);
      },
      writable: () => {
        this.stack.writable(port);
      },
      closed: (reason) => {
        this.left(guest, reason);
      },
    });
    this.logger.info(`guest ${name} attached over ${link.kind} (${link.name})`, { guest: name });
    this.emit('attached', guest);
    return guest;
  }

  /** Attaches a guest by a connected socket or descriptor. Rejects when the handshake fails. */
  accept(source: Socket | number, options: LinkOptions & { readonly framing: 'qemu' | 'vpnkit' | 'connect' }): Promise<Guest> {
    return this.links.accept(source, options);
  }

  /** Lets guests in at an address (see `parseLinkSpec`); closes with the network. */
  listenLinks(kind: 'qemu' | 'vpnkit' | 'connect' | 'vsock', where: string, options: LinkOptions = {}) {
    return this.links.listen(kind, where, options);
  }

  /** Creates or attaches to a TAP interface, here or in another network namespace. Needs the addon. */
  openTap(tap: { readonly name: string; readonly netns?: string | undefined }, options: AttachOptions = {}): Guest {
    return this.links.openTap(tap, options);
  }

  /** Attaches a TAP by its descriptor. Needs the addon. */
  adoptTap(fd: number, options: AttachOptions = {}): Guest {
    return this.links.adoptTap(fd, options);
  }

  /** A TAP that the native layer holds already, by its handle. */
  attachTapHandle(handle: number, options: AttachOptions = {}): Guest {
    return this.links.tapHandle(handle, options);
  }

  /** Frames on standard input and output. */
  attachStdio(options: AttachOptions = {}): Guest {
    return this.links.stdio(options);
  }

  /** Where requests on `connect` listeners go that are not `POST /connect`. */
  set control(handler: ((socket: Socket) => void) | undefined) {
    this.links.control = handler;
  }

  guests(): Guest[] {
    return this.roster.all();
  }

  detach(guest: Guest): void {
    guest.link.close();
    this.left(guest, undefined);
  }

  leaseOf(guest: Guest): Ipv4 | undefined {
    return this.dhcp.addressOf(guest);
  }

  private left(guest: Guest, reason: Error | undefined): void {
    if (guest.port.closed) return;
    this.nat.forgetPort(guest.port.id);
    this.stack.removePort(guest.port);
    this.roster.remove(guest);
    this.logger.info(`guest ${guest.name} left${reason === undefined ? '' : `: ${reason.message}`}`, { guest: guest.name });
    this.emit('detached', guest, reason);
  }

  // -- ports, streams, views -----------------------------------------------------------------------------------

  /** Publishes a port of the host into a guest. Rejects with ERR_NETPROXY_PUBLISH or ERR_NETPROXY_CONFIG. */
  async publish(spec: string | PublishSpec): Promise<Published> {
    if (this.isStopped()) throw new NetproxyError('ERR_NETPROXY_STATE', 'the network was stopped');
    const parsed = typeof spec === 'string' ? parsePublish(spec) : spec;
    const port = await this.publisher.publish(parsed);
    this.logger.info(`published ${formatPublish({ ...parsed, hostPort: port.port })}`);
    return {
      spec: parsed,
      host: port.host,
      port: port.port,
      close: () => {
        port.close();
      },
    };
  }

  /** Connects to a port of a guest (the first one unless said) as a Duplex. Errors come by its `error` event. */
  dial(guest: Guest | string | undefined, port: number): Duplex {
    const stream = new GuestStream();
    const spec = { guest: guest instanceof Guest ? guest.name : guest, guestIp: undefined };
    this.roster.find(spec, (neighbour) => {
      if (!this.publisher.connectStream(neighbour, port, stream)) {
        stream.destroy(
          new NetproxyError('ERR_NETPROXY_DIAL', `cannot reach port ${port} of ${spec.guest ?? 'the first guest'}: no such guest is attached`, { errno: 'EHOSTUNREACH' }),
        );
      }
    });
    return stream;
  }

  /** A service inside the virtual network, on the gateway's or the host alias's address. */
  listen(ip: string, port: number, handler: StreamHandler): GuestService {
    const address = parseIpv4(ip);
    if (address === undefined || !this.stack.isOurs(address)) {
      throw new NetproxyError('ERR_NETPROXY_CONFIG', `cannot listen on ${ip}:${port} of the virtual network`, {
        remedy: `Allowed are the gateway ${this.addresses.gateway} and the host alias.`,
      });
    }
    this.services.addTcp(address, port, `${ip}:${port}`, handler);
    return {
      close: () => {
        this.services.removeTcp(address, port);
      },
    };
  }

  leases(): LeaseView[] {
    return this.dhcp.leases((key) => this.roster.byKey(key)?.name);
  }

  flows(): FlowInfo[] {
    return flowInfos(this.outbound, this.publisher, this.nat, this.stack);
  }

  ports(): PortInfo[] {
    return portInfos(this.publisher);
  }

  /** What would become of a flow, decided by the function that decides it. Names are resolved as a guest would. */
  async explain(query: ExplainQuery): Promise<Explanation> {
    const ip = parseIpv4(query.host) ?? (await this.dns.resolve(query.host));
    const guest = query.guest ?? this.roster.all()[0]?.name ?? 'guest1';
    const policy = this.roster.byName(guest)?.policy ?? this.policy;
    const decision: Decision = policy.explain({ protocol: query.protocol ?? 'tcp', ip, port: query.port ?? 0, guest });
    return { ...decision, address: formatIpv4(ip) };
  }

  /** Counters of every part, plain numbers in nested objects. */
  stats() {
    return {
      stack: { ...this.stack.counters },
      tcp: { ...this.stack.tcpCounters },
      reassembly: { ...this.stack.ip.reassembler.counters },
      switch: { ...this.stack.macs.counters },
      outbound: { ...this.outbound.counters },
      udp: { ...this.nat.counters },
      dhcp: this.dhcp.server.counters,
      dns: this.dns.counters,
      rules: Object.fromEntries(this.policy.counts()),
      memory: { blocksOut: this.pool.bytesOut, timers: this.stack.timers.size, tcpFlows: this.stack.tcp.size, udpMappings: this.nat.size },
      guests: Object.fromEntries(this.roster.all().map((guest) => [guest.name, guest.counters])),
    };
  }

  private isStopped(): boolean {
    return this.phase === 'stopped';
  }
}

function parseRuleText(text: string) {
  const match = /^\s*(allow|deny)\s+(.+)$/.exec(text);
  if (match === null) throw new NetproxyError('ERR_NETPROXY_CONFIG', `bad policy rule "${text}"`, { remedy: 'A rule begins with "allow " or "deny ".' });
  return parseRule(match[1] as 'allow' | 'deny', match[2]!);
}

function ownAddressCheck(deps: NetworkDeps, now: () => number): (ip: Ipv4) => boolean {
  const { isOwnAddress } = deps;
  if (isOwnAddress !== undefined) return (ip) => isOwnAddress(formatIpv4(ip));
  return deps.io === undefined ? ownAddresses(now) : () => false;
}

/** Defaults with what was given on top. */
function withDefaults<T extends object>(defaults: T, given: { [K in keyof T]?: T[K] | undefined }): T {
  return { ...defaults, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) };
}
