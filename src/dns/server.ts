/**
 * The gateway's DNS server (RFC 1035), for UDP and TCP.
 *
 * Theory of operation. A query is read strictly (message.ts) and answered by the first that knows: policy, the names
 * that are known here (`local`: builtin.ts, hosts.ts), the cache (cache.ts), and then, depending on how the host finds
 * addresses, the host's resolver (system.ts) or the name servers that are responsible for the name (`route`), to which
 * the query goes and from which the answer comes byte for byte, the id aside. Queries that ask for DNSSEC or for anything
 * but addresses and pointers always go to the name servers.
 *
 * Each query gets one answer: at the latest SERVFAIL at the deadline, which `poll(now)` keeps; it is due at
 * `nextTimeout()`. Identical queries on the way share one lookup (lookups.ts). A guest has at most `maxPerGuest` on the
 * way and asks `maxRate` times a second; all guests together have `maxInFlight` different ones on the way; what is more is
 * REFUSED at once. With EDNS, an extended error says why (RFC 8914).
 *
 * An answer stands at the beginning of `output` until the next call; one from the cache costs no promise and next to no
 * memory.
 *
 * Not supported: zone transfers and opcodes other than QUERY (NOTIMP), TSIG of our own, cookies (RFC 7873).
 */
import { Timers, type Millis } from '../core/index.js';
import { buildAnswer, fitAnswer } from './answer.js';
import { DnsCache, type CacheEntry, type DnsCacheCounters } from './cache.js';
import { CLASS_IN, Flag, Rcode, RecordType } from './codes.js';
import { Lookup, Lookups, MAX_MESSAGE, Waiting, type DnsTaker } from './lookups.js';
import { PLAIN_UDP_SIZE, parseQuery, setWord, word, type DnsQuery } from './message.js';
import { NameTable } from './name-table.js';
import { reverseAddress } from './names.js';
import {
  BROKEN,
  NO_TRANSFERS,
  TOO_FAST,
  TOO_LATE,
  TOO_MANY,
  denied,
  type Answerable,
  type Authored,
  type Outcome,
} from './outcome.js';
import { GuestQuotas } from './quotas.js';
import { guardAnswer } from './rebinding.js';
import { SystemNames, isSystemName } from './system.js';
import { DnsTally } from './tally.js';
import type {
  DnsConfig,
  DnsCounters,
  DnsGuest,
  DnsSource,
  DnsStep,
  DnsTransport,
  DnsUpstream,
  SystemMode,
} from './types.js';

/** How long a client waits for servers while something stale is at hand, ms (RFC 8767 section 5). */
const STALE_PATIENCE = 1800;
/** How long nobody is asked again after that was in vain, ms: shorter than the RFC's 30 s, so that recovery is not late. */
const STALE_RECHECK = 1000;
/** Room behind the longest message for the OPT record of an answer that will be cut. */
const SLACK = 64;

export class DnsServer {
  /** Where answers stand. */
  readonly output = new Uint8Array(MAX_MESSAGE + SLACK);
  private readonly config: DnsConfig;
  private readonly system: SystemNames | undefined;
  private readonly deadline: Millis;
  /** What the name servers get of it, so that what they had to say still comes in time. */
  private readonly patience: Millis;
  private readonly maxPerGuest: number;
  private readonly maxInFlight: number;
  private readonly timers = new Timers();
  private readonly names: NameTable;
  private readonly cache: DnsCache;
  private readonly lookups = new Lookups();
  private readonly quotas: GuestQuotas;
  private readonly tally = new DnsTally();
  private settings = 0;
  private lastNow: Millis = 0;

  constructor(config: DnsConfig) {
    this.config = config;
    this.system = config.resolver && new SystemNames(config.resolver);
    this.deadline = config.deadline ?? 5000;
    this.patience = Math.max(this.deadline / 2, this.deadline - 250);
    this.maxPerGuest = config.maxPerGuest ?? 256;
    this.maxInFlight = config.maxInFlight ?? 4096;
    this.quotas = new GuestQuotas(config.maxRate ?? 0);
    this.cache = new DnsCache(config.cache);
    this.names = new NameTable(config.seed);
    this.settings = config.settings?.() ?? 0;
  }

