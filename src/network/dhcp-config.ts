/** What DHCP hands out and tells, from the configuration: checked here, once, in words for people. */
import {
  type Cidr,
  type Ipv4,
  NetproxyError,
  cidrContains,
  cidrLast,
  formatCidr,
  formatIpv4,
  isMulticastIpv4,
  parseCidr,
  parseIpv4,
  parseMac,
} from '../core/index.js';
import {
  DEFAULT_LEASE_SECONDS,
  type DhcpRoute,
  type DhcpSettings,
  type StaticLease,
  cleanHostname,
  isSearchDomain,
  parseClientId,
} from '../dhcp/index.js';
import type { Addresses } from './addresses.js';
import type { DhcpAnswers, DhcpOptionsConfig, StaticLeaseConfig } from './types.js';

/** Leases shorter than a minute would be renewed all the time; 2^32 - 1 never ends. Seconds. */
export const MIN_LEASE_SECONDS = 60;
export const MAX_LEASE_SECONDS = 0xffffffff;
/** Entries of one list that clients are told: what fits into a DHCP message beside the rest. */
export const MAX_TOLD = 16;

/** An address kept for a guest by its name. */
export interface GuestAddress {
  readonly ip: Ipv4;
  readonly settings: DhcpSettings;
}

export interface DhcpPlan {
  readonly settings: DhcpSettings;
  /** By MAC address and client id. */
  readonly statics: readonly StaticLease[];
  readonly byGuest: ReadonlyMap<string, GuestAddress>;
}

function bad(what: string, remedy: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', what, { remedy });
}

/** Throws ERR_NETPROXY_CONFIG. */
export function dhcpPlan(config: DhcpOptionsConfig | undefined, addresses: Addresses): DhcpPlan {
  const statics: StaticLease[] = [];
  const byGuest = new Map<string, GuestAddress>();
  const kept = new Map<string, string>();
  for (const entry of config?.statics ?? []) {
    const name = nameOf(entry);
    const ip = keptAddress(entry.ip, name, addresses);
    for (const key of [formatIpv4(ip), identityOf(entry, name)]) {
      const other = kept.get(key);
      if (other !== undefined)
        throw bad(`${name}: ${key} has one already (${other})`, 'Leave out one of the two.');
      kept.set(key, name);
    }
    const settings = dhcpSettings(entry, name, addresses);
    if (entry.guest !== undefined) byGuest.set(entry.guest, { ip, settings });
    else statics.push({ ip, settings, ...idsOf(entry, name), hostname: settings.hostname });
  }
  const { gatewayIp, mtu } = addresses;
  const all = { routers: [gatewayIp], dns: [gatewayIp], ntp: [gatewayIp], mtu };
  return { settings: { ...all, ...dhcpSettings(config ?? {}, 'dhcp', addresses) }, statics, byGuest };
}

function nameOf(entry: StaticLeaseConfig): string {
  const { ip, mac, clientId, guest } = entry;
  const who = guest ?? [mac, clientId].filter((id) => id !== undefined).join(' ');
  return `static lease of ${ip}${who === '' ? '' : ` for ${who}`}`;
}

/** An address that a guest can have. */
function keptAddress(text: string, name: string, addresses: Addresses): Ipv4 {
  const { subnet, gatewayIp, hostAlias } = addresses;
  const remedy = `Allowed is an address of ${formatCidr(subnet)} that is neither its first nor its last, nor the gateway's or the host alias.`;
  const ip = parseIpv4(text);
  if (ip === undefined) throw bad(`${name}: "${text}" is no IPv4 address`, remedy);
  if (!cidrContains(subnet, ip)) throw bad(`${name}: it is outside the subnet`, remedy);
  if (ip === subnet.base || ip === cidrLast(subnet))
    throw bad(`${name}: it is the network's or the broadcast address`, remedy);
  if (ip === gatewayIp) throw bad(`${name}: it is the gateway's address`, remedy);
  if (ip === hostAlias) throw bad(`${name}: it is the host alias`, remedy);
  return ip;
}

function idsOf(entry: StaticLeaseConfig, name: string): Pick<StaticLease, 'mac' | 'clientId'> {
  const mac = entry.mac === undefined ? undefined : parseMac(entry.mac);
  const clientId = entry.clientId === undefined ? undefined : parseClientId(entry.clientId);
  const wrong =
    (entry.mac !== undefined && mac === undefined) ||
    (entry.clientId !== undefined && clientId === undefined);
  if (wrong || (mac === undefined && clientId === undefined)) {
    throw bad(
      `${name}: it does not say for whom`,
      'Allowed are mac, a MAC address, and clientId, 2 to 255 bytes in hexadecimal such as 01:52:54:00:12:34:56; or guest, a name.',
    );
  }
  return { mac, clientId };
}

