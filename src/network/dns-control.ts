/** What programs see and change of the gateway's DNS while it runs. */
import type { ZoneConfig, Zones } from '../dns/index.js';

export class DnsControl {
  private readonly own: Zones;

  constructor(zones: Zones) {
    this.own = zones;
  }

  /** The zones of one's own, by name. */
  zones(): readonly ZoneConfig[] {
    return this.own.list();
  }

  zone(name: string): ZoneConfig | undefined {
    return this.own.get(name);
  }

  /** Adds a zone or replaces the one of that name; false: it was there. Throws ERR_NETPROXY_CONFIG. */
  putZone(zone: ZoneConfig): boolean {
    return this.own.put(zone);
  }

  /** false: there is no such zone. */
  removeZone(name: string): boolean {
    return this.own.delete(name);
  }
}
