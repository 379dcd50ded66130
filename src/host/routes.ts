/** The host's own addresses and the networks that it has routes to. */
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { type Cidr, type Ipv4, cidrContains, ipv4, parseIpv4 } from '../core/index.js';

/** How long the list of own addresses is believed, ms. */
const FRESH = 1000;

/** Tells whether an address is on one of the host's interfaces; looks again when the answer is old. */
export function ownAddresses(now: () => number): (ip: Ipv4) => boolean {
  let known = new Set<Ipv4>();
  let read = Number.NEGATIVE_INFINITY;
  return (ip) => {
    if (now() - read > FRESH) {
      read = now();
      known = new Set(
        Object.values(networkInterfaces())
          .flatMap((list) => list ?? [])
          .flatMap((one) => parseIpv4(one.address) ?? []),
      );
    }
    return known.has(ip);
  };
}

/** Networks in the host's routing table and on its interfaces, but for the default route and interfaces left out. */
export function hostNetworks(except: (name: string) => boolean = () => false): Cidr[] {
  const networks: Cidr[] = [];
  for (const [name, list] of Object.entries(networkInterfaces())) {
    if (except(name)) continue;
    for (const one of list ?? []) {
      const base = parseIpv4(one.address);
      const prefix = Number(one.cidr?.split('/')[1] ?? 32);
      if (base !== undefined && prefix > 0)
        networks.push({ base: ipv4(base & (-1 << (32 - prefix))), prefix });
    }
  }
  for (const line of routeLines()) {
    const [name, destination, , flags, , , , mask] = line.split('\t');
    if (except(name ?? '')) continue;
    if (destination === undefined || mask === undefined || (Number.parseInt(flags ?? '0', 16) & 1) === 0)
      continue;
    const bits = swap(mask);
    const prefix = Math.clz32(~bits);
    if (prefix > 0) networks.push({ base: swap(destination), prefix });
  }
  return networks;
}

function routeLines(): string[] {
  try {
    return readFileSync('/proc/net/route', 'utf8').trim().split('\n').slice(1);
  } catch {
    // Not Linux: the interfaces' own networks are all we know.
    return [];
  }
}

/** /proc/net/route prints addresses in the machine's byte order. */
function swap(hex: string): Ipv4 {
  const bytes = Buffer.from(hex.padStart(8, '0'), 'hex');
  return ipv4(bytes.readUInt32LE(0));
}

export function networksOverlap(a: Cidr, b: Cidr): boolean {
  return a.prefix <= b.prefix ? cidrContains(a, b.base) : cidrContains(b, a.base);
}
