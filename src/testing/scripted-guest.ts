/**
 * A guest that does what a test says: a small machine on our own protocols, over any link.
 *
 * Theory of operation. It is a peer of its own and shares no state with a network's stack: its own ARP, IPv4 with
 * fragments, ICMP, UDP, DHCP and DNS clients, and a table of TcpConnections. Everything runs on the scheduler that it
 * was given, so it works on virtual and on real time. It is not a real guest: it has one address, one router, and the
 * same TCP as netproxy itself.
 */
import {
  BlockPool,
  type Block,
  type Link,
  type Mac,
  type Millis,
  type Random,
  type Scheduler,
  parseIpv4,
  parseMac,
  plainMemory,
} from '../core/index.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETH_HEADER, ETH_TYPE } from '../ethernet/index.js';
import { nodeScheduler, systemRandom } from '../host/index.js';
import { UNREACHABLE_PORT, UNREACHABLE_PROTOCOL } from '../icmp/index.js';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../ipv4/index.js';
import type { FrameTap } from './frame-tap.js';
import { type DhcpClientOptions, GuestDhcp, type GuestLease } from './guest-dhcp.js';
import { type DnsAnswer, GuestDns, type DnsQueryOptions } from './guest-dns.js';
import { GuestError } from './guest-error.js';
import { GuestIcmp, type IcmpFailure, type PingOptions } from './guest-icmp.js';
import { GuestIp, type PacketIn } from './guest-ip.js';
import type { GuestSocket } from './guest-socket.js';
import { type ConnectOptions, type GuestListener, GuestTcp, type GuestTcpSettings } from './guest-tcp.js';
import { GuestUdp, type GuestUdpSocket } from './guest-udp.js';
import { GuestWire, type WireUpper } from './guest-wire.js';

export interface ScriptedGuestOptions {
  /** Default: a locally administered one, drawn from `random`. */
  readonly mac?: string | undefined;
  /** Default: the real event loop. */
  readonly scheduler?: Scheduler | undefined;
  readonly random?: Random | undefined;
  /** Sent as its DHCP host name. */
  readonly name?: string | undefined;
  readonly tcp?: GuestTcpSettings | undefined;
}

/** A guest's address, given by hand. */
export interface GuestAddress {
  readonly ip: string;
  /** Prefix length; default 24. */
  readonly prefix?: number | undefined;
  readonly gateway?: string | undefined;
  /** Bytes; default 1500. */
  readonly mtu?: number | undefined;
  readonly dns?: string | undefined;
}

/**
 * @example
 * const guest = new ScriptedGuest(link, { name: 'one' });
 * await guest.dhcp();
 * console.log(await guest.ping('192.168.127.1'), 'ms');
 * const socket = await guest.connect('192.168.127.254', 8080);
 */
export class ScriptedGuest {
  readonly name: string | undefined;
  readonly mac: Mac;
  /** The frames that it receives. */
  readonly frames: FrameTap;
  /** The last lease. */
  lease: GuestLease | undefined;
  private readonly wire: GuestWire;
  private readonly ip: GuestIp;
  private readonly icmp: GuestIcmp;
  private readonly udpPorts: GuestUdp;
  private readonly tcp: GuestTcp;
  private readonly dhcpClient: GuestDhcp;
  private readonly dns: GuestDns;
  private readonly pool = new BlockPool(plainMemory);
  private dnsServer: string | undefined;
  private staticIp: string | undefined;

  constructor(link: Link, options: ScriptedGuestOptions = {}) {
    const random = options.random ?? systemRandom();
    const mac = options.mac === undefined ? randomMac(random) : parseMac(options.mac);
    if (mac === undefined) throw new GuestError('EINVAL', `"${options.mac ?? ''}" is no MAC address`);
    this.name = options.name;
    this.mac = mac;
    this.wire = new GuestWire(link, mac, options.scheduler ?? nodeScheduler);
    this.frames = this.wire.tap;
    this.ip = new GuestIp(this.wire, this.pool, random, (packet) => {
      this.packet(packet);
    });
    this.icmp = new GuestIcmp(this.wire, this.ip, random, (failure) => {
      this.failed(failure);
    });
    this.udpPorts = new GuestUdp(this.wire, this.ip);
    this.tcp = new GuestTcp(this.wire, this.ip, this.pool, random, options.tcp ?? {});
    this.dhcpClient = new GuestDhcp(this.udpPorts, mac, random);
    this.dns = new GuestDns(this.udpPorts, this.tcp, random);
    this.wire.upper = this.upper();
    link.start(this.wire);
  }

