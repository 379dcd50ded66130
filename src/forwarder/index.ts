export * from './tcp-flow.js';
export * from './outbound-tcp.js';
export * from './udp-nat.js';
export * from './udp-mapping.js';
export * from './guest-stream.js';
export * from './publish-spec.js';
export * from './published.js';
export * from './ping-nat.js';
