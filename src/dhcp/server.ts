/**
 * The DHCP server (RFC 2131 section 4.3), the only one of its network.
 *
 * Theory of operation. `input` takes the UDP payload of a datagram to port 67 and returns at most one answer with the
 * place where it goes; every message that gets none is counted by reason. It knows no clock: `now` (monotonic) comes
 * with each call, `poll(now)` is due at `nextTimeout()` and lets leases expire. Leases and their limits: leases.ts.
 *
 * Supported: DISCOVER, REQUEST in all four client states, DECLINE, RELEASE, INFORM, static and reserved addresses.
 * Not supported: relay agents (there is none on this network; a relayed message would get an address of the wrong
 * subnet), BOOTP without option 53, rapid commit (RFC 4039), forcerenew, authentication.
 */
import { IPV4_ANY, MAC_ZERO, isGroupMac, type Ipv4, type Mac, type Millis } from '../core/index.js';
import { clientOf } from './client.js';
import { MessageType, Option } from './codes.js';
import { LeaseTable, type Lease } from './leases.js';
import { readAddress, readU8, text, u32, u8 } from './options.js';
import { AddressPool, type DhcpClient, type GuestKey, type ReserveResult } from './pool.js';
import {
  DEFAULT_LEASE_SECONDS,
  INFINITE_LEASE_SECONDS,
  answerOptions,
  type DhcpSettings,
} from './settings.js';
import {
  recordOf,
  restoreLeases,
  snapshotLeases,
  type DhcpSnapshot,
  type LeaseRecord,
  type RestoreResult,
} from './snapshot.js';
import type {
  DhcpConfig,
  DhcpContext,
  DhcpCounters,
  DhcpDrop,
  DhcpEvent,
  DhcpInstant,
  DhcpReply,
  LeaseInfo,
} from './types.js';
import { EVERYBODY, blank, destination } from './reply.js';
import { parseDhcp, type DhcpMessage } from './wire.js';

export class DhcpServer {
  private readonly config: DhcpConfig;
  private readonly table: LeaseTable;
  private readonly received = { discover: 0, request: 0, decline: 0, release: 0, inform: 0 };
  private readonly sent = { offer: 0, ack: 0, nak: 0 };
  private readonly drops: Partial<Record<DhcpDrop, number>> = {};
  private readonly addresses = { reused: 0, conflicts: 0, vacated: 0 };
  readonly counters: DhcpCounters = {
    received: this.received,
    sent: this.sent,
    drops: this.drops,
    addresses: this.addresses,
  };

  constructor(config: DhcpConfig) {
    this.config = config;
    const pool = new AddressPool({
      subnet: config.subnet,
      excluded: [config.gateway, ...(config.excluded ?? [])],
      range: config.range,
      statics: config.statics,
    });
    this.table = new LeaseTable(pool, config, config.inUse ?? (() => false), {
      expired: (lease) => this.tell('expired', lease),
      changed: (ip) => config.recordChanged?.(ip),
    });
  }

  /** Parses and handles a UDP payload. Never throws. */
  input(bytes: Uint8Array, offset: number, length: number, context: DhcpContext): DhcpReply | undefined {
    const message = parseDhcp(bytes, offset, length);
    return typeof message === 'string' ? this.drop(message) : this.handle(message, context);
  }

  /** Handles a message; returns the answer, or nothing where there is none to give. */
  handle(request: DhcpMessage, context: DhcpContext): DhcpReply | undefined {
    this.table.poll(context.now);
    if (request.op !== 1) return this.drop('notARequest');
    if (request.giaddr !== IPV4_ANY) return this.drop('relayed');
    if (isGroupMac(request.chaddr) || request.chaddr === MAC_ZERO) return this.drop('badHardware');
    const client = clientOf(request, context.guestId);
    switch (readU8(request.options.get(Option.messageType))) {
      case MessageType.discover:
        this.received.discover++;
        return this.discover(request, client, context.now);
      case MessageType.request:
        this.received.request++;
        return this.request(request, client, context.now);
      case MessageType.decline:
        this.received.decline++;
        return this.decline(request, client, context.now);
      case MessageType.release:
        this.received.release++;
        return this.release(request, client);
      case MessageType.inform:
        this.received.inform++;
        return this.inform(request, client);
      default:
        return this.drop('notARequest');
    }
  }