  /** Its address; undefined until `dhcp` or `configure`. */
  get address(): string | undefined {
    return this.lease?.ip ?? this.staticIp;
  }

  /** What it counted, by layer. */
  get counters() {
    const { wire, ip, icmp, udpPorts, tcp } = this;
    return {
      link: wire.counters,
      arp: ip.arp.counters,
      ip: ip.counters,
      icmp: icmp.counters,
      udp: udpPorts.counters,
      tcp: tcp.counters,
      tcpDrops: tcp.drops,
    };
  }

  /** TCP connections, closing ones included. */
  get connections(): number {
    return this.tcp.size;
  }

  /** Bytes of received frames that somebody holds. */
  get bytesHeld(): number {
    return this.pool.bytesOut;
  }

  /**
   * Gets an address by DHCP and takes it, with router, MTU and name server.
   *
   * @throws GuestError ETIMEDOUT
   */
  async dhcp(options: DhcpClientOptions = {}): Promise<GuestLease> {
    this.ip.ip = undefined;
    this.lease = undefined;
    const lease = await this.dhcpClient.bind({ hostname: this.name, ...options });
    this.take(lease);
    return lease;
  }

  /** Renews the lease by unicast. @throws GuestError ETIMEDOUT, EACCES (NAK) */
  async renew(options: DhcpClientOptions = {}): Promise<GuestLease> {
    if (this.lease === undefined) throw new GuestError('EADDRNOTAVAIL', 'no lease to renew');
    const lease = await this.dhcpClient.renew(this.lease, options);
    this.take(lease);
    return lease;
  }

  /** Gives the lease back and forgets the address. */
  async release(): Promise<void> {
    if (this.lease === undefined) return;
    await this.dhcpClient.release(this.lease, {});
    this.lease = undefined;
    this.ip.ip = undefined;
  }

  /** Takes an address without asking anybody. */
  configure(address: GuestAddress): void {
    const ip = parseIpv4(address.ip);
    const gateway = address.gateway === undefined ? undefined : parseIpv4(address.gateway);
    if (ip === undefined) throw new GuestError('EINVAL', `"${address.ip}" is no IPv4 address`);
    this.staticIp = address.ip;
    this.ip.ip = ip;
    this.ip.prefix = address.prefix ?? 24;
    this.ip.gateway = gateway;
    this.ip.mtu = address.mtu ?? 1500;
    this.dnsServer = address.dns ?? address.gateway;
  }

  /** Says by ARP whose its address is (RFC 5227), as a machine does that moved. */
  announce(): void {
    this.ip.arp.announce();
  }

  /** Forgets what ARP learned. */
  flushArp(): void {
    this.ip.arp.flush();
  }

  /** The MAC of an address, by ARP. @throws GuestError EHOSTUNREACH */
  arp(ip: string): Promise<Mac> {
    return this.ip.arp.resolve(addressOf(ip));
  }

  /** Round trip in ms. @throws GuestError ETIMEDOUT, EHOSTUNREACH, ENETUNREACH … (`icmp` says who said so) */
  async ping(ip: string, options: PingOptions = {}): Promise<Millis> {
    return this.icmp.ping(addressOf(ip), options);
  }

  /** A UDP socket on this port, or on a free one. @throws GuestError EADDRINUSE */
  udp(port?: number): GuestUdpSocket {
    return this.udpPorts.open(port);
  }

