/** The HTTP proxy: whom requests go to, and how. */
export { type Host, formatHost, parseAuthority, parseHost } from './host.js';
export { MAX_ENTRIES, NoProxy } from './no-proxy.js';
