/** What the server counts: answers by rcode, source and latency. */
import type { Millis } from '../core/index.js';
import { Rcode, type RcodeName } from './codes.js';
import type { DnsCounters, DnsDrop, DnsSource, DnsTransport } from './types.js';

/** Upper ends of the latency's buckets, ms; one more bucket has what took longer. */
export const LATENCY_BUCKETS: readonly Millis[] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

const RCODE_NAMES = new Map<number, RcodeName>(
  Object.entries(Rcode).map(([name, rcode]) => [rcode, name as RcodeName]),
);

export class DnsTally implements DnsCounters {
  readonly received: Record<DnsTransport, number> = { udp: 0, tcp: 0 };
  readonly answered: Partial<Record<RcodeName | 'other', number>> = {};
  readonly sources: Record<DnsSource, number> = {
    builtin: 0,
    zone: 0,
    hosts: 0,
    cache: 0,
    stale: 0,
    resolver: 0,
    relay: 0,
    policy: 0,
    limit: 0,
    deadline: 0,
    error: 0,
  };
  readonly drops: Record<DnsDrop, number> = { tooShort: 0, notAQuery: 0 };
  merged = 0;
  truncated = 0;
  readonly latency: number[] = new Array<number>(LATENCY_BUCKETS.length + 1).fill(0);

  answer(rcode: number, source: DnsSource, took: Millis): void {
    const name = RCODE_NAMES.get(rcode) ?? 'other';
    this.answered[name] = (this.answered[name] ?? 0) + 1;
    this.sources[source]++;
    let bucket = 0;
    while (bucket < LATENCY_BUCKETS.length && took > LATENCY_BUCKETS[bucket]!) bucket++;
    this.latency[bucket]!++;
  }
}
