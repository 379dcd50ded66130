/** What the server tells clients, and how it becomes the options of an answer. */
import { cidrLast, prefixMask, type Cidr, type Ipv4 } from '../core/index.js';
import { MessageType, Option } from './codes.js';
import { addresses, readU16, routes, text, u16, u32, u8, type DhcpRoute } from './options.js';
import { searchList } from './search.js';
import { emittedOptionLength, optionRoom, type DhcpMessage, type DhcpOptions } from './wire.js';

/** What a client is told beside its address. */
export interface DhcpSettings {
  /** Default gateway; none when empty or absent. */
  readonly routers?: readonly Ipv4[] | undefined;
  readonly dns?: readonly Ipv4[] | undefined;
  readonly ntp?: readonly Ipv4[] | undefined;
  readonly mtu?: number | undefined;
  readonly domain?: string | undefined;
  readonly search?: readonly string[] | undefined;
  /** Classless static routes; the default route is added, because a client that takes them ignores the router. */
  readonly routes?: readonly DhcpRoute[] | undefined;
  /** Told as the client's host name. */
  readonly hostname?: string | undefined;
  /** Seconds, 120 to 2^32 - 1; 2^32 - 1 never ends. Default 86,400. */
  readonly leaseSeconds?: number | undefined;
  /** T1, seconds. Default half of the lease (RFC 2131 section 4.4.5). */
  readonly renewalSeconds?: number | undefined;
  /** T2, seconds. Default 7/8 of the lease. */
  readonly rebindingSeconds?: number | undefined;
}

export const DEFAULT_LEASE_SECONDS = 86_400;
export const INFINITE_LEASE_SECONDS = 0xffffffff;
/** RFC 2131 section 2: every client takes 576 bytes of IP datagram, that is 548 of message. */
const MIN_DATAGRAM = 576;
const MAX_DATAGRAM = 1500;
const IP_AND_UDP = 28;

/** Everything that can be told, by option code, in the order for a client that asks for nothing in particular. */
export function offerable(settings: DhcpSettings, subnet: Cidr): ReadonlyMap<number, Uint8Array> {
  const all = new Map<number, Uint8Array>();
  const put = (code: number, value: Uint8Array | undefined): void => {
    if (value !== undefined && value.length > 0) all.set(code, value);
  };
  const lease = settings.leaseSeconds ?? DEFAULT_LEASE_SECONDS;
  put(Option.subnetMask, u32(prefixMask(subnet.prefix)));
  put(Option.classlessRoutes, settings.routes?.length ? routes(withDefault(settings)) : undefined);
  put(Option.router, addresses(settings.routers ?? []));
  put(Option.dnsServer, addresses(settings.dns ?? []));
  put(Option.hostName, text(settings.hostname ?? ''));
  put(Option.domainName, text(settings.domain ?? ''));
  put(Option.interfaceMtu, settings.mtu === undefined ? undefined : u16(settings.mtu));
  put(Option.broadcastAddress, u32(cidrLast(subnet)));
  put(Option.ntpServer, addresses(settings.ntp ?? []));
  put(Option.renewalTime, u32(settings.renewalSeconds ?? share(lease, 0.5)));
  put(Option.rebindingTime, u32(settings.rebindingSeconds ?? share(lease, 0.875)));
  put(Option.domainSearch, searchList(settings.search ?? []));
  return all;
}

function share(lease: number, part: number): number {
  return lease >= INFINITE_LEASE_SECONDS ? lease : Math.floor(lease * part);
}

function withDefault(settings: DhcpSettings): readonly DhcpRoute[] {
  const list = settings.routes ?? [];
  const router = settings.routers?.[0];
  if (router === undefined || list.some((route) => route.destination.prefix === 0)) return list;
  return [...list, { destination: { base: 0 as Ipv4, prefix: 0 }, router }];
}

/**
 * The options of an OFFER or ACK (RFC 2131 section 4.3.1): those that every answer has, then what the client asked
 * for in its order, as far as the client's longest message goes. Without a parameter list it gets everything.
 */
export function answerOptions(
  request: DhcpMessage,
  type: MessageType,
  serverId: Ipv4,
  settings: DhcpSettings,
  subnet: Cidr,
): DhcpOptions {
  const answer = new Map<number, Uint8Array>([
    [Option.messageType, u8(type)],
    [Option.serverId, u32(serverId)],
  ]);
  const leased = request.options.get(Option.messageType)?.[0] !== MessageType.inform;
  if (leased) answer.set(Option.leaseTime, u32(settings.leaseSeconds ?? DEFAULT_LEASE_SECONDS));
  // RFC 6842: the client id comes back, so that clients behind one hardware address know theirs.
  const clientId = request.options.get(Option.clientId);
  if (clientId !== undefined) answer.set(Option.clientId, clientId);

  const all = offerable(settings, subnet);
  let room = optionRoom(longestMessage(request));
  for (const value of answer.values()) room -= emittedOptionLength(value);
  for (const code of wanted(request, settings, all)) {
    const value = all.get(code);
    if (value === undefined || answer.has(code)) continue;
    if (!leased && (code === Option.renewalTime || code === Option.rebindingTime)) continue;
    room -= emittedOptionLength(value);
    if (room >= 0) answer.set(code, value);
    else room += emittedOptionLength(value);
  }
  return answer;
}

function wanted(
  request: DhcpMessage,
  settings: DhcpSettings,
  all: ReadonlyMap<number, Uint8Array>,
): readonly number[] {
  const list = request.options.get(Option.parameterList);
  if (list === undefined || list.length === 0) return [...all.keys()];
  const codes = [...list];
  // RFC 2132 section 3.3: the mask goes before the router, however the client orders them.
  const router = codes.indexOf(Option.router);
  if (router >= 0 && codes.includes(Option.subnetMask)) codes.splice(router, 0, Option.subnetMask);
  if (settings.renewalSeconds !== undefined) codes.push(Option.renewalTime);
  if (settings.rebindingSeconds !== undefined) codes.push(Option.rebindingTime);
  return codes;
}

function longestMessage(request: DhcpMessage): number {
  const asked = readU16(request.options.get(Option.maxMessageSize)) ?? MIN_DATAGRAM;
  return Math.min(Math.max(asked, MIN_DATAGRAM), MAX_DATAGRAM) - IP_AND_UDP;
}