  /** When `poll` has something to do next; Infinity when never. */
  nextTimeout(): Millis {
    return this.table.nextTimeout();
  }

  /** Lets leases expire. */
  poll(now: Millis): void {
    this.table.poll(now);
  }

  /** Leases in force, by address. */
  leases(): readonly LeaseInfo[] {
    const bound = [...this.table.values()].filter((lease) => lease.state === 'bound');
    return bound.sort((a, b) => a.ip - b.ip).map(infoOf);
  }

  /** The lease in force on an address. */
  leaseAt(ip: Ipv4): LeaseInfo | undefined {
    const lease = this.table.at(ip);
    return lease?.state === 'bound' ? infoOf(lease) : undefined;
  }

  /** The address of a client by its host name (case ignored); where several have one name, the lowest address. */
  addressOf(hostname: string): Ipv4 | undefined {
    const name = hostname.toLowerCase();
    return this.leases().find((lease) => lease.hostname === name)?.ip;
  }

  /** The address that a guest had when the process before this one ended, while nobody has said anything about it. */
  restoredAddress(guest: GuestKey): Ipv4 | undefined {
    for (const lease of this.table.values())
      if (lease.state === 'bound' && lease.guest === undefined && lease.restoredGuest === guest)
        return lease.ip;
    return undefined;
  }

  /** The address leased to a MAC address; where it has several leases, the lowest. */
  addressOfMac(mac: Mac): Ipv4 | undefined {
    let lowest: Ipv4 | undefined;
    for (const lease of this.table.values())
      if (lease.state === 'bound' && lease.mac === mac && (lowest === undefined || lease.ip < lowest))
        lowest = lease.ip;
    return lowest;
  }

  /**
   * Keeps an address for a guest, whatever ids its system uses: clients of one MAC take it over from each other.
   * `taken` when it is kept for or held by another one, `outOfRange` when no guest may have it. Loosely: whoever has a
   * lease on it, or on another address, goes on with that.
   */
  reserve(guest: GuestKey, ip: Ipv4, loosely = false): ReserveResult {
    return this.table.reserve(guest, ip, loosely);
  }

  /** Drops a guest's reservation; its lease runs on. */
  unreserve(guest: GuestKey): void {
    this.table.pool.unreserve(guest);
  }

  /** Tells that a guest went away: its leases run on and go to whoever comes back with the same ids. */
  detach(guest: GuestKey, now: Millis): void {
    this.table.detach(guest, now);
  }

  /**
   * For a DISCOVER: the address of this guest's place, when another machine of it holds the lease. Whether that machine is
   * still there is the caller's to find out; if not, `vacate`.
   */
  heldByPredecessor(request: DhcpMessage, context: DhcpContext): Ipv4 | undefined {
    const found = this.table.predecessor(clientOf(request, context.guestId), context.now);
    return found === undefined || found.gone ? undefined : found.lease.ip;
  }

  /** Ends the lease on an address: its holder is no longer there. */
  vacate(ip: Ipv4): void {
    const lease = this.table.at(ip);
    if (lease?.state !== 'bound') return;
    this.addresses.vacated++;
    this.table.release(lease);
    this.tell('released', lease);
  }

  /** Sets an offered address aside, as after a DECLINE: somebody was found to use it. */
  conflict(ip: Ipv4, now: Millis): void {
    const lease = this.table.at(ip);
    if (lease?.state !== 'offered') return;
    this.addresses.conflicts++;
    this.table.decline(lease, now);
    this.tell('declined', lease);
  }

  /** What is to be kept of an address over a restart; undefined when nothing is. */
  record(ip: Ipv4, at: DhcpInstant): LeaseRecord | undefined {
    const lease = this.table.at(ip);
    return lease === undefined ? undefined : recordOf(lease, at);
  }

  /** All leases worth keeping over a restart, as plain JSON. */
  snapshot(at: DhcpInstant): DhcpSnapshot {
    return snapshotLeases(this.table, at);
  }

