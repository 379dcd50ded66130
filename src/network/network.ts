/** One virtual network: the stack, its services, the guests on it. What `createNetwork` makes. */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Ipv4, type Link, NetproxyError, silentLogger, macHigh, macLow } from '../core/index.js';
import { type PublishSpec, expandPublish } from '../forwarder/index.js';
import { type ListenKind, type TapOptions, captureBatch } from '../link/index.js';
import { formatAddresses, parseGuestMac } from './addresses.js';
import { readRule } from '../policy/index.js';
import { type Parts, assemble } from './assemble.js';
import type { DnsControl } from './dns-control.js';
import { Guest, type GuestOwner, portOptions } from './guest.js';
import { type Control, type LinkOptions, Links } from './links.js';
import { PolicyControl } from './policy-control.js';
import type { ProxyControl } from './proxy-control.js';
import { type DialTarget, Publishing } from './publishing.js';
import { type SinkOf, Taps } from './taps.js';
import { telling } from './telling.js';
import type {
  AttachOptions,
  ExplainQuery,
  Explanation,
  FlowInfo,
  FlowsOptions,
  GuestService,
  KeepOptions,
  LeaseView,
  NetworkConfig,
  NetworkDeps,
  NetworkEvents,
  PortInfo,
  Published,
  StreamHandler,
} from './types.js';
import { countFlows, eachFlow, explain, killFlow, statsOf } from './views.js';

/** How long `stop` waits for flows to end by themselves, ms. */
export const STOP_DEADLINE = 250;

export class Network extends EventEmitter<NetworkEvents> implements GuestOwner {
  readonly config: NetworkConfig;
  /** Rules and decisions. */
  readonly policy: PolicyControl;
  /** Wraps every link that is attached from now on: capture, faults. */
  linkMiddleware: ((link: Link) => Link) | undefined;
  private readonly parts: Parts;
  private readonly links: Links;
  private readonly publishing: Publishing;
  private readonly taps = new Taps();
  private phase: 'new' | 'starting' | 'running' | 'stopped' = 'new';
  private starting: Promise<void> | undefined;
  private stopping: Promise<void> | undefined;

  constructor(config: NetworkConfig, deps: NetworkDeps) {
    super();
    this.config = config;
    this.parts = assemble(
      config,
      {
        ...deps,
        logger: telling(
          deps.logger ?? silentLogger,
          () => this.parts.scheduler,
          (message) => this.emit('warning', message),
        ),
      },
      {
        leaseChanged: (event) => this.emit('lease', event),
        decided: (entry) => this.emit('decision', entry),
        asked: (question) => this.emit('ask', question),
        answered: (question, outcome) => this.emit('answered', question, outcome),
      },
    );
    this.policy = new PolicyControl(this.parts);
    const { pool, logger, native, addresses, roster } = this.parts;
    this.publishing = new Publishing(this.parts, {
      published: (port) => this.emit('published', port),
      unpublished: (port) => this.emit('unpublished', port),
    });
    this.links = new Links({
      pool,
      logger,
      hub: native.hub,
      mtu: addresses.mtu,
      assign: (uuid, preferred) => roster.assign(uuid, preferred),
      attach: (link, options) => this.attach(link, options),
    });
  }

  get stack() {
    return this.parts.stack;
  }

  /** Native poller, when the addon is there. */
  get hub() {
    return this.parts.native.hub;
  }

  /** Why there is no native addon; undefined when there is one. */
  get nativeMissing(): string | undefined {
    return this.parts.native.reason;
  }

  get addresses() {
    return formatAddresses(this.parts.addresses);
  }

  /** What can be seen and changed of the gateway's DNS. */
  get dns(): DnsControl {
    return this.parts.dns.control;
  }

  /** What can be seen and changed of the HTTP proxy's settings. */
  get proxy(): ProxyControl {
    return this.parts.proxy.control;
  }

  // -- life ----------------------------------------------------------------------------------------------------

