/** DHCP on the gateway: the server's answers on the wire. */
import {
  type Ipv4,
  type Logger,
  type Millis,
  type Scheduler,
  Timer,
  formatIpv4,
  macHigh,
  macLow,
} from '../core/index.js';
import {
  type DhcpConfig,
  type DhcpContext,
  type DhcpEvent,
  type DhcpMessage,
  type DhcpReply,
  DhcpServer,
  MessageType,
  Option,
  encodeDhcp,
  parseDhcp,
} from '../dhcp/index.js';
import type { StateStore } from '../host/index.js';
import type { Stack, StackPort, UdpIn } from '../stack/index.js';
import type { Addresses } from './addresses.js';
import { DhcpClones } from './dhcp-clones.js';
import { type DhcpPlan, dhcpPlan } from './dhcp-config.js';
import { AddressProbes, MAX_TRIES } from './dhcp-probe.js';
import type { Guest } from './guest.js';
import { LeaseKeeper } from './lease-keeper.js';
import type { LeaseView, NetworkConfig } from './types.js';

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;
/** Addresses that a guest may keep from others by using them. */
export const MAX_BELIEVED = 64;

/** How often it is told that addresses run out, ms. */
const POOL_NEWS: Millis = 60_000;

export class DhcpService {
  readonly server: DhcpServer;
  readonly plan: DhcpPlan;
  readonly probes: AddressProbes;
  readonly keeper: LeaseKeeper;
  private readonly clones: DhcpClones;
  private readonly stack: Stack;
  private readonly scheduler: Scheduler;
  /** Whose message is being answered. */
  private client: Guest | undefined;
  /** Leased addresses by guest, and how many changes of leases there had been when it was looked for. */
  private readonly known = new WeakMap<Guest, { readonly ip: Ipv4 | undefined; readonly changes: number }>();
  private changes = 0;
  private readonly logger: Logger;
  private refused = 0;
  private reused = 0;
  private poolNewsAt: Millis = 0;
  private readonly timer = new Timer((now) => {
    this.server.poll(now);
    this.clones.poll(now);
    this.keeper.write();
    this.arm();
  });

  constructor(
    stack: Stack,
    addresses: Addresses,
    config: NetworkConfig,
    logger: Logger,
    changed: (event: DhcpEvent) => void,
  ) {
    this.stack = stack;
    this.scheduler = stack.deps.scheduler;
    this.logger = logger;
    this.plan = dhcpPlan(config.dhcp, addresses);
    this.probes = new AddressProbes(stack);
    const { gatewayIp, hostAlias, subnet } = addresses;
    const shared: DhcpConfig = {
      subnet,
      gateway: gatewayIp,
      excluded: hostAlias === undefined ? [] : [hostAlias],
      authoritative: true,
      statics: this.plan.statics,
      settings: this.plan.settings,
      settingsFor: (key) => (this.client?.key === key ? this.client.told : undefined),
      inUse: (ip, guest) => this.usedByAnother(ip, guest),
      changed: (event) => {
        this.note(event);
        changed(event);
      },
      recordChanged: (ip) => {
        this.keeper.note(ip);
      },
    };
    this.server = new DhcpServer(shared);
    this.clones = new DhcpClones(shared);
    this.keeper = new LeaseKeeper(this.server, this.scheduler);
  }

  get counters() {
    const { server, probes, keeper } = this;
    return { ...server.counters, probes: { ...probes.counters }, answersRefused: keeper.refused };
  }

  /** Takes leases back from the state file, and keeps them there from now on. */
  keepIn(store: StateStore): void {
    this.keeper.open(store, this.logger);
    this.arm();
  }

  /** A datagram to port 67 of the gateway or of everybody. */
  input(datagram: UdpIn, guest: Guest): void {
    const { bytes, offset, length, port } = datagram;
    if (!port.storm.dhcp.take(this.stack.now())) {
      this.stack.counters.dhcpLimited++;
      return;
    }
    const message = parseDhcp(bytes, offset, length);
    if (typeof message === 'string') {
      this.server.input(bytes, offset, length, this.context(guest));
      return;
    }
    if (!this.stack.guard.isOwnDhcp(datagram, message.chaddr)) return;
    // Somebody else may still be in this guest's place: ask before the address of the place changes hands.
    const held =
      isDiscover(message) && this.clones.of(guest.key) === undefined
        ? this.server.heldByPredecessor(message, this.context(guest))
        : undefined;
    if (held === undefined) this.answer(message, guest, port, 1);
    else
      this.probes.ask(held, message.chaddr, (used) => {
        if (port.closed) return;
        if (used === false) this.server.vacate(held);
        this.answer(message, guest, port, 1);
      });
  }

  private answer(message: DhcpMessage, guest: Guest, port: StackPort, tries: number): void {
    this.client = guest;
    const context = this.context(guest);
    let reply = (this.clones.of(guest.key) ?? this.server).handle(message, context);
    if (reply !== undefined && guest.isolated)
      reply = this.clones.overrule(reply, message, context, (ip) => this.isAnothers(ip, guest.key));
    this.client = undefined;
    this.watchPool();
    this.arm();
    if (reply === undefined) this.keeper.write();
    // Asked again while its address is being probed: it has to wait.
    else if (this.probes.isAsking(reply.message.yiaddr)) return;
    else if (!reply.fresh) this.send(port, reply);
    else this.offer(message, guest, port, reply, tries);
  }