  get counters(): DnsCounters {
    return this.tally;
  }

  get cacheCounters(): DnsCacheCounters {
    return this.cache.counters;
  }

  /** Different queries on the way. */
  get pending(): number {
    return this.lookups.size;
  }

  /** Forgets what name servers said: everything, or about a name (normal form) and the names below it. */
  flush(within?: string): void {
    this.cache.flush(within);
  }

  /** As `receive`, with a copy of the answer, or a promise of it; the promise never rejects. */
  handle(
    bytes: Uint8Array,
    transport: DnsTransport,
    guest: DnsGuest,
    now: Millis,
  ): Promise<Uint8Array | undefined> | Uint8Array | undefined {
    let promise: Promise<Uint8Array> | undefined;
    const length = this.receive(bytes, transport, guest, now, () => {
      let settle: (answer: Uint8Array) => void = () => undefined;
      promise = new Promise((resolve) => (settle = resolve));
      return (late, size) => {
        settle(late.slice(0, size));
      };
    });
    return promise ?? (length === 0 ? undefined : this.output.slice(0, length));
  }

  /**
   * Answers a message of a guest. The bytes are lent for the call. Returns the length of the answer, which fits the
   * transport and stands in `output` until the next call; 0: there is none, now or ever. When one is to come later,
   * `later` was called meanwhile for who takes it, once. Never throws.
   */
  receive(
    bytes: Uint8Array,
    transport: DnsTransport,
    guest: DnsGuest,
    now: Millis,
    later: () => DnsTaker,
  ): number {
    this.tally.received[transport]++;
    this.lastNow = now;
    if (this.timers.next() <= now) this.timers.run(now);
    const parsed = parseQuery(bytes, this.names);
    switch (parsed.kind) {
      case 'drop':
        this.tally.drops[parsed.reason]++;
        return 0;
      case 'refuse': {
        const outcome: Outcome = { source: 'error', parts: { rcode: parsed.rcode } };
        return this.write(parsed.query, transport, guest, outcome, 0);
      }
      case 'query': {
        const { query } = parsed;
        const known = this.quotas.admit(guest, now) ? this.immediate(query, guest) : TOO_FAST;
        if (known) return this.write(query, transport, guest, known, 0);
        const entry = this.cache.find(query, now);
        if (entry) return this.writeCached(entry, query, transport, guest, 'cache', now, 0);
        return this.wait(query, transport, guest, now, later);
      }
    }
  }

  /** When `poll` has something to do next; Infinity when never. */
  nextTimeout(): Millis {
    return this.timers.next();
  }

  /** Gives SERVFAIL to whoever waited too long. */
  poll(now: Millis): void {
    this.lastNow = now;
    this.timers.run(now);
  }

  /** What is known without asking anybody. */
  private immediate(query: DnsQuery, guest: DnsGuest, steps?: DnsStep[]): Authored | undefined {
    const { question } = query;
    const denial = this.config.decide?.(question.name, guest);
    steps?.push({ source: 'policy', answers: denial !== undefined });
    if (denial !== undefined) return denied(denial);
    for (const names of this.config.local) {
      const parts = names.resolve(question, guest);
      steps?.push({ source: names.source, answers: parts !== undefined });
      if (parts) return { source: names.source, parts };
    }
    if (question.type === RecordType.AXFR || question.type === RecordType.IXFR) return NO_TRANSFERS;
    const settings = this.config.settings?.() ?? 0;
    if (settings !== this.settings) {
      this.settings = settings;
      this.cache.flush();
    }
    return undefined;
  }

