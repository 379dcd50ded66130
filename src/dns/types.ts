/** What goes in and out of the DNS server. */
import type { Clock, HostResolver, Millis } from '../core/index.js';
import type { AnswerParts } from './answer.js';
import type { DnsCacheOptions } from './cache.js';
import type { RcodeName } from './codes.js';
import type { Question } from './message.js';

export type DnsTransport = 'udp' | 'tcp';

/** Who asks. */
export interface DnsGuest {
  readonly id: string | number;
}

/** Names that are known here, before anybody is asked: built-in names, zones of our own, the hosts file. */
export interface LocalNames {
  /** Under which answers are counted and told. */
  readonly source: DnsSource;
  /**
   * The answer; undefined: the next one is asked. Called for every query, cached names too, so it must be quick: a look-up
   * or two, nothing built for names that it does not have.
   */
  resolve(question: Question, guest: DnsGuest): AnswerParts | undefined;
}

/** Who gets what an upstream found; one of the two is called, once, never from inside `query`. */
export interface DnsReply {
  /** The bytes are lent for the call. `server`: who said so, for logs. */
  answered(bytes: Uint8Array, server?: string): void;
  failed(error: DnsUpstreamError): void;
}

/** Servers of the host that queries are passed to. Made by src/host. */
export interface DnsUpstream {
  /**
   * Asks with the query's bytes, which are the upstream's until it has replied and whose id it may change, and replies
   * with an answer that matches them, its id arbitrary. By `udp` a truncated answer is asked for again by TCP. Fails when
   * there is none within `timeout`.
   */
  query(bytes: Uint8Array, transport: DnsTransport, timeout: Millis, reply: DnsReply): void;
  close(): void;
}

export type DnsUpstreamFailure =
  | 'timeout'
  /** Every server is unreachable or refuses the connection. */
  | 'unreachable'
  /** The host has no name servers. */
  | 'noServers'
  /** Too many queries on the way. */
  | 'overloaded'
  | 'closed';

export class DnsUpstreamError extends Error {
  override readonly name = 'DnsUpstreamError';
  readonly code: DnsUpstreamFailure;

  constructor(code: DnsUpstreamFailure, message: string) {
    super(message);
    this.code = code;
  }
}

/** The host's hosts file. */
export interface HostsNames {
  /** The addresses of a name (normal form) of both families; undefined when the file does not have it. */
  addresses(name: string): readonly string[] | undefined;
  /** The names of an address. */
  names(address: string): readonly string[] | undefined;
}

/** How the host finds addresses now: by hosts file and name servers alone, or only its own resolver knows. */
export type SystemMode = 'relay' | 'resolver';

/** One answer, for logs and for those who learn from answers. */
export interface DnsEvent {
  readonly guest: DnsGuest;
  /** Undefined when it could not be read. */
  readonly question: Question | undefined;
  readonly source: DnsSource;
  readonly rcode: number;
  /** From the query's coming to the answer's going. */
  readonly millis: Millis;
  readonly transport: DnsTransport;
  /** Which name server said so, of answers that were relayed. */
  readonly server: string | undefined;
  /** What the guest gets, lent for the call. */
  readonly answer: Uint8Array;
}

/** A decision of the policy. */
export interface DnsDenial {
  readonly id: number;
  readonly rule: string;
}

export interface DnsConfig {
  /** In the order in which they are asked. */
  readonly local: readonly LocalNames[];
  /** Who is asked about the names that `route` has nothing for. */
  readonly upstream: DnsUpstream;
  /**
   * Split DNS: whom a name (normal form) goes to, and to nobody else; undefined: the host's own way, by resolver or
   * `upstream`. Names with a route are always relayed.
   */
  readonly route?: ((name: string) => DnsUpstream | undefined) | undefined;
  /** Needed where `mode` says `resolver`. */
  readonly resolver?: HostResolver | undefined;
  /** Asked with each query, because the host's settings change. Default `resolver` if there is one. */
  readonly mode?: (() => SystemMode) | undefined;
  /** Why a guest may not ask for a name; undefined: it may. Default: it may. */
  readonly decide?: ((name: string, guest: DnsGuest) => DnsDenial | undefined) | undefined;
  /**
   * Answers with private addresses are refused (rebinding.ts), but for these domains (normal form), for names of one label
   * and for names that have a route. Absent: they are not looked at.
   */
  readonly privateNames?: readonly string[] | undefined;
  /** Told of each answer, once. Must not throw. */
  readonly observe?: ((event: DnsEvent) => void) | undefined;
  /** For the latency of what was waited for; without it, that counts as 0. */
  readonly clock?: Pick<Clock, 'now'> | undefined;
  /** What name servers say is kept for later. */
  readonly cache?: DnsCacheOptions | undefined;
  /** A number that changes when what name servers said before may not hold any more: the cache is emptied. */
  readonly settings?: (() => number) | undefined;
  /** A secret number, so that nobody can aim at a place of the tables. */
  readonly seed?: number | undefined;
  /** How long a guest waits at most before it gets SERVFAIL. Default 5000. */
  readonly deadline?: Millis | undefined;
  /** Queries of one guest a second, as many at once; 0: no limit. Default 0. */
  readonly maxRate?: number | undefined;
  /** Queries of one guest on the way. Default 256. */
  readonly maxPerGuest?: number | undefined;
  /** Different queries of all guests on the way. Default 4096. */
  readonly maxInFlight?: number | undefined;
}

/** Where an answer came from. */
export type DnsSource =
  | 'builtin'
  | 'zone'
  | 'hosts'
  | 'cache'
  | 'stale'
  | 'resolver'
  | 'relay'
  | 'policy'
  | 'limit'
  | 'deadline'
  | 'error';
/** One step on the way of a query. */
export interface DnsStep {
  readonly source: DnsSource;
  /** false: it goes on to the next one. */
  readonly answers: boolean;
}

export type DnsDrop = 'tooShort' | 'notAQuery';

export interface DnsCounters {
  readonly received: Readonly<Record<DnsTransport, number>>;
  readonly answered: Readonly<Partial<Record<RcodeName | 'other', number>>>;
  readonly sources: Readonly<Record<DnsSource, number>>;
  readonly drops: Readonly<Record<DnsDrop, number>>;
  /** Queries that waited for another guest's identical one. */
  readonly merged: number;
  /** UDP answers that were cut. */
  readonly truncated: number;
  /** Answers by the ms that they took: at most `LATENCY_BUCKETS[i]`, and in the last one more than all of these. */
  readonly latency: readonly number[];
}
