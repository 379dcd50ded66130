/**
 * Leases as plain data, for a file that survives a restart. Times are wall time there, because the monotonic clock
 * begins anew; what a file says is not trusted.
 */
import { formatIpv4, parseIpv4, parseMac, type Millis } from '../core/index.js';
import { cleanHostname, clientKey } from './client.js';
import type { Lease, LeaseTable } from './leases.js';

/** One lease: in force, or kept so that its client finds it again. */
export interface LeaseRecord {
  readonly ip: string;
  readonly mac: string;
  /** Hexadecimal. */
  readonly clientId?: string;
  readonly hostname?: string;
  /** Name of the guest, where it has one. */
  readonly guest?: string;
  readonly state: 'bound' | 'free';
  /** Milliseconds since 1970; absent for never, and when it is free. */
  readonly expires?: number;
}

export interface DhcpSnapshot {
  readonly version: 1;
  readonly leases: readonly LeaseRecord[];
}

export interface RestoreResult {
  readonly restored: number;
  readonly rejected: number;
}

interface Instant {
  readonly now: Millis;
  readonly wall: Millis;
}

/** Bound and free leases, the longest free first, so that the order of reuse survives. */
export function snapshotLeases(table: LeaseTable, at: Instant): DhcpSnapshot {
  const leases = [...table.inOrderOfReuse()].flatMap((lease) => recordOf(lease, at) ?? []);
  return { version: 1, leases };
}

/** What is kept of a lease; nothing of one that is only offered or was declined. */
export function recordOf(lease: Lease, at: Instant): LeaseRecord | undefined {
  if (lease.state !== 'bound' && lease.state !== 'free') return undefined;
  const guest = lease.guest ?? lease.formerGuest ?? lease.restoredGuest;
  const expires = lease.state === 'bound' && Number.isFinite(lease.until);
  return {
    ip: formatIpv4(lease.ip),
    mac: lease.mac,
    ...(lease.clientId === undefined ? {} : { clientId: lease.clientId }),
    ...(lease.hostname === undefined ? {} : { hostname: lease.hostname }),
    ...(typeof guest === 'string' ? { guest } : {}),
    state: lease.state,
    ...(expires ? { expires: Math.round(at.wall + lease.until - at.now) } : {}),
  };
}

/** `longest` bounds what is left of a lease, should the wall clock have jumped. */
export function restoreLeases(table: LeaseTable, data: unknown, at: Instant, longest: Millis): RestoreResult {
  const records = isObject(data) && data.version === 1 && Array.isArray(data.leases) ? data.leases : [];
  let restored = 0;
  for (const record of records as readonly unknown[]) {
    if (restoreOne(table, record, at, longest)) restored++;
  }
  return { restored, rejected: records.length - restored };
}

function restoreOne(table: LeaseTable, record: unknown, at: Instant, longest: Millis): boolean {
  if (!isObject(record)) return false;
  const ip = typeof record.ip === 'string' ? parseIpv4(record.ip) : undefined;
  const mac = typeof record.mac === 'string' ? parseMac(record.mac) : undefined;
  const { clientId, hostname, state, expires } = record;
  if (ip === undefined || mac === undefined || (state !== 'bound' && state !== 'free')) return false;
  if (clientId !== undefined && (typeof clientId !== 'string' || !/^([0-9a-f]{2}){2,255}$/.test(clientId))) {
    return false;
  }
  if (expires !== undefined && (typeof expires !== 'number' || !Number.isFinite(expires))) return false;
  const name = typeof hostname === 'string' ? cleanHostname(hostname) : undefined;
  const key = clientKey(mac, clientId);
  const client = { key, mac, clientId, hostname: name, guest: undefined };
  const left = expires === undefined ? Number.POSITIVE_INFINITY : Math.min(expires - at.wall, longest);
  if (state === 'free' || left <= 0) return table.restore(client, ip, 'free', Number.POSITIVE_INFINITY);
  if (!table.restore(client, ip, 'bound', at.now + left)) return false;
  const lease = table.at(ip);
  if (lease !== undefined && typeof record.guest === 'string') lease.restoredGuest = record.guest;
  return true;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
