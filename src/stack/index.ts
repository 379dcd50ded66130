export { Stack } from './stack.js';
export { StackPort, type PortCounters } from './port.js';
export { TcpEndpoint, type TcpApplication } from './tcp-endpoint.js';
export { TcpDuplex, type TcpSide } from './tcp-duplex.js';
export { FLUSH_BUDGET, SHARE, SHARE_ALONE } from './turn.js';
export type { TcpSyn, ConnectionOptions } from './tcp-demux.js';
export type {
  PortOptions,
  StackConfig,
  StackDeps,
  StackUpper,
  StackCounters,
  UdpIn,
  EchoIn,
} from './types.js';
export { HELD_AFTER_USE } from './guard.js';
export { FlowTable } from './flow-table.js';
export { quotePacket } from './packets.js';
