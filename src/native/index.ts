/** The native layer: batched frame I/O, flow sockets, namespaces. Optional; `loadNative` says why it is missing. */
export * from './addon.js';
export * from './constants.js';
export { loadNative, type NativeResult } from './loader.js';
export { Hub } from './hub.js';
export { SpinWatch } from './spin-watch.js';
export { nativeIo } from './host-io.js';
export { BindServer, type BindRules } from './bind-server.js';
export { bindByHelper } from './bind-client.js';
export { LOOKUP_QUEUE, LOOKUP_THREADS, NativeLookups } from './lookups.js';