  /** The way of a query, step by step to the one that answers it, by the functions that queries pass. Nobody is asked. */
  explain(bytes: Uint8Array, guest: DnsGuest, now: Millis): readonly DnsStep[] {
    const steps: DnsStep[] = [];
    const parsed = parseQuery(bytes, this.names);
    if (parsed.kind !== 'query' || this.immediate(parsed.query, guest, steps)) return steps;
    const isCached = this.cache.find(parsed.query, now) !== undefined;
    steps.push({ source: 'cache', answers: isCached });
    if (!isCached)
      steps.push({
        source: this.upstreamOf(parsed.query, this.routeOf(parsed.query)) ? 'relay' : 'resolver',
        answers: true,
      });
    return steps;
  }

  /** Whose name servers are asked; undefined: the host's resolver is. */
  private upstreamOf(query: DnsQuery, route: DnsUpstream | undefined): DnsUpstream | undefined {
    return route ?? (this.isForSystem(query) ? undefined : this.config.upstream);
  }

  private routeOf({ question }: DnsQuery): DnsUpstream | undefined {
    return this.config.route?.(question.name);
  }

  private mode(): SystemMode {
    if (!this.system) return 'relay';
    return this.config.mode?.() ?? 'resolver';
  }

  private wait(
    query: DnsQuery,
    transport: DnsTransport,
    guest: DnsGuest,
    now: Millis,
    later: () => DnsTaker,
  ): number {
    const route = this.routeOf(query);
    const upstream = this.upstreamOf(query, route);
    const stale = this.cache.servesStale ? this.cache.findStale(query, now) : undefined;
    if (stale && now < stale.staleUntil) {
      return this.writeCached(stale, query, transport, guest, 'stale', now, 0);
    }
    const running = this.lookups.find(query, transport, upstream);
    const quota = this.quotas.of(guest);
    if (quota.waiting >= this.maxPerGuest || (!running && this.lookups.size >= this.maxInFlight)) {
      return this.write(query, transport, guest, TOO_MANY, 0);
    }
    quota.waiting++;
    // The caller's buffer is lent for this call only. Who joins a relayed query has the same bytes.
    const bytes = running && upstream ? running.query.bytes : query.bytes.slice();
    const kept = { ...query, bytes };
    const lookup = running ?? new Lookup(this, kept, transport, upstream, route !== undefined);
    const waiting = new Waiting(lookup, kept, transport, guest, now, later(), stale);
    lookup.add(waiting);
    this.timers.set(waiting, now + (stale ? Math.min(STALE_PATIENCE, this.deadline) : this.deadline));
    if (running) {
      this.tally.merged++;
      return 0;
    }
    this.lookups.add(lookup);
    if (upstream) upstream.query(bytes, transport, this.patience, lookup);
    else this.ask(lookup);
    return 0;
  }

  /** Whether the host's resolver shall answer: addresses and pointers, unless the client wants DNSSEC. */
  private isForSystem({ question, flags, edns }: DnsQuery): boolean {
    if (this.mode() === 'relay' || question.class !== CLASS_IN || !isSystemName(question.name)) return false;
    if (edns?.dnssecOk === true || (flags & Flag.checkingDisabled) !== 0) return false;
    if (question.type === RecordType.PTR) return reverseAddress(question.name) !== undefined;
    return question.type === RecordType.A || question.type === RecordType.AAAA;
  }

  private ask(lookup: Lookup): void {
    const { name, type } = lookup.query.question;
    const found = this.system?.resolve(name, type) ?? Promise.resolve(undefined);
    found.then(
      (parts) => {
        this.settled(lookup, parts ? { source: 'resolver', parts } : BROKEN);
      },
      () => {
        this.settled(lookup, BROKEN);
      },
    );
  }