  /** Publishes the configured ports. Idempotent; rejects, and stops, when one cannot be published. */
  start(): Promise<void> {
    if (this.phase === 'stopped')
      return Promise.reject(new NetproxyError('ERR_NETPROXY_STATE', 'the network was stopped'));
    this.starting ??= this.doStart();
    return this.starting;
  }

  private async doStart(): Promise<void> {
    this.phase = 'starting';
    try {
      this.parts.state.open();
      this.parts.routes?.start();
      this.parts.spins?.start();
      for (const spec of this.config.publish ?? [])
        for (const one of typeof spec === 'string' ? expandPublish(spec) : [spec])
          await this.publish(one, { keep: false });
      await this.publishing.adopt(this.parts.state.store);
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
    this.publishing.stop();
    // Timers of the scheduler do not keep the process alive; who waits for the end of `stop` shall see it.
    const hold = setInterval(() => undefined, 1000);
    await this.links.closeListeners();
    this.parts.publisher.stop();
    const end = this.parts.scheduler.now() + deadline;
    while (this.stack.tcp.openFlows > 0 && this.parts.scheduler.now() < end) {
      await new Promise<void>((resolve) => void this.parts.scheduler.after(10, resolve));
    }
    this.parts.services.stop();
    this.parts.proxy.stop();
    this.parts.dns.stop();
    this.parts.dhcp.stop();
    this.parts.routes?.stop();
    this.parts.spins?.stop();
    await this.parts.state.close();
    this.parts.asking.stop();
    this.parts.nat.stop();
    this.parts.pings.stop();
    this.stack.stop();
    for (const guest of this.parts.roster.all()) this.detach(guest);
    this.parts.native.close();
    this.parts.pool.drain();
    clearInterval(hold);
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
    const guest = this.enter(link, options);
    const { name, port, link: outer } = guest;
    this.taps.attached(guest);
    outer.start({
      frames: (batch) => {
        if (guest.sink !== undefined) captureBatch(batch, guest.sink);
        this.stack.input(port, batch);
      },
      quota: () => this.stack.shares.quota(port),
      writable: () => {
        this.stack.writable(port);
      },
      closed: (reason) => {
        this.left(guest, reason);
      },
    });
    this.parts.logger.info(`guest ${name} attached over ${link.kind} (${link.name})`, { guest: name });
    this.emit('attached', guest);
    return guest;
  }

  /** Makes the guest and its port; closes the link and throws when its options do not fit. */
  private enter(link: Link, options: AttachOptions & { readonly key?: string | undefined }): Guest {
    const { roster } = this.parts;
    let guest: Guest | undefined;
    try {
      const name = roster.nameFor(options.name);
      const mac = parseGuestMac(options.mac);
      const policy = this.parts.policy.withRules((options.policy ?? []).map(readRule));
      const outer = this.linkMiddleware?.(link) ?? link;
      const port = this.stack.addPort(outer.output, portOptions(this.config, options, outer));
      port.label = `guest ${name}`;
      if (options.maxFlows !== undefined) port.maxFlows = options.maxFlows;
      if (mac !== undefined) this.stack.guard.assignMac(port, macHigh(mac), macLow(mac));
      guest = new Guest(this, name, options.key ?? name, outer, port, policy);
      port.user = guest;
      roster.add(guest, options);
      return guest;
    } catch (error) {
      if (guest !== undefined) this.left(guest, undefined);
      link.close();
      throw error;
    }
  }

  /** Attaches a guest by a connected socket or descriptor. Rejects when the handshake fails. */
  accept(
    source: Socket | number,
    options: LinkOptions & { readonly framing: 'qemu' | 'vpnkit' | 'connect' },
  ): Promise<Guest> {
    return this.links.accept(source, options);
  }

  /** Lets guests in at an address (see `parseLinkSpec`); closes with the network. */
  listenLinks(kind: ListenKind, where: string, options: LinkOptions = {}) {
    return this.links.listen(kind, where, options);
  }

  /** Creates or attaches to a TAP interface, here or in another network namespace. Needs the addon. */
  openTap(tap: TapOptions, options: AttachOptions = {}): Guest {
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
  set control(handler: Control | undefined) {
    this.links.control = handler;
  }

  /** Shows the frames of guests, also of those that come, to the sinks that `sinkOf` gives, until the returned function is called. */
  capture(sinkOf: SinkOf): () => void {
    return this.taps.add(sinkOf, this.guests());
  }

  guests(): Guest[] {
    return this.parts.roster.all();
  }

  detach(guest: Guest): void {
    guest.link.close();
    this.left(guest, undefined);
  }

  leaseOf(guest: Guest): Ipv4 | undefined {
    return this.parts.dhcp.addressOf(guest);
  }

  private left(guest: Guest, reason: Error | undefined): void {
    if (guest.port.closed) return;
    this.parts.nat.forgetPort(guest.port.id);
    this.parts.pings.forgetPort(guest.port.id);
    this.stack.removePort(guest.port);
    this.parts.roster.remove(guest);
    this.parts.names.left(guest.name);
    this.parts.asking.left(guest);
    this.taps.detached(guest);
    this.parts.logger.info(`guest ${guest.name} left${reason === undefined ? '' : `: ${reason.message}`}`, {
      guest: guest.name,
    });
    this.emit('detached', guest, reason);
  }

  // -- ports, streams, views -----------------------------------------------------------------------------------

  /** Publishes a port of the host into a guest. Rejects with ERR_NETPROXY_PUBLISH or ERR_NETPROXY_CONFIG. */
  publish(spec: string | PublishSpec, options?: KeepOptions): Promise<Published> {
    return this.publishing.publish(spec, options);
  }

  /** Publishes all of them, or none. Rejects as `publish`. */
  publishAll(specs: readonly (string | PublishSpec)[], options?: KeepOptions): Promise<Published[]> {
    return this.publishing.publishAll(specs, options);
  }

  /** Withdraws a published port and resets what runs over it; false when there is none of that `id`. */
  unpublish(id: number): boolean {
    return this.publishing.unpublish(id);
  }

  /** Connects to a port of a guest (the first one unless said) as a Duplex. Errors come by its `error` event. */
  dial(guest: DialTarget, port: number): Duplex {
    return this.publishing.dial(guest, port);
  }

  /** A service inside the virtual network, on the gateway's or the host alias's address. */
  listen(ip: string, port: number, handler: StreamHandler): GuestService {
    return this.parts.services.listen(this.stack, ip, port, (stream, { name }) => {
      handler(stream, name);
    });
  }

  leases(): LeaseView[] {
    return this.parts.dhcp.leases((key) => this.parts.roster.byKey(key)?.name);
  }

  flows(options: FlowsOptions = {}): FlowInfo[] {
    return [...eachFlow(this.parts, options)];
  }

  /** The same one by one, for whoever must not hold up others while there are many. */
  eachFlow(options: FlowsOptions = {}): Iterable<FlowInfo> {
    return eachFlow(this.parts, options);
  }

  get flowCount(): number {
    return countFlows(this.parts);
  }

  /** Ends a flow, TCP with RST on both sides; false when there is none of that `id`. */
  killFlow(id: number): boolean {
    return killFlow(this.parts, id);
  }

  ports(): PortInfo[] {
    return [...this.eachPort()];
  }

  /** The published port of this `id`. */
  port(id: number): PortInfo | undefined {
    return this.publishing.port(id);
  }

  /** The same one by one, those behind an `id`. */
  eachPort(after = 0): Iterable<PortInfo> {
    return this.publishing.each(after);
  }

  /** Resolves when what was set live so far is in the state file, where there is one. */
  saved(): Promise<void> {
    return this.parts.state.saved();
  }

  /** What would become of a flow, decided by the function that decides it. Names are resolved as a guest would. */
  explain(query: ExplainQuery): Promise<Explanation> {
    return explain(this.parts, query);
  }

  /** Counters of every part, plain numbers in nested objects. */
  stats() {
    return statsOf(this.parts);
  }

  private isStopped(): boolean {
    return this.phase === 'stopped';
  }
}