  /** Takes a snapshot back, entry by entry: what is damaged or does not fit this network is left out and counted. */
  restore(data: unknown, at: DhcpInstant): RestoreResult {
    return restoreLeases(this.table, data, at, this.leaseMillis(this.config.settings ?? {}));
  }

  private discover(request: DhcpMessage, client: DhcpClient, now: Millis): DhcpReply | undefined {
    const before = this.table.find(client)?.ip;
    const predecessor = this.table.predecessor(client, now);
    if (predecessor?.gone === true) this.vacate(predecessor.lease.ip);
    const lease = this.table.offer(client, readAddress(request.options.get(Option.requestedAddress)), now);
    this.addresses.reused = this.table.reused;
    if (typeof lease === 'string') return this.drop(lease);
    this.sent.offer++;
    return this.answer(request, MessageType.offer, lease.ip, client, lease.ip !== before);
  }

  /** RFC 2131 section 4.3.2 tells the client's state from which of these three are there. */
  private request(request: DhcpMessage, client: DhcpClient, now: Millis): DhcpReply | undefined {
    const server = readAddress(request.options.get(Option.serverId));
    const requested = readAddress(request.options.get(Option.requestedAddress));
    const { ciaddr } = request;
    if (server !== undefined && server !== this.config.gateway) {
      // The client took another server's offer.
      const lease = this.table.find(client);
      if (lease?.state === 'offered') this.table.release(lease);
      return this.drop('otherServer');
    }
    if (requested !== undefined && ciaddr === IPV4_ANY) {
      return server === undefined
        ? this.initReboot(request, client, requested, now)
        : this.selecting(request, client, requested, now);
    }
    // A server id with ciaddr and no requested address is a renewal by a client that says too much.
    if (ciaddr !== IPV4_ANY) return this.extending(request, client, ciaddr, now);
    return this.drop('malformed');
  }

  private selecting(request: DhcpMessage, client: DhcpClient, ip: Ipv4, now: Millis): DhcpReply | undefined {
    switch (this.table.claim(client, ip)) {
      case 'own':
      case 'unknown':
        return this.bind(request, client, ip, now);
      case 'other':
        return this.nak(request, 'not the address that was offered');
      case 'impossible':
        return this.nak(request, 'address not available');
    }
  }

  private initReboot(request: DhcpMessage, client: DhcpClient, ip: Ipv4, now: Millis): DhcpReply | undefined {
    if (!this.table.pool.inSubnet(ip)) return this.nak(request, 'wrong network');
    const known = this.table.find(client) !== undefined;
    const claim = this.table.claim(client, ip);
    if (claim === 'own') return this.bind(request, client, ip, now);
    if (!known && this.config.authoritative !== true) return this.drop('unknownLease');
    return claim === 'unknown'
      ? this.bind(request, client, ip, now)
      : this.nak(request, 'address not available');
  }

  /** RENEWING and REBINDING: the client has the address and uses it. */
  private extending(request: DhcpMessage, client: DhcpClient, ip: Ipv4, now: Millis): DhcpReply | undefined {
    if (!this.table.pool.inSubnet(ip)) return this.nak(request, 'wrong network');
    const claim = this.table.claim(client, ip);
    // An address that we know nothing of and nobody else has: a lease from before a restart goes on.
    if (claim === 'own' || claim === 'unknown') return this.bind(request, client, ip, now);
    return this.nak(request, 'address not available');
  }

  private bind(request: DhcpMessage, client: DhcpClient, ip: Ipv4, now: Millis): DhcpReply | undefined {
    const before = this.table.find(client);
    const renewed = before?.ip === ip && before.state === 'bound';
    const lease = this.table.bind(client, ip, now + this.leaseMillis(this.settingsOf(client)));
    if (typeof lease === 'string') return this.drop(lease);
    this.tell(renewed ? 'renewed' : 'bound', lease);
    this.sent.ack++;
    return this.answer(request, MessageType.ack, ip, client);
  }

  private decline(request: DhcpMessage, client: DhcpClient, now: Millis): DhcpReply | undefined {
    // systemd-networkd (252) names the address where a client is that has it: RFC 2131 table 5 wants option 50.
    const named = readAddress(request.options.get(Option.requestedAddress)) ?? request.ciaddr;
    const lease = this.named(request, client, named);
    if (typeof lease === 'string') return this.drop(lease);
    this.table.decline(lease, now);
    this.tell('declined', lease);
    return undefined;
  }

