/** A virtual network of all the parts. */
export * from './types.js';
export { Network, STOP_DEADLINE } from './network.js';
export type { DnsControl, DnsExplainQuery, DnsExplainedStep, DnsExplanation } from './dns-control.js';
export type { ProxyControl, ProxyExplanation, ProxyStatus, ProxyUpstreamStatus } from './proxy-control.js';
export type { ProxyChoice } from './proxy-config.js';
export type { PacStatus, ProxySourceName, SystemProxySource } from '../host/index.js';
export type { DnsLogEntry } from '../dns/index.js';
export { Guest } from './guest.js';
export { resolveAddresses, type Addresses } from './addresses.js';