  /**
   * Connects by TCP.
   *
   * @throws GuestError ECONNREFUSED (RST), EHOSTUNREACH, ENETUNREACH (ICMP), ETIMEDOUT, ECONNABORTED (`signal`)
   */
  async connect(ip: string, port: number, options: ConnectOptions = {}): Promise<GuestSocket> {
    return this.tcp.connect(addressOf(ip), port, options);
  }

  /** Accepts connections on a TCP port. @throws GuestError EADDRINUSE */
  listen(port: number, handler: (socket: GuestSocket) => void): GuestListener {
    return this.tcp.listen(port, handler);
  }

  /** Texts of the records of a name. @throws GuestError ENOTFOUND, ENODATA, ESERVFAIL, ETIMEDOUT … */
  async resolve(name: string, type = 'A', options: DnsQueryOptions = {}): Promise<string[]> {
    return this.dns.resolve(name, type, this.nameServer(options), options);
  }

  /** The whole answer of the name server, whatever its rcode. @throws GuestError ETIMEDOUT … */
  async query(name: string, type = 'A', options: DnsQueryOptions = {}): Promise<DnsAnswer> {
    return this.dns.query(name, type, this.nameServer(options), options);
  }

  /** Sends bytes as a frame, whatever they are. */
  sendFrame(bytes: Uint8Array): void {
    this.wire.send(bytes);
  }

  /** Pulls the plug: nothing is said to anybody, sockets are destroyed without an error, the link is closed. */
  close(): void {
    if (this.wire.down) return;
    this.wire.closed();
    this.wire.link.close();
  }

  private nameServer(options: DnsQueryOptions): string {
    const server = options.server ?? this.dnsServer;
    if (server === undefined) throw new GuestError('EDESTADDRREQ', 'no name server is known');
    return server;
  }

  private take(lease: GuestLease): void {
    const { ip, prefix, gateway, mtu } = lease;
    this.configure({ ip, prefix, gateway, mtu, dns: lease.dns[0] ?? gateway });
    this.lease = lease;
  }

  private upper(): WireUpper {
    return {
      frame: (block, at, length, flags) => {
        this.frame(block, at, length, flags);
      },
      turn: (now) => {
        this.tcp.turn(now);
      },
      writable: () => {
        this.tcp.writable();
      },
      down: () => {
        this.ip.arp.down();
        this.tcp.down();
        this.udpPorts.down();
        this.icmp.down();
      },
    };
  }

  private frame(block: Block, at: number, length: number, flags: number): void {
    const type = block.region.view.getUint16(at + ETH_TYPE);
    if (type === ETHERTYPE_ARP) this.ip.arp.input(block.region.bytes, at + ETH_HEADER, length - ETH_HEADER);
    else if (type === ETHERTYPE_IPV4) this.ip.input(block, at, length, flags, this.wire.now());
  }

  private packet(packet: PacketIn): void {
    switch (packet.protocol) {
      case PROTOCOL_TCP:
        this.tcp.input(packet, this.wire.now());
        return;
      case PROTOCOL_UDP:
        if (!this.udpPorts.input(packet)) this.icmp.unreachable(packet, UNREACHABLE_PORT);
        return;
      case PROTOCOL_ICMP:
        this.icmp.input(packet);
        return;
      default:
        this.icmp.unreachable(packet, UNREACHABLE_PROTOCOL);
    }
  }

  private failed({ protocol, destination, sourcePort, destinationPort, error }: IcmpFailure): void {
    if (protocol === PROTOCOL_TCP) this.tcp.failed(destination, destinationPort, sourcePort, error);
    else this.udpPorts.sockets.get(sourcePort)?.push(error);
  }
}

function addressOf(text: string) {
  const ip = parseIpv4(text);
  if (ip === undefined) throw new GuestError('EINVAL', `"${text}" is no IPv4 address`);
  return ip;
}

function randomMac(random: Random): Mac {
  const word = random.u32().toString(16).padStart(8, '0');
  return `52:54:${word.slice(0, 2)}:${word.slice(2, 4)}:${word.slice(4, 6)}:${word.slice(6, 8)}` as Mac;
}
