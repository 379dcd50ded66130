/** The state file of a network: opened when it starts, closed with it. */
import type { Logger, Scheduler } from '../core/index.js';
import { type StateDisk, StateStore } from '../host/index.js';
import type { DhcpService } from './dhcp-service.js';

export class NetworkState {
  private readonly file: string | undefined;
  private readonly deps: {
    readonly logger: Logger;
    readonly scheduler: Scheduler;
    readonly disk?: StateDisk | undefined;
  };
  private readonly dhcp: DhcpService;
  private store: StateStore | undefined;

  constructor(file: string | undefined, deps: NetworkState['deps'], dhcp: DhcpService) {
    this.file = file;
    this.deps = deps;
    this.dhcp = dhcp;
  }

  /** What the file is doing; undefined where nothing is kept. */
  get counters() {
    return this.store === undefined ? undefined : { ...this.store.counters };
  }

  /** Takes back what a former process wrote down. Throws ERR_NETPROXY_STATE. */
  open(): void {
    if (this.file === undefined) return;
    this.store = new StateStore(this.file, this.deps);
    this.dhcp.keepIn(this.store);
  }

  async close(): Promise<void> {
    await this.store?.close();
  }
}
