export * from './codes.js';
export {
  emitDhcp,
  emittedDhcpLength,
  encodeDhcp,
  parseDhcp,
  type DhcpMessage,
  type DhcpOptions,
  type DhcpParseError,
} from './wire.js';
export {
  readAddress,
  readAddresses,
  readRoutes,
  readText,
  readU16,
  readU32,
  readU8,
  type DhcpRoute,
} from './options.js';
export { isSearchDomain, readSearchList } from './search.js';
export { type GuestKey, type ReserveResult, type StaticLease } from './pool.js';
export { type LeaseLimits } from './leases.js';
export { DEFAULT_LEASE_SECONDS, type DhcpSettings } from './settings.js';
export { type DhcpSnapshot, type LeaseRecord, type RestoreResult } from './snapshot.js';
export { cleanHostname, parseClientId } from './client.js';
export { DhcpServer } from './server.js';
export * from './types.js';
