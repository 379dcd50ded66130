/** The state file of a network: opened when it starts, closed with it. */
import type { Logger, Scheduler } from '../core/index.js';
import { type StateDisk, StateStore } from '../host/index.js';
import type { DhcpService } from './dhcp-service.js';
import type { PolicyKeeper, ZoneKeeper } from './live-keepers.js';

export class NetworkState {
  private readonly file: string | undefined;
  private readonly deps: {
    readonly logger: Logger;
    readonly scheduler: Scheduler;
    readonly disk?: StateDisk | undefined;
  };
  private readonly dhcp: DhcpService;
  private readonly zones: ZoneKeeper;
  readonly policy: PolicyKeeper;
  private held: StateStore | undefined;

  constructor(
    file: string | undefined,
    deps: NetworkState['deps'],
    dhcp: DhcpService,
    zones: ZoneKeeper,
    policy: PolicyKeeper,
  ) {
    this.file = file;
    this.deps = deps;
    this.dhcp = dhcp;
    this.zones = zones;
    this.policy = policy;
  }

  /** Undefined where nothing is kept, and before the start. */
  get store(): StateStore | undefined {
    return this.held;
  }

  /** What the file is doing; undefined where nothing is kept. */
  get counters() {
    return this.held === undefined ? undefined : { ...this.held.counters };
  }

  /** Takes back what a former process wrote down, but for published ports. Throws ERR_NETPROXY_STATE. */
  open(): void {
    if (this.file === undefined) return;
    this.held = new StateStore(this.file, this.deps);
    this.dhcp.keepIn(this.held);
    this.zones.open(this.held, this.deps.logger);
    this.policy.open(this.held, this.deps.logger);
  }

  /** Resolves when all that was changed so far is on the disk, or cannot be written now. */
  saved(): Promise<void> {
    const { held } = this;
    this.policy.write();
    if (held === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      held.commit(() => {
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    this.policy.write();
    await this.held?.close();
  }
}
