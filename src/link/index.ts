/**
 * Links: how frames of a guest reach the switch. Transports (qemu, vpnkit, connect, stdio, memory, and natively tap and
 * vsock), their listeners, and what can be put around any of them (capture, faults).
 */
export { bindUnix } from './unix-path.js';
export * from './accept.js';
export { captureBatch, capturedOutput, withCapture, type CaptureSink } from './capture.js';
export * from './faults-spec.js';
export * from './faults.js';
export { BATCH_FRAMES, StreamDeframer, U16LE, U32BE, type Framing } from './framing.js';
export { acceptSocket, fdLink, stdioLink } from './fd-link.js';
export * from './listener.js';
export type { ListenerStats } from './listener-stats.js';
export * from './memory-link.js';
export * from './native-hub.js';
export { NativeLink } from './native-link.js';
export { SocketLink, type SocketLinkOptions } from './socket-link.js';
export * from './spec.js';
export * from './ssh-spec.js';
export { StreamOutput } from './stream-output.js';
export { tapFdLink, tapHandleLink, tapLink, type TapOptions } from './tap.js';
export { fillChecksum } from './tx-checksum.js';
export * from './types.js';
export { AssemblingOutput } from './assemble.js';
export type { VpnkitAssign, VpnkitAssignment } from './vpnkit.js';
export { bindServer, type BoundServer } from './bind-server.js';
export { listenUnix, type BoundPath } from './unix-path.js';