  /** A lookup came to its end: for `Lookup` only. */
  settled(lookup: Lookup, found: Outcome): void {
    this.lookups.remove(lookup);
    const outcome = this.guarded(lookup, found);
    const now = this.config.clock?.now() ?? this.lastNow;
    if ('bytes' in outcome) this.cache.store(lookup.query, outcome.bytes, now);
    const failed = hasFailed(outcome);
    for (let waiting = lookup.first; waiting !== undefined; waiting = lookup.first) {
      this.end(waiting);
      const { taker, stale } = waiting;
      if (failed && stale) stale.staleUntil = now + STALE_RECHECK;
      if (taker === undefined) continue;
      const { query, transport, guest } = waiting;
      const took = now - waiting.came;
      const length =
        failed && stale
          ? this.writeCached(stale, query, transport, guest, 'stale', now, took)
          : this.write(query, transport, guest, outcome, took);
      taker(this.output, length);
    }
  }

  /** Refuses what may be DNS rebinding, where that is asked for. */
  private guarded({ query, isRouted }: Lookup, outcome: Outcome): Outcome {
    const { privateNames } = this.config;
    if (privateNames === undefined || isRouted) return outcome;
    return guardAnswer(outcome, query.question.name, privateNames);
  }

  /** A query waited too long: for `Waiting` only. */
  expired(waiting: Waiting, now: Millis): void {
    const { query, transport, guest, stale, taker, lookup, came } = waiting;
    if (stale && taker && now < came + this.deadline) {
      // The lookup goes on, for the cache.
      waiting.taker = undefined;
      this.timers.set(waiting, came + this.deadline);
      taker(this.output, this.writeCached(stale, query, transport, guest, 'stale', now, now - came));
      return;
    }
    this.end(waiting);
    // A lookup that hangs must not hold its place; should it end after all, nobody waits for it.
    if (lookup.first === undefined) this.lookups.remove(lookup);
    taker?.(this.output, this.write(query, transport, guest, TOO_LATE, now - came));
  }

  private end(waiting: Waiting): void {
    this.timers.cancel(waiting);
    waiting.lookup.remove(waiting);
    this.quotas.done(waiting.guest);
  }

  private writeCached(
    entry: CacheEntry,
    query: DnsQuery,
    transport: DnsTransport,
    guest: DnsGuest,
    source: DnsSource,
    now: Millis,
    took: Millis,
  ): number {
    const length = this.cache.write(entry, query, now, this.output);
    return this.finish(query, transport, guest, source, undefined, length, took);
  }

  /** Writes an answer for one client into the output. */
  private write(
    query: Answerable,
    transport: DnsTransport,
    guest: DnsGuest,
    outcome: Outcome,
    took: Millis,
  ): number {
    const relayed = 'bytes' in outcome;
    const bytes = relayed ? outcome.bytes : buildAnswer(query, outcome.parts);
    this.output.set(bytes);
    setWord(this.output, 0, query.id);
    const server = relayed ? outcome.server : undefined;
    return this.finish(query, transport, guest, outcome.source, server, bytes.length, took);
  }

  /** Cuts what stands in the output to what the client takes; counts and tells it. */
  private finish(
    query: Answerable,
    transport: DnsTransport,
    guest: DnsGuest,
    source: DnsSource,
    server: string | undefined,
    length: number,
    took: Millis,
  ): number {
    const { output, tally } = this;
    const rcode = word(output, 2) & Flag.rcode;
    const limit = transport === 'tcp' ? MAX_MESSAGE : (query.edns?.udpSize ?? PLAIN_UDP_SIZE);
    let size = length;
    if (length > limit) {
      const cut = fitAnswer(output.slice(0, length), limit);
      output.set(cut);
      size = cut.length;
      tally.truncated++;
    }
    tally.answer(rcode, source, took);
    this.config.observe?.({
      guest,
      question: query.question,
      source,
      rcode,
      millis: took,
      transport,
      server,
      answer: output.subarray(0, size),
    });
    return size;
  }
}

/** Whether something stale would be better. */
function hasFailed(outcome: Outcome): boolean {
  const rcode = 'bytes' in outcome ? word(outcome.bytes, 2) & Flag.rcode : outcome.parts.rcode;
  return rcode === Rcode.servFail;
}