function identityOf(entry: StaticLeaseConfig, name: string): string {
  if (entry.guest === undefined) {
    const { mac, clientId } = idsOf(entry, name);
    return [mac, clientId].filter((id) => id !== undefined).join(' ');
  }
  if (entry.mac !== undefined || entry.clientId !== undefined)
    throw bad(`${name}: it names a guest and a machine`, 'Allowed is guest alone, or mac and clientId.');
  return `guest ${entry.guest}`;
}

/** What one client, one guest or all are told. `name` is for messages. Throws ERR_NETPROXY_CONFIG. */
export function dhcpSettings(answers: DhcpAnswers, name: string, addresses: Addresses): DhcpSettings {
  const { leaseSeconds, domain, search, router, dns, ntp, routes, hostname } = answers;
  const { subnet, gatewayIp } = addresses;
  const list = <T>(key: string, values: readonly T[]): readonly T[] => {
    if (values.length > MAX_TOLD)
      throw bad(`${name}: ${key} has ${values.length} entries`, `Allowed are ${MAX_TOLD}.`);
    return values;
  };
  const hosts = (key: string, values: readonly string[]): Ipv4[] => {
    return list(key, values).map((text) => unicast(text, `${name}: ${key}`));
  };
  for (const one of list('search', search ?? []))
    if (!isSearchDomain(one))
      throw bad(`${name}: search domain "${one}"`, 'Allowed is a DNS name such as lab.example.');
  if (leaseSeconds !== undefined && !isLeaseTime(leaseSeconds))
    throw bad(
      `${name}: leaseSeconds ${leaseSeconds}`,
      `Allowed are whole seconds, ${MIN_LEASE_SECONDS} to ${MAX_LEASE_SECONDS}.`,
    );
  checkTimes(answers, name);
  if (hostname !== undefined && cleanHostname(hostname) !== hostname.toLowerCase())
    throw bad(`${name}: host name "${hostname}"`, 'Allowed are up to 63 letters, digits and inner hyphens.');
  return withoutUndefined({
    leaseSeconds,
    renewalSeconds: answers.renewalSeconds,
    rebindingSeconds: answers.rebindingSeconds,
    domain,
    search,
    hostname,
    routers:
      router === undefined ? undefined : router === false ? [] : [onLink(router, `${name}: router`, subnet)],
    dns: dns === undefined ? undefined : hosts('dns', dns),
    ntp: ntp === undefined ? undefined : hosts('ntp', ntp),
    routes:
      routes === undefined
        ? undefined
        : list('routes', routes).map((route) => routeOf(route, name, subnet, gatewayIp)),
  });
}

/** RFC 2131 section 4.4.5: T1 before T2 before the end. */
function checkTimes(
  { leaseSeconds = DEFAULT_LEASE_SECONDS, renewalSeconds, rebindingSeconds }: DhcpAnswers,
  name: string,
): void {
  const t2 = rebindingSeconds ?? leaseSeconds * 0.875;
  const t1 = renewalSeconds ?? leaseSeconds * 0.5;
  const whole = [renewalSeconds ?? 1, rebindingSeconds ?? 1].every(
    (time) => Number.isInteger(time) && time >= 1,
  );
  if (!whole || t1 > t2 || t2 > leaseSeconds)
    throw bad(
      `${name}: renewal after ${t1} s, rebinding after ${t2} s, end after ${leaseSeconds} s`,
      'Allowed are whole seconds in this order: renewalSeconds, rebindingSeconds, leaseSeconds.',
    );
}

function isLeaseTime(seconds: number): boolean {
  return Number.isInteger(seconds) && seconds >= MIN_LEASE_SECONDS && seconds <= MAX_LEASE_SECONDS;
}

function routeOf(
  { to, via }: NonNullable<DhcpAnswers['routes']>[number],
  name: string,
  subnet: Cidr,
  gateway: Ipv4,
): DhcpRoute {
  const destination = to.includes('/') ? parseCidr(to) : undefined;
  if (destination === undefined)
    throw bad(`${name}: route to "${to}"`, 'Allowed is an IPv4 network such as 10.1.0.0/16.');
  return { destination, router: via === undefined ? gateway : onLink(via, `${name}: route via`, subnet) };
}

/** A router must be where its clients reach it without one. */
function onLink(text: string, what: string, subnet: Cidr): Ipv4 {
  const ip = parseIpv4(text);
  if (ip === undefined || !cidrContains(subnet, ip) || ip === subnet.base || ip === cidrLast(subnet))
    throw bad(`${what} "${text}"`, `Allowed is an address of ${formatCidr(subnet)}, not its first or last.`);
  return ip;
}

function unicast(text: string, what: string): Ipv4 {
  const ip = parseIpv4(text);
  const first = (ip ?? 0) >>> 24;
  if (ip === undefined || first === 0 || first === 127 || isMulticastIpv4(ip) || first >= 240)
    throw bad(`${what} "${text}"`, 'Allowed is the IPv4 address of a host that guests can reach.');
  return ip;
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as T;
}
