/** The guest's DHCP client (RFC 2131 section 4.4), and what it learned. */
import {
  IPV4_ANY,
  type Ipv4,
  type Mac,
  type Millis,
  type Random,
  formatIpv4,
  parseIpv4,
} from '../core/index.js';
import {
  DHCP_CLIENT_PORT,
  DHCP_SERVER_PORT,
  type DhcpMessage,
  MessageType,
  Option,
  encodeDhcp,
  parseDhcp,
  readAddress,
  readAddresses,
  readSearchList,
  readText,
  readU16,
  readU32,
  readU8,
} from '../dhcp/index.js';
import { GuestError } from './guest-error.js';
import type { GuestUdp, GuestUdpSocket } from './guest-udp.js';

/** The client waits this long for an answer before it asks again, then twice as long, and so on (RFC 2131 section 4.1). */
const FIRST_PAUSE: Millis = 1000;
const LONGEST_PAUSE: Millis = 8000;
const DEFAULT_TIMEOUT: Millis = 15_000;

export interface DhcpClientOptions {
  /** ms in all; default 15,000. */
  readonly timeout?: Millis | undefined;
  readonly hostname?: string | undefined;
  /** The address that the guest would like to have. */
  readonly requested?: string | undefined;
  /** Option 61, raw. */
  readonly clientId?: Uint8Array | undefined;
}

/** What a server gave. */
export interface GuestLease {
  readonly ip: string;
  readonly prefix: number;
  readonly gateway: string | undefined;
  readonly dns: readonly string[];
  /** Bytes; undefined when the server did not say. */
  readonly mtu: number | undefined;
  readonly seconds: number;
  readonly domain: string | undefined;
  readonly search: readonly string[];
  readonly server: string;
  /** The whole ACK. */
  readonly message: DhcpMessage;
}

const PARAMETERS = Uint8Array.of(
  Option.subnetMask,
  Option.router,
  Option.dnsServer,
  Option.domainName,
  Option.interfaceMtu,
  Option.broadcastAddress,
  Option.ntpServer,
  Option.leaseTime,
  Option.renewalTime,
  Option.rebindingTime,
  Option.domainSearch,
  Option.classlessRoutes,
);

export class GuestDhcp {
  private readonly udp: GuestUdp;
  private readonly mac: Mac;
  private readonly random: Random;

  constructor(udp: GuestUdp, mac: Mac, random: Random) {
    this.udp = udp;
    this.mac = mac;
    this.random = random;
  }

  /** DISCOVER, OFFER, REQUEST, ACK; begins again after a NAK. @throws GuestError ETIMEDOUT */
  async bind(options: DhcpClientOptions): Promise<GuestLease> {
    return this.with(options, async (exchange) => {
      for (;;) {
        const wish =
          options.requested === undefined
            ? []
            : [[Option.requestedAddress, address(options.requested)] as const];
        const offer = await exchange.ask(MessageType.discover, wish, [MessageType.offer]);
        const server = offer.options.get(Option.serverId);
        if (server === undefined) continue;
        const answer = await exchange.ask(
          MessageType.request,
          [
            [Option.requestedAddress, address(formatIpv4(offer.yiaddr))],
            [Option.serverId, server],
          ],
          [MessageType.ack, MessageType.nak],
        );
        if (typeOf(answer) === MessageType.ack) return leaseOf(answer);
      }
    });
  }

  /** Renews by unicast (RFC 2131 section 4.3.2, RENEWING). @throws GuestError ETIMEDOUT, or EACCES for a NAK */
  async renew(lease: GuestLease, options: DhcpClientOptions): Promise<GuestLease> {
    return this.with(options, async (exchange) => {
      const answer = await exchange.ask(MessageType.request, [], [MessageType.ack, MessageType.nak], lease);
      if (typeOf(answer) === MessageType.nak)
        throw new GuestError('EACCES', `the server took ${lease.ip} back`);
      return leaseOf(answer);
    });
  }

  /** Gives the address back; there is no answer. */
  async release(lease: GuestLease, options: DhcpClientOptions): Promise<void> {
    await this.with(options, async (exchange) => {
      exchange.tell(MessageType.release, [[Option.serverId, address(lease.server)]], lease);
    });
  }

  private async with<T>(options: DhcpClientOptions, work: (exchange: Exchange) => Promise<T>): Promise<T> {
    const socket = this.udp.open(DHCP_CLIENT_PORT);
    try {
      return await work(new Exchange(this.udp, socket, this.mac, this.random.u32(), options));
    } finally {
      socket.close();
    }
  }
}

