/** A virtual network of all the parts. */
export * from './types.js';
export { Network, STOP_DEADLINE } from './network.js';
export type { DnsControl, DnsExplainQuery, DnsExplainedStep, DnsExplanation } from './dns-control.js';
export type { DnsLogEntry } from '../dns/index.js';
export { Guest } from './guest.js';
export { resolveAddresses, type Addresses } from './addresses.js';