  private release(request: DhcpMessage, client: DhcpClient): DhcpReply | undefined {
    const lease = this.named(request, client, request.ciaddr);
    if (typeof lease === 'string') return this.drop(lease);
    const bound = lease.state === 'bound';
    this.table.release(lease);
    if (bound) this.tell('released', lease);
    return undefined;
  }

  /** The client's lease that a DECLINE or RELEASE is about, or why there is none. */
  private named(request: DhcpMessage, client: DhcpClient, ip: Ipv4 | undefined): Lease | DhcpDrop {
    const server = readAddress(request.options.get(Option.serverId));
    if (server !== undefined && server !== this.config.gateway) return 'otherServer';
    if (ip === undefined || ip === IPV4_ANY) return 'malformed';
    const lease = this.table.find(client);
    const held = lease?.ip === ip && (lease.state === 'bound' || lease.state === 'offered');
    return held ? lease : 'unknownLease';
  }

  /** RFC 2131 section 4.3.5: options only, no lease, straight to the address that the client has. */
  private inform(request: DhcpMessage, client: DhcpClient): DhcpReply | undefined {
    if (request.ciaddr === IPV4_ANY) return this.drop('malformed');
    if (!this.table.pool.inSubnet(request.ciaddr)) return this.drop('wrongNetwork');
    this.sent.ack++;
    return this.answer(request, MessageType.ack, IPV4_ANY, client);
  }

  private answer(
    request: DhcpMessage,
    type: MessageType,
    yiaddr: Ipv4,
    client: DhcpClient,
    fresh = false,
  ): DhcpReply {
    const { gateway, subnet } = this.config;
    const options = answerOptions(request, type, gateway, this.settingsOf(client), subnet);
    const promises = type === MessageType.ack && yiaddr !== IPV4_ANY;
    const ciaddr = type === MessageType.ack ? request.ciaddr : IPV4_ANY;
    return {
      message: { ...blank(request), ciaddr, yiaddr, options },
      to: destination(request, yiaddr),
      fresh,
      promises,
    };
  }

  private nak(request: DhcpMessage, why: string): DhcpReply {
    this.sent.nak++;
    const options = new Map([
      [Option.messageType, u8(MessageType.nak)],
      [Option.serverId, u32(this.config.gateway)],
      [Option.message, text(why)],
    ] as [number, Uint8Array][]);
    const clientId = request.options.get(Option.clientId);
    if (clientId !== undefined) options.set(Option.clientId, clientId);
    // RFC 2131 section 4.1: a NAK is broadcast, because the client may not have the address that it thinks it has.
    return { message: { ...blank(request), options }, to: EVERYBODY, fresh: false, promises: false };
  }

  private settingsOf(client: DhcpClient): DhcpSettings {
    const { config } = this;
    const told = config.settings ?? {};
    const fixed = this.table.pool.staticFor(client);
    const name = fixed?.hostname === undefined ? {} : { hostname: fixed.hostname };
    const base = { routers: [config.gateway], dns: [config.gateway], ...told };
    const own = client.guest === undefined ? undefined : config.settingsFor?.(client.guest);
    return { ...base, ...own, ...name, ...fixed?.settings };
  }

  private leaseMillis(settings: DhcpSettings): Millis {
    const seconds = settings.leaseSeconds ?? DEFAULT_LEASE_SECONDS;
    return seconds >= INFINITE_LEASE_SECONDS ? Number.POSITIVE_INFINITY : seconds * 1000;
  }

  private tell(kind: DhcpEvent['kind'], lease: Lease): void {
    this.config.changed?.({ kind, lease: infoOf(lease) });
  }

  private drop(reason: DhcpDrop): DhcpReply | undefined {
    this.drops[reason] = (this.drops[reason] ?? 0) + 1;
    return undefined;
  }
}

function infoOf(lease: Lease): LeaseInfo {
  const { ip, mac, hostname, clientId, guest, until } = lease;
  return { ip, mac, hostname, clientId, guest, expires: until };
}