type OptionList = readonly (readonly [number, Uint8Array])[];

/** One conversation with a server. */
class Exchange {
  private readonly udp: GuestUdp;
  private readonly socket: GuestUdpSocket;
  private readonly mac: Mac;
  private readonly xid: number;
  private readonly options: DhcpClientOptions;
  private readonly timeout: Millis;
  private readonly deadline: Millis;

  constructor(udp: GuestUdp, socket: GuestUdpSocket, mac: Mac, xid: number, options: DhcpClientOptions) {
    this.udp = udp;
    this.socket = socket;
    this.mac = mac;
    this.xid = xid;
    this.options = options;
    this.timeout = options.timeout ?? DEFAULT_TIMEOUT;
    this.deadline = udp.wire.now() + this.timeout;
  }

  /** Sends, and again until one of the wanted answers comes. */
  async ask(
    type: number,
    extra: OptionList,
    wanted: readonly number[],
    lease?: GuestLease,
  ): Promise<DhcpMessage> {
    let pause = FIRST_PAUSE;
    for (;;) {
      this.tell(type, extra, lease);
      const until = Math.min(this.udp.wire.now() + pause, this.deadline);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
      const answer = await this.answer(wanted, until);
      if (answer !== undefined) return answer;
      if (this.udp.wire.now() >= this.deadline)
        throw new GuestError('ETIMEDOUT', `dhcp: no answer within ${this.timeout} ms`);
    }
  }

  tell(type: number, extra: OptionList, lease: GuestLease | undefined): void {
    const { hostname, clientId } = this.options;
    const options = new Map<number, Uint8Array>([[Option.messageType, Uint8Array.of(type)], ...extra]);
    if (clientId !== undefined) options.set(Option.clientId, clientId);
    if (hostname !== undefined) options.set(Option.hostName, new TextEncoder().encode(hostname));
    if (type !== MessageType.release) options.set(Option.parameterList, PARAMETERS);
    const message: DhcpMessage = {
      op: 1,
      hops: 0,
      xid: this.xid,
      secs: 0,
      broadcast: false,
      ciaddr: lease === undefined ? IPV4_ANY : parseIpv4(lease.ip)!,
      yiaddr: IPV4_ANY,
      siaddr: IPV4_ANY,
      giaddr: IPV4_ANY,
      chaddr: this.mac,
      options,
    };
    this.socket.send(encodeDhcp(message), lease?.server ?? '255.255.255.255', DHCP_SERVER_PORT);
  }

  private async answer(wanted: readonly number[], until: Millis): Promise<DhcpMessage | undefined> {
    for (;;) {
      const left = until - this.udp.wire.now();
      if (left <= 0) return undefined;
      const datagram = await this.socket.recv({ timeout: left }).catch((error: unknown) => {
        if ((error as GuestError).code === 'EBADF') throw error;
        return undefined;
      });
      if (datagram === undefined) return undefined;
      const message = parseDhcp(datagram.bytes);
      if (typeof message === 'string' || message.op !== 2 || message.xid !== this.xid) continue;
      if (wanted.includes(typeOf(message) ?? 0)) return message;
    }
  }
}

function typeOf(message: DhcpMessage): number | undefined {
  return readU8(message.options.get(Option.messageType));
}

function leaseOf(message: DhcpMessage): GuestLease {
  const { options } = message;
  const mask = readAddress(options.get(Option.subnetMask)) ?? (0xffffff00 as Ipv4);
  const gateway = readAddresses(options.get(Option.router))?.[0];
  return {
    ip: formatIpv4(message.yiaddr),
    prefix: 32 - Math.round(Math.log2(2 ** 32 - mask)),
    gateway: gateway === undefined ? undefined : formatIpv4(gateway),
    dns: (readAddresses(options.get(Option.dnsServer)) ?? []).map(formatIpv4),
    mtu: readU16(options.get(Option.interfaceMtu)),
    seconds: readU32(options.get(Option.leaseTime)) ?? 0,
    domain: readText(options.get(Option.domainName)),
    search: readSearchList(options.get(Option.domainSearch)) ?? [],
    server: formatIpv4(readAddress(options.get(Option.serverId)) ?? IPV4_ANY),
    message,
  };
}

function address(text: string): Uint8Array {
  const ip = parseIpv4(text);
  if (ip === undefined) throw new GuestError('EINVAL', `"${text}" is no IPv4 address`);
  return Uint8Array.of(ip >>> 24, ip >>> 16, ip >>> 8, ip);
}
