/** What the command line puts around every link: the capture at the guest's end of the cable, then the faults of the cable. */
import { BlockPool, type Link, type Logger, plainMemory } from '../core/index.js';
import type { Config } from '../config/index.js';
import { nodeScheduler, systemRandom } from '../host/index.js';
import type { Network } from '../index.js';
import { parseFaults, withCapture, withFaults } from '../link/index.js';
import { type CaptureFile, openCapture } from '../observe/index.js';

export interface Middleware {
  /** Writes out what is captured. Idempotent. */
  close(): Promise<void>;
}

/** Wraps the links that a network gets from now on. Rejects with ERR_NETPROXY_CONFIG when the capture cannot be written. */
export async function installMiddleware(
  network: Network,
  config: Config,
  logger: Logger,
): Promise<Middleware> {
  const layers: ((link: Link) => Link)[] = [];
  let capture: CaptureFile | undefined;
  if (config.pcap !== undefined) {
    const file = await openCapture(config.pcap, { clock: nodeScheduler, logger });
    capture = file;
    layers.push((link) => withCapture(link, file.sink(`${link.kind}:${link.name}`)));
  }
  if (config.faults !== undefined) {
    const faults = parseFaults(config.faults);
    // Delayed frames wait in blocks that the network's flows may send from: memory of the same kind.
    const pool = new BlockPool(network.hub?.memory ?? plainMemory);
    layers.push((link) => withFaults(link, faults, { random: systemRandom(), clock: nodeScheduler, pool }));
  }
  if (layers.length > 0)
    network.linkMiddleware = (link) => layers.reduce((inner, layer) => layer(inner), link);
  return {
    close: async () => {
      await capture?.close();
    },
  };
}
