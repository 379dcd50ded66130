/** Notices when the host gains a route or an address inside a virtual network: the host would no longer be reached there. */
import { type Cidr, type Millis, type Scheduler, formatCidr } from '../core/index.js';
import { networksOverlap } from './routes.js';

/** How often the host's routes are looked at, ms. */
export const ROUTE_POLL: Millis = 5000;

export class RouteWatch {
  private readonly subnet: Cidr;
  private readonly networks: () => readonly Cidr[];
  private readonly scheduler: Scheduler;
  private readonly clash: (network: string) => void;
  /** Those that clashed when they were looked at last; undefined before the first look. */
  private known: ReadonlySet<string> | undefined;
  private cancel: (() => void) | undefined;
  private stopped = false;

  /** `clash` hears of each network that overlaps `subnet`, once for as long as it is there. */
  constructor(
    subnet: Cidr,
    networks: () => readonly Cidr[],
    scheduler: Scheduler,
    clash: (network: string) => void,
  ) {
    this.subnet = subnet;
    this.networks = networks;
    this.scheduler = scheduler;
    this.clash = clash;
  }

  /** Looks now, and from now on. */
  start(): void {
    if (this.stopped) return;
    const found = new Set<string>();
    for (const network of this.networks()) {
      if (!networksOverlap(network, this.subnet)) continue;
      const name = formatCidr(network);
      if (this.known?.has(name) !== true && !found.has(name)) this.clash(name);
      found.add(name);
    }
    this.known = found;
    this.cancel = this.scheduler.after(ROUTE_POLL, () => {
      this.start();
    });
  }

  stop(): void {
    this.stopped = true;
    this.cancel?.();
  }
}
