/** What a drop-in is: a configuration that netproxy serves, and what comes to it. */
import type { Config } from '../config/index.js';
import type { Logger } from '../core/index.js';
import type { Network } from '../index.js';

export interface DropIn {
  readonly config: Config;
  /** Parts of the network that a configuration file cannot say. */
  readonly extra?: { readonly vpnkitMacs?: Readonly<Record<string, string>> };
  /** Goes on until `close`: the network runs, guests cannot attach yet. Rejects with a NetproxyError. */
  begin(network: Network, logger: Logger): Promise<void>;
  /** Everything listens. */
  ready(): void;
  /** Idempotent. */
  close(): void | Promise<void>;
}
