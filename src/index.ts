/**
 * netproxy as a library: a virtual network whose guests reach the world through the host's ordinary sockets.
 *
 * @example
 * import { createNetwork } from 'netproxy';
 * await using network = createNetwork({ publish: ['127.0.0.1:8080:80'] });
 * await network.start();
 * await network.listenLinks('qemu', 'unix:/run/vm.sock');
 */
import { Network } from './network/index.js';
import type { NetworkConfig, NetworkDeps } from './network/index.js';

/** Makes a network; `start` brings up what is configured, `stop` ends it. Throws ERR_NETPROXY_CONFIG. */
export function createNetwork(config: NetworkConfig = {}, deps: NetworkDeps = {}): Network {
  return new Network(config, deps);
}

export type * from './network/index.js';
export { Guest, Network } from './network/index.js';
export { formatTcpInfo, type TcpInfo, type TcpRecovery } from './tcp/index.js';
export {
  NetproxyError,
  type NetproxyErrorCode,
  type Link,
  type LinkHandler,
  type Logger,
} from './core/index.js';
