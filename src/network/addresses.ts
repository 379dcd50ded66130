/** The addresses of a network, from what was configured and what the host leaves free. */
import {
  type Cidr,
  type Ipv4,
  type Mac,
  NetproxyError,
  cidrContains,
  cidrLast,
  formatCidr,
  formatIpv4,
  ipv4,
  isGroupMac,
  parseCidr,
  parseIpv4,
  parseMac,
} from '../core/index.js';
import { networksOverlap } from '../host/index.js';
import type { NetworkConfig } from './types.js';

/** MTU limits: RFC 791's smallest for a host, and what virtio and a TAP carry. */
export const MIN_MTU = 576;
export const MAX_MTU = 65_520;

const DEFAULT_MAC = '5a:94:ef:e4:0c:dd' as Mac;
/** Tried in this order: the networks that gvproxy and vpnkit users know, then some that few have. */
const CANDIDATES = [
  '192.168.127.0/24',
  '192.168.65.0/24',
  '192.168.227.0/24',
  '10.127.127.0/24',
  '172.29.127.0/24',
  '198.19.127.0/24',
];

export interface Addresses {
  readonly subnet: Cidr;
  readonly gatewayIp: Ipv4;
  readonly gatewayMac: Mac;
  readonly guestIp: Ipv4;
  readonly hostAlias: Ipv4 | undefined;
  readonly mtu: number;
}

function bad(key: string, value: unknown, allowed: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', `bad ${key} ${JSON.stringify(value)}`, {
    remedy: `Allowed is ${allowed}.`,
  });
}

/** Resolves the addresses; throws ERR_NETPROXY_CONFIG. `taken`: networks that the host has routes into. */
export function resolveAddresses(config: NetworkConfig, taken: () => readonly Cidr[]): Addresses {
  const subnet = chooseSubnet(config, taken);
  const within = (key: string, text: string | undefined, fallback: number): Ipv4 => {
    if (text === undefined) return ipv4(fallback);
    const ip = parseIpv4(text);
    if (ip === undefined) throw bad(key, text, 'an IPv4 address');
    if (!cidrContains(subnet, ip) || ip === subnet.base || ip === cidrLast(subnet))
      throw bad(key, text, `an address of the subnet ${formatCidr(subnet)}, not its first or last`);
    return ip;
  };
  const gatewayIp = within('gatewayIp', config.gatewayIp, subnet.base + 1);
  const guestIp = within(
    'guestIp',
    config.guestIp,
    gatewayIp === subnet.base + 2 ? subnet.base + 3 : subnet.base + 2,
  );
  const hostAlias =
    config.hostAlias === false ? undefined : within('hostAlias', config.hostAlias, cidrLast(subnet) - 1);
  if (gatewayIp === guestIp || gatewayIp === hostAlias || guestIp === hostAlias)
    throw bad(
      'addresses',
      { gatewayIp: config.gatewayIp, guestIp: config.guestIp, hostAlias: config.hostAlias },
      'three different addresses for gateway, guest and host alias',
    );
  const gatewayMac = config.gatewayMac === undefined ? DEFAULT_MAC : parseMac(config.gatewayMac);
  if (gatewayMac === undefined || isGroupMac(gatewayMac))
    throw bad('gatewayMac', config.gatewayMac, 'a unicast MAC address such as 5a:94:ef:e4:0c:dd');
  const mtu = config.mtu ?? 1500;
  if (!Number.isInteger(mtu) || mtu < MIN_MTU || mtu > MAX_MTU)
    throw bad('mtu', config.mtu, `a whole number of bytes, ${MIN_MTU} to ${MAX_MTU}`);
  return { subnet, gatewayIp, gatewayMac, guestIp, hostAlias, mtu };
}

function chooseSubnet(config: NetworkConfig, taken: () => readonly Cidr[]): Cidr {
  const named = config.gatewayIp ?? config.guestIp;
  if (config.subnet === undefined && named !== undefined) {
    const ip = parseIpv4(named);
    if (ip === undefined)
      throw bad(config.gatewayIp === undefined ? 'guestIp' : 'gatewayIp', named, 'an IPv4 address');
    return { base: ipv4(ip & 0xffffff00), prefix: 24 };
  }
  if (config.subnet !== undefined) {
    const subnet = parseCidr(config.subnet);
    if (subnet === undefined || !config.subnet.includes('/') || subnet.prefix < 8 || subnet.prefix > 29)
      throw bad('subnet', config.subnet, 'an IPv4 network of /8 to /29, such as 192.168.127.0/24');
    const first = subnet.base >>> 24;
    if (first === 0 || first === 127 || first >= 224)
      throw bad('subnet', config.subnet, 'a network of unicast addresses');
    return subnet;
  }
  const used = taken();
  for (const text of CANDIDATES) {
    const candidate = parseCidr(text)!;
    if (!used.some((network) => networksOverlap(network, candidate))) return candidate;
  }
  throw new NetproxyError(
    'ERR_NETPROXY_CONFIG',
    `the host has routes into every network that netproxy would choose (${CANDIDATES.join(', ')})`,
    {
      remedy: 'Name a free one, for example --subnet 10.200.0.0/24.',
    },
  );
}

/** The MAC address that a guest is held to; throws ERR_NETPROXY_CONFIG. */
export function parseGuestMac(text: string | undefined): Mac | undefined {
  if (text === undefined) return undefined;
  const mac = parseMac(text);
  if (mac !== undefined) return mac;
  throw new NetproxyError('ERR_NETPROXY_CONFIG', `"${text}" is no MAC address`, {
    remedy: 'Allowed is a MAC address such as 52:54:00:12:34:56.',
  });
}

/** As text. */
export function formatAddresses({ subnet, gatewayIp, gatewayMac, guestIp, hostAlias, mtu }: Addresses) {
  return {
    subnet: formatCidr(subnet),
    gateway: formatIpv4(gatewayIp),
    gatewayMac,
    guest: formatIpv4(guestIp),
    hostAlias: hostAlias === undefined ? undefined : formatIpv4(hostAlias),
    mtu,
  };
}
