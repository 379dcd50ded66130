/**
 * Lookups on the way and who waits for them. Queries that differ by their ids alone share one lookup, and so do all
 * questions of one name and type that the host's resolver is asked.
 */
import { UNSET, type Deadline, type Millis } from '../core/index.js';
import type { CacheEntry } from './cache.js';
import type { DnsQuery } from './message.js';
import { BROKEN, failure, type Outcome } from './outcome.js';
import type { DnsGuest, DnsReply, DnsTransport, DnsUpstream, DnsUpstreamError } from './types.js';
import { HEADER } from './message.js';

/** The largest message that TCP carries. */
export const MAX_MESSAGE = 65_535;

/** Who gets an answer that comes later: `length` bytes from the beginning of `answer`, lent for the call. */
export type DnsTaker = (answer: Uint8Array, length: number) => void;

/** What a server does when something happens to a lookup. */
export interface LookupOwner {
  settled(lookup: Lookup, outcome: Outcome): void;
  expired(waiting: Waiting, now: Millis): void;
}

/** One query that waits. It is its own deadline. */
export class Waiting implements Deadline {
  at = UNSET.at;
  index = UNSET.index;
  readonly lookup: Lookup;
  readonly query: DnsQuery;
  readonly transport: DnsTransport;
  readonly guest: DnsGuest;
  readonly came: Millis;
  /** Undefined when it has its answer. */
  taker: DnsTaker | undefined;
  /** What may be given when nobody answers. */
  readonly stale: CacheEntry | undefined;
  previous: Waiting | undefined;
  next: Waiting | undefined;

  constructor(
    lookup: Lookup,
    query: DnsQuery,
    transport: DnsTransport,
    guest: DnsGuest,
    came: Millis,
    taker: DnsTaker,
    stale: CacheEntry | undefined,
  ) {
    this.lookup = lookup;
    this.query = query;
    this.transport = transport;
    this.guest = guest;
    this.came = came;
    this.taker = taker;
    this.stale = stale;
  }

  fire(now: Millis): void {
    this.lookup.owner.expired(this, now);
  }
}

/** One lookup on the way: what an upstream replies to. */
export class Lookup implements DnsReply {
  readonly owner: LookupOwner;
  /** The first query of it, with bytes of its own. */
  readonly query: DnsQuery;
  readonly transport: DnsTransport;
  /** Undefined: the host's resolver is asked. */
  readonly upstream: DnsUpstream | undefined;
  /** The name has servers of its own. */
  readonly isRouted: boolean;
  first: Waiting | undefined;
  chain: Lookup | undefined;

  constructor(
    owner: LookupOwner,
    query: DnsQuery,
    transport: DnsTransport,
    upstream: DnsUpstream | undefined,
    isRouted: boolean,
  ) {
    this.owner = owner;
    this.query = query;
    this.transport = transport;
    this.upstream = upstream;
    this.isRouted = isRouted;
  }

  answered(bytes: Uint8Array, server?: string): void {
    const valid = bytes.length >= HEADER && bytes.length <= MAX_MESSAGE;
    this.owner.settled(this, valid ? { source: 'relay', bytes, server } : BROKEN);
  }

  failed(error: DnsUpstreamError): void {
    this.owner.settled(this, failure(error));
  }

  add(waiting: Waiting): void {
    waiting.next = this.first;
    if (this.first !== undefined) this.first.previous = waiting;
    this.first = waiting;
  }

  remove(waiting: Waiting): void {
    if (waiting.previous === undefined) this.first = waiting.next;
    else waiting.previous.next = waiting.next;
    if (waiting.next !== undefined) waiting.next.previous = waiting.previous;
    waiting.previous = waiting.next = undefined;
  }
}

/** All lookups on the way, by what they ask. */
export class Lookups {
  size = 0;
  private readonly chains = new Map<number, Lookup>();

  /** A lookup whose answer serves this query too. */
  find(query: DnsQuery, transport: DnsTransport, upstream: DnsUpstream | undefined): Lookup | undefined {
    let lookup = this.chains.get(keyOf(query));
    for (; lookup !== undefined; lookup = lookup.chain) {
      if (lookup.upstream !== upstream) continue;
      if (
        upstream === undefined ? sameName(lookup.query, query) : sameBytes(lookup.query.bytes, query.bytes)
      ) {
        if (upstream === undefined || lookup.transport === transport) return lookup;
      }
    }
    return undefined;
  }

  add(lookup: Lookup): void {
    const key = keyOf(lookup.query);
    lookup.chain = this.chains.get(key);
    this.chains.set(key, lookup);
    this.size++;
  }

  /** Forgets a lookup, if it is here. */
  remove(lookup: Lookup): void {
    const key = keyOf(lookup.query);
    let at = this.chains.get(key);
    if (at === lookup) {
      if (lookup.chain === undefined) this.chains.delete(key);
      else this.chains.set(key, lookup.chain);
    } else {
      while (at !== undefined && at.chain !== lookup) at = at.chain;
      if (at === undefined) return;
      at.chain = lookup.chain;
    }
    lookup.chain = undefined;
    this.size--;
  }
}

function keyOf({ hash, question }: DnsQuery): number {
  return hash ^ question.type;
}

function sameName(one: DnsQuery, other: DnsQuery): boolean {
  return one.question.type === other.question.type && one.question.name === other.question.name;
}

/** All of the queries but their ids. */
function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let i = 2; i < one.length; i++) if (one[i] !== other[i]) return false;
  return true;
}
