/** Drop-ins: the command lines and HTTP APIs of gvproxy and vpnkit, and a container engine's API, in front of a network of netproxy's. */
export type { DropIn } from './drop-in.js';
export { DockerForward, type DockerSettings } from './docker/forward.js';
export { apiHost, networkHost } from './docker/hosts.js';
export type { DockerPort } from './docker/published.js';
export { DOCKER_PROXY_FLAGS, dockerProxy } from './docker-proxy.js';
export { goUsage } from './go-flags.js';
export { gvproxyDropIn } from './gvproxy/drop-in.js';
export { GVPROXY_FLAGS, parseGvproxy } from './gvproxy/flags.js';
export type { GvproxySettings } from './gvproxy/settings.js';
export { SshForward } from './ssh-forward.js';
export { VPNKIT_FLAGS, vpnkitDropIn } from './vpnkit/drop-in.js';