  /** An address that this client did not have before: offered when nobody else uses it, else the next one. */
  private offer(message: DhcpMessage, guest: Guest, port: StackPort, reply: DhcpReply, tries: number): void {
    const { chaddr } = message;
    const { yiaddr } = reply.message;
    if (!this.probes.isDoubtful(yiaddr, chaddr, port)) {
      this.send(port, reply);
      return;
    }
    this.probes.ask(yiaddr, chaddr, (used) => {
      if (port.closed) return;
      if (used !== true) {
        this.send(port, reply);
        return;
      }
      this.server.conflict(yiaddr, this.scheduler.now());
      this.logger.warn(`DHCP: ${formatIpv4(yiaddr)} is in use, though nobody leased it; it is set aside`);
      if (tries < MAX_TRIES) this.answer(message, guest, port, tries + 1);
    });
  }

  /** A guest went away: its leases run on. */
  detach(guest: Guest): void {
    this.server.detach(guest.key, this.stack.now());
    this.clones.forget(guest.key);
  }

  leases(nameOf: (key: string) => string | undefined): LeaseView[] {
    const now = this.scheduler.now();
    return [...this.server.leases(), ...this.clones.leases()].map((lease) => ({
      ip: formatIpv4(lease.ip),
      mac: lease.mac,
      hostname: lease.hostname,
      guest: lease.guest === undefined ? undefined : (nameOf(String(lease.guest)) ?? String(lease.guest)),
      expiresIn: lease.expires - now,
    }));
  }

  /** The address leased to a guest. Asked for every connection of a published port: what was found is remembered. */
  addressOf(guest: Guest): Ipv4 | undefined {
    const own = this.clones.of(guest.key);
    if (own !== undefined) return own.leases()[0]?.ip;
    const known = this.known.get(guest);
    if (known?.ip === undefined ? known?.changes === this.changes : this.holds(guest, known.ip))
      return known?.ip;
    const ip = this.server.leases().find((lease) => lease.guest === guest.key)?.ip;
    this.known.set(guest, { ip, changes: this.changes });
    return ip;
  }

  private holds(guest: Guest, ip: Ipv4): boolean {
    return this.server.leaseAt(ip)?.guest === guest.key;
  }

  stop(): void {
    this.keeper.write();
    this.stack.timers.cancel(this.timer);
  }

  /** An ACK leaves when the lease is written down: what a client was promised is never forgotten. */
  private send(port: StackPort, reply: DhcpReply): void {
    if (reply.promises) {
      this.keeper.afterwards(() => {
        this.transmit(port, reply);
      });
    } else {
      this.keeper.write();
      this.transmit(port, reply);
    }
  }

  private transmit(port: StackPort, { message, to }: DhcpReply): void {
    if (port.closed) return;
    this.stack.packets.udpTo(
      port,
      macHigh(to.mac),
      macLow(to.mac),
      this.stack.config.gatewayIp,
      DHCP_SERVER_PORT,
      to.ip,
      DHCP_CLIENT_PORT,
      encodeDhcp(message),
    );
  }

  /** Tells people when addresses run out, at most every POOL_NEWS. */
  private watchPool(): void {
    const { addresses, drops } = this.server.counters;
    const refused = (drops.poolExhausted ?? 0) + (drops.tableFull ?? 0);
    const { reused } = addresses;
    const now = this.scheduler.now();
    const nothing = refused !== this.refused;
    const nothingFresh = reused !== this.reused;
    this.refused = refused;
    this.reused = reused;
    if ((!nothing && !nothingFresh) || now < this.poolNewsAt) return;
    this.poolNewsAt = now + POOL_NEWS;
    const what = nothing
      ? 'no address is left, a guest gets none'
      : 'no fresh address is left: the one that was free for longest went to another guest';
    this.logger.warn(`DHCP: ${what}`);
  }

  private context(guest: Guest): DhcpContext {
    return { guestId: guest.key, now: this.scheduler.now(), wall: this.scheduler.wall() };
  }

  /** A leased address is its guest's alone. */
  private note({ kind, lease }: DhcpEvent): void {
    this.changes++;
    const { client } = this;
    const { guard } = this.stack;
    if (kind !== 'bound' && kind !== 'renewed') guard.unclaim(lease.ip, this.portOf(lease.guest));
    else if (client !== undefined && lease.guest === client.key)
      guard.claim(client.port, lease.ip, macHigh(lease.mac), macLow(lease.mac), lease.expires);
  }

  private portOf(key: string | number | undefined): StackPort | undefined {
    for (const port of this.stack.ports()) if ((port.user as Guest | undefined)?.key === key) return port;
    return undefined;
  }

  /** Leased to another guest, or used by it. */
  private isAnothers(ip: Ipv4, key: string): boolean {
    const lease = this.server.leaseAt(ip);
    return (lease !== undefined && lease.guest !== key) || this.usedByAnother(ip, key);
  }

  /**
   * An address that another guest was seen with lately is not handed out; an isolated one is in nobody's way. A guest that shows more than MAX_BELIEVED
   * addresses is not believed: it must not use up the pool for all others.
   */
  private usedByAnother(ip: Ipv4, key: string | number | undefined): boolean {
    const neighbour = this.stack.findNeighbour(ip);
    if (neighbour === undefined || neighbour.heldUntil <= this.scheduler.now()) return false;
    const owner = this.stack.portOf(neighbour)?.user as Guest | undefined;
    return (
      owner !== undefined &&
      !owner.isolated &&
      owner.key !== key &&
      owner.port.neighbours.size <= MAX_BELIEVED
    );
  }

  private arm(): void {
    this.stack.timers.set(this.timer, Math.min(this.server.nextTimeout(), this.clones.nextTimeout()));
    this.stack.rearm();
  }
}

function isDiscover(message: DhcpMessage): boolean {
  return message.options.get(Option.messageType)?.[0] === MessageType.discover;
}
