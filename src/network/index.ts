/** A virtual network of all the parts. */
export * from './types.js';
export { Network, STOP_DEADLINE } from './network.js';
export type { DnsControl } from './dns-control.js';
export { Guest } from './guest.js';
export { resolveAddresses, type Addresses } from './addresses.js';
