export { DNS_PORT, CLASS_IN, Flag, Rcode, RecordType, ExtendedError, type RcodeName } from './codes.js';
export { encodeName, isWithin, normalName, reverseAddress, reverseName } from './names.js';
export {
  isAnswerTo,
  parseQuery,
  questionName,
  type DnsQuery,
  type ParsedQuery,
  type Question,
} from './message.js';
export { buildAnswer, fitAnswer, recordData, type AnswerParts, type DnsRecord } from './answer.js';
export {
  BuiltinNames,
  DEFAULT_ZONES,
  type BuiltinConfig,
  type ExtraHost,
  type GuestNames,
} from './builtin.js';
export { AliasUpstream } from './alias.js';
export { LinearRegExp } from './regexp.js';
export { ZONE_TYPES, type ZoneType } from './record-text.js';
export { fromGvproxy, isGvproxyZone, type GvproxyRecord, type GvproxyZone } from './zones-gvproxy.js';
export { Zones, type ZoneConfig, type ZoneRecord } from './zones.js';
export { DNS_LOGGED, DnsLog, type DnsLogEntry } from './log.js';
export { recordType, typeName } from './type-names.js';
export { HostsFileNames } from './hosts.js';
export { LATENCY_BUCKETS } from './tally.js';
export { DnsCache, type DnsCacheCounters, type DnsCacheOptions } from './cache.js';
export type { DnsTaker } from './lookups.js';
export { parseSecureServer, type SecureServer } from './secure-server.js';
export { DnsServer } from './server.js';
export { eachAddress } from './told.js';
export { DnsTcpServer, DnsTcpSession, frameTcp, type DnsTcpOptions } from './tcp.js';
export * from './types.js';
