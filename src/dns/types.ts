/** What goes in and out of the DNS server. */
import type { HostResolver, Millis } from '../core/index.js';
import type { BuiltinNames } from './builtin.js';
import type { RcodeName } from './codes.js';

export type DnsTransport = 'udp' | 'tcp';

/** Who asks. */
export interface DnsGuest {
  readonly id: string | number;
}

/** Servers of the host that queries are passed to. Made by src/host. */
export interface DnsUpstream {
  /**
   * Asks with the query's bytes, the id aside, and resolves with the bytes of an answer that matches them, its id
   * arbitrary. By `udp` a truncated answer is asked for again by TCP. Rejects with a `DnsUpstreamError` when there is
   * none within `timeout`.
   */
  query(bytes: Uint8Array, transport: DnsTransport, timeout: Millis): Promise<Uint8Array>;
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

export interface DnsConfig {
  readonly builtin: BuiltinNames;
  readonly upstream: DnsUpstream;
  /** Needed where `mode` says `resolver`. */
  readonly resolver?: HostResolver | undefined;
  /** Consulted before the servers where `mode` says `relay`; the resolver reads the file by itself. */
  readonly hosts?: HostsNames | undefined;
  /** Asked with each query, because the host's settings change. Default `resolver` if there is one. */
  readonly mode?: (() => SystemMode) | undefined;
  /** Whether a guest may ask for a name. Default: it may. */
  readonly decide?: ((name: string, guest: DnsGuest) => 'allow' | 'deny') | undefined;
  /** How long a guest waits at most before it gets SERVFAIL. Default 5000. */
  readonly deadline?: Millis | undefined;
  /** Queries of one guest on the way. Default 256. */
  readonly maxPerGuest?: number | undefined;
  /** Different queries of all guests on the way. Default 4096. */
  readonly maxInFlight?: number | undefined;
}

/** Where an answer came from. */
export type DnsSource =
  'builtin' | 'hosts' | 'resolver' | 'relay' | 'policy' | 'limit' | 'deadline' | 'error';
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
}
