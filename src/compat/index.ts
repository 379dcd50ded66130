/** Drop-ins: the command lines and HTTP APIs of gvproxy and vpnkit, in front of a network of netproxy's. */
export type { DropIn } from './drop-in.js';
export { DOCKER_PROXY_FLAGS, dockerProxy } from './docker-proxy.js';
export { goUsage } from './go-flags.js';
export { gvproxyDropIn } from './gvproxy/drop-in.js';
export { GVPROXY_FLAGS, parseGvproxy } from './gvproxy/flags.js';
export type { GvproxySettings } from './gvproxy/settings.js';
export { VPNKIT_FLAGS, vpnkitDropIn } from './vpnkit/drop-in.js';
