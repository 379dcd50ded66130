/**
 * Split DNS: which servers a name goes to.
 *
 * Theory of operation. Sources say which servers are for which domains: the configuration, a file of servers, the system.
 * The domain with the most labels that a name is within decides, and of several sources that have it the first. Its servers
 * alone are asked: a name of a company's domain must not reach a server of somebody else, also when the company's is away.
 * Sources are asked for what they say with every query, which costs a comparison unless it changed; servers that stay the
 * same keep what is known about them.
 */
import type { Millis } from '../core/index.js';
import type { DnsUpstream } from '../dns/index.js';
import type { DnsGroup, DnsTier } from './dns-group.js';
import { TieredUpstream } from './tiered-upstream.js';

/** Groups as a source knows them now: the same array until something changes. */
export type GroupSource = () => readonly DnsGroup[];

/** Whom a name goes to, and who says so. */
export interface DnsRoute {
  /** The empty one: all names. */
  readonly domain: string;
  readonly group: DnsGroup;
  readonly upstream: DnsUpstream;
}

/** How long servers that nobody is led to any more keep their last queries, ms. */
const FAREWELL: Millis = 30_000;

interface Kept {
  readonly upstream: DnsUpstream;
  /** When it was last led to; Infinity while it is. */
  until: Millis;
}

export class SplitDns {
  /** Changes when another server may be asked than before. */
  changes = 0;
  private readonly sources: readonly GroupSource[];
  private readonly make: (tier: DnsTier) => DnsUpstream;
  private readonly now: () => Millis;
  private said: readonly (readonly DnsGroup[])[] = [];
  private routes = new Map<string, DnsRoute>();
  private readonly upstreams = new Map<string, Kept>();

  constructor(
    sources: readonly GroupSource[],
    make: (tier: DnsTier) => DnsUpstream,
    now: () => Millis = () => performance.now(),
  ) {
    this.sources = sources;
    this.make = make;
    this.now = now;
  }

  /** Looks whether the sources still say the same; the number changes when they do not. */
  settings(): number {
    const { sources, said } = this;
    for (let i = 0; i < sources.length; i++) {
      const groups = sources[i]!();
      if (groups === said[i]) continue;
      if (said.length > 0) this.changes++;
      this.read();
      break;
    }
    return this.changes;
  }

  /** Whom a name (normal) goes to; undefined: no source has a group for it. */
  find(name: string): DnsRoute | undefined {
    this.settings();
    if (this.routes.size === 0) return undefined;
    for (let at = name; ;) {
      const route = this.routes.get(at);
      if (route !== undefined || at === '') return route;
      const dot = at.indexOf('.');
      at = dot < 0 ? '' : at.slice(dot + 1);
    }
  }

  /** All routes, for people. */
  all(): Iterable<DnsRoute> {
    this.settings();
    return this.routes.values();
  }

  close(): void {
    for (const { upstream } of this.upstreams.values()) upstream.close();
    this.upstreams.clear();
    this.routes.clear();
  }

  private read(): void {
    const now = this.now();
    this.said = this.sources.map((source) => source());
    for (const kept of this.upstreams.values()) kept.until = Math.min(kept.until, now + FAREWELL);
    const routes = new Map<string, DnsRoute>();
    for (const group of this.said.flat()) {
      for (const domain of group.domains) {
        if (!routes.has(domain)) routes.set(domain, { domain, group, upstream: this.upstreamOf(group) });
      }
    }
    this.routes = routes;
    for (const [key, kept] of this.upstreams) {
      if (kept.until > now) continue;
      kept.upstream.close();
      this.upstreams.delete(key);
    }
  }

  /** The servers of a group, those that are known already where they are the same. */
  private upstreamOf({ tiers }: DnsGroup): DnsUpstream {
    const key = JSON.stringify(tiers);
    const kept = this.upstreams.get(key) ?? { upstream: this.made(tiers), until: Number.POSITIVE_INFINITY };
    kept.until = Number.POSITIVE_INFINITY;
    this.upstreams.set(key, kept);
    return kept.upstream;
  }

  private made(tiers: readonly DnsTier[]): DnsUpstream {
    const [only, ...more] = tiers;
    if (only !== undefined && more.length === 0 && only.timeout === undefined) return this.make(only);
    return new TieredUpstream(tiers.map((tier) => ({ upstream: this.make(tier), timeout: tier.timeout })));
  }
}
