/** Leases in the state file: what changes is written down before the client hears of it. */
import { type Ipv4, type Logger, type Scheduler, formatIpv4, parseIpv4 } from '../core/index.js';
import type { DhcpServer } from '../dhcp/index.js';
import type { StateStore } from '../host/index.js';

/** Section of the state file. */
const SECTION = 'lease';
/** Answers that wait for the disk; beyond, none is given and the client asks again. */
export const MAX_WAITING_ANSWERS = 1024;

export class LeaseKeeper {
  /** Answers that were not given because too many waited. */
  refused = 0;
  private store: StateStore | undefined;
  private readonly server: DhcpServer;
  private readonly scheduler: Scheduler;
  private readonly changed = new Set<Ipv4>();
  private waiting = 0;

  constructor(server: DhcpServer, scheduler: Scheduler) {
    this.server = server;
    this.scheduler = scheduler;
  }

  /** Takes back what the file holds, and keeps it up to date from now on. */
  open(store: StateStore, logger: Logger): void {
    this.store = store;
    const leases = [...store.entries(SECTION)];
    if (leases.length > 0) {
      const data = { version: 1, leases: leases.map(([, record]) => record) };
      const { restored, rejected } = this.server.restore(data, this.instant());
      logger.info(`${restored} leases taken back from the state file`);
      if (rejected > 0)
        logger.warn(`${rejected} leases of the state file do not fit this network and are left out`);
    }
    for (const [key] of leases) {
      const ip = parseIpv4(key);
      if (ip === undefined) store.delete(SECTION, key);
      else this.changed.add(ip);
    }
    for (const { ip } of this.server.leases()) this.changed.add(ip);
    this.write();
  }

  /** What is kept of this address is another thing now. */
  note(ip: Ipv4): void {
    this.changed.add(ip);
  }

  /** Calls back when everything noted is written; at once where nothing is kept, never where too many wait. */
  afterwards(callback: () => void): void {
    const { store } = this;
    if (store === undefined) {
      this.changed.clear();
      callback();
    } else if (this.waiting >= MAX_WAITING_ANSWERS) this.refused++;
    else {
      this.put(store);
      this.waiting++;
      store.commit(() => {
        this.waiting--;
        callback();
      });
    }
  }

  /** Writes what was noted, without anybody waiting. */
  write(): void {
    const { store } = this;
    if (store === undefined || this.changed.size === 0) {
      this.changed.clear();
      return;
    }
    this.put(store);
    store.commit(() => undefined);
  }

  private put(store: StateStore): void {
    const at = this.instant();
    for (const ip of this.changed) {
      const record = this.server.record(ip, at);
      if (record === undefined) store.delete(SECTION, formatIpv4(ip));
      else store.put(SECTION, formatIpv4(ip), record);
    }
    this.changed.clear();
  }

  private instant() {
    return { now: this.scheduler.now(), wall: this.scheduler.wall() };
  }
}
