/** DHCP on the gateway: the server's answers on the wire. */
import {
  type Ipv4,
  type Scheduler,
  Timer,
  formatIpv4,
  macHigh,
  macLow,
  parseIpv4,
  parseMac,
} from '../core/index.js';
import { type DhcpEvent, type DhcpReply, DhcpServer, type StaticLease, encodeDhcp } from '../dhcp/index.js';
import { NetproxyError } from '../core/index.js';
import type { Stack, UdpIn } from '../stack/index.js';
import type { Addresses } from './addresses.js';
import type { Guest } from './guest.js';
import type { LeaseView, NetworkConfig } from './types.js';

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;
/** Addresses that a guest may keep from others by using them. */
export const MAX_BELIEVED = 64;

export class DhcpService {
  readonly server: DhcpServer;
  private readonly stack: Stack;
  private readonly scheduler: Scheduler;
  /** Whose message is being answered. */
  private client: Guest | undefined;
  /** Leased addresses by guest, and how many changes of leases there had been when it was looked for. */
  private readonly known = new WeakMap<Guest, { readonly ip: Ipv4 | undefined; readonly changes: number }>();
  private changes = 0;
  private readonly timer = new Timer((now) => {
    this.server.poll(now);
    this.arm();
  });

  constructor(
    stack: Stack,
    addresses: Addresses,
    config: NetworkConfig,
    changed: (event: DhcpEvent) => void,
  ) {
    this.stack = stack;
    this.scheduler = stack.deps.scheduler;
    const { gatewayIp, hostAlias, subnet, mtu } = addresses;
    this.server = new DhcpServer({
      subnet,
      gateway: gatewayIp,
      excluded: hostAlias === undefined ? [] : [hostAlias],
      authoritative: true,
      statics: staticLeases(config),
      settings: {
        routers: [gatewayIp],
        dns: [gatewayIp],
        ntp: [gatewayIp],
        mtu,
        domain: config.dhcp?.domain,
        search: config.dhcp?.search,
        leaseSeconds: config.dhcp?.leaseSeconds,
      },
      inUse: (ip, guest) => this.usedByAnother(ip, guest),
      changed: (event) => {
        this.note(event);
        changed(event);
      },
    });
  }

  /** A datagram to port 67 of the gateway or of everybody. */
  input(datagram: UdpIn, guest: Guest): void {
    const { bytes, offset, length } = datagram;
    this.client = guest;
    const reply = this.server.input(bytes, offset, length, {
      guestId: guest.key,
      now: this.scheduler.now(),
      wall: this.scheduler.wall(),
    });
    this.client = undefined;
    if (reply !== undefined) this.send(datagram, reply);
    this.arm();
  }

  leases(nameOf: (key: string) => string | undefined): LeaseView[] {
    const now = this.scheduler.now();
    return this.server.leases().map((lease) => ({
      ip: formatIpv4(lease.ip),
      mac: lease.mac,
      hostname: lease.hostname,
      guest: lease.guest === undefined ? undefined : (nameOf(String(lease.guest)) ?? String(lease.guest)),
      expiresIn: lease.expires - now,
    }));
  }

  /** The address leased to a guest. Asked for every connection of a published port: what was found is remembered. */
  addressOf(guest: Guest): Ipv4 | undefined {
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
    this.stack.timers.cancel(this.timer);
  }

  private send(datagram: UdpIn, { message, to }: DhcpReply): void {
    this.stack.packets.udpTo(
      datagram.port,
      macHigh(to.mac),
      macLow(to.mac),
      this.stack.config.gatewayIp,
      DHCP_SERVER_PORT,
      to.ip,
      DHCP_CLIENT_PORT,
      encodeDhcp(message),
    );
  }

  /** A leased address is its guest's alone. */
  private note({ kind, lease }: DhcpEvent): void {
    this.changes++;
    const { client } = this;
    const { guard } = this.stack;
    if (kind !== 'bound' && kind !== 'renewed') guard.unclaim(lease.ip);
    else if (client !== undefined && lease.guest === client.key)
      guard.claim(client.port, lease.ip, macHigh(lease.mac), macLow(lease.mac), lease.expires);
  }

  /**
   * An address that another guest was seen with lately is not handed out. A guest that shows more than MAX_BELIEVED
   * addresses is not believed: it must not use up the pool for all others.
   */
  private usedByAnother(ip: Ipv4, key: string | number | undefined): boolean {
    const neighbour = this.stack.findNeighbour(ip);
    if (neighbour === undefined || neighbour.heldUntil <= this.scheduler.now()) return false;
    const owner = this.stack.portOf(neighbour)?.user as Guest | undefined;
    return owner !== undefined && owner.key !== key && owner.port.neighbours.size <= MAX_BELIEVED;
  }

  private arm(): void {
    this.stack.timers.set(this.timer, this.server.nextTimeout());
    this.stack.rearm();
  }
}

function staticLeases(config: NetworkConfig): StaticLease[] {
  return (config.dhcp?.statics ?? []).flatMap((one) => {
    const ip = parseIpv4(one.ip);
    const mac = one.mac === undefined ? undefined : parseMac(one.mac);
    if (ip === undefined || (one.mac !== undefined && mac === undefined)) {
      throw new NetproxyError('ERR_NETPROXY_CONFIG', `bad static lease ${JSON.stringify(one)}`, {
        remedy: 'Allowed is an IPv4 address as ip with a MAC address as mac or a name as guest.',
      });
    }
    // A guest's name is a reservation; the network makes it when the guest is attached.
    return mac === undefined ? [] : [{ ip, mac }];
  });
}
