/** TCP (RFC 9293) without I/O: one connection, its segments, its state table. */
export * from './types.js';
export { TcpConnection } from './connection.js';
export { ChallengeLimit } from './challenge.js';
export { createTcpCounters, type TcpCounters } from './counters.js';
export { formatTcpInfo, type TcpInfo, type TcpRecovery } from './info.js';
export { respondToUnknown, type ResetAnswer } from './input.js';
export { formatStateTable, nextState, TCP_EVENTS, TCP_STATES, type TcpEvent } from './state.js';
export {
  emitHeader,
  emittedLength,
  headerLength,
  MIN_HEADER,
  parseHeader,
  readSegment,
  type TcpHeader,
} from './wire/header.js';
export { addPayload, segmentIn, writeSegment } from './wire/segment.js';
export { emitOptions, optionsLength, parseOptions, type TcpOptions } from './wire/options.js';
