/**
 * Answers of name servers, kept for as long as their TTLs allow.
 *
 * Theory of operation. An answer is kept as its bytes without the OPT record, and behind them the offsets of its TTLs, in
 * one piece of memory. It is found by name, type, class and the bits of the query that change what a server says (DO, CD,
 * AD). An answer from the cache is those bytes with the client's id, its spelling of the question (0x20), its RD and CD
 * bits, the TTLs counted down, and an OPT record of ours when the client sent one. Nothing is allocated for it.
 *
 * What may be kept, cacheable.ts decides. Queries with options of EDNS, signatures or without RD are not answered from
 * here: their answers may be for them alone. The least recently used answers go when `maxBytes` is exceeded.
 *
 * With `staleSeconds`, answers are kept for that much longer, and given, with a TTL of 30 s and an extended error, when
 * nobody can be asked (RFC 8767).
 */
import type { Millis } from '../core/index.js';
import { Cacheable } from './cacheable.js';
import { ExtendedError, EXTENDED_ERROR_OPTION, Flag, RecordType } from './codes.js';
import { HEADER, OWN_UDP_SIZE, setWord, word, type DnsQuery } from './message.js';
import { lower } from './name-table.js';
import { isWithin } from './names.js';

export interface DnsCacheOptions {
  /** Bytes of all entries. Default 4 MiB; 0: nothing is kept. */
  readonly maxBytes?: number | undefined;
  /** Seconds that any answer is kept at most. Default 86,400. */
  readonly maxTtl?: number | undefined;
  /** Seconds that NXDOMAIN and NODATA are kept at most. Default 900. */
  readonly maxNegativeTtl?: number | undefined;
  /** Seconds that an answer may be given after its end when no server answers. Default 0: never. */
  readonly staleSeconds?: number | undefined;
}

export interface DnsCacheCounters {
  entries: number;
  bytes: number;
  hits: number;
  misses: number;
  stored: number;
  /** Entries that went because there was no more room. */
  evicted: number;
}

/** RFC 8767 section 4. */
const STALE_TTL = 30;
/** What an entry costs besides its bytes, as far as one can tell. */
const OVERHEAD = 320;
/** Longer answers come seldom, and would push out many others. */
const MAX_ENTRY = 16_384;
const MIN_PLACES = 256;
/** Bits of the key beside name, type and class. */
const DO_BIT = 0x1_0000;
const QUERY_BITS = Flag.checkingDisabled | Flag.authenticData;
const OPT_SIZE = 11;
const COPY_BYTES = 192;

export class CacheEntry {
  readonly hash: number;
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly bits: number;
  /** The answer, then the offsets of its TTLs as words. */
  bytes: Uint8Array;
  /** Bytes of the answer. */
  length: number;
  negative = false;
  storedAt: Millis = 0;
  expiresAt: Millis = 0;
  /** Nobody was reached after `expiresAt`; until then nobody is waited for again. */
  staleUntil: Millis = 0;
  chain: CacheEntry | undefined;
  newer: CacheEntry | undefined;
  older: CacheEntry | undefined;

  constructor(query: DnsQuery, bits: number, hash: number, bytes: Uint8Array, length: number) {
    this.hash = hash;
    this.name = query.question.name;
    this.type = query.question.type;
    this.class = query.question.class;
    this.bits = bits;
    this.bytes = bytes;
    this.length = length;
  }

  get cost(): number {
    return OVERHEAD + this.bytes.length;
  }
}

export class DnsCache {
  readonly counters: DnsCacheCounters = { entries: 0, bytes: 0, hits: 0, misses: 0, stored: 0, evicted: 0 };
  private readonly maxBytes: number;
  private readonly maxTtl: number;
  private readonly maxNegativeTtl: number;
  private readonly stale: Millis;
  private readonly cacheable = new Cacheable();
  private places: (CacheEntry | undefined)[] = new Array<undefined>(MIN_PLACES).fill(undefined);
  private newest: CacheEntry | undefined;
  private oldest: CacheEntry | undefined;

  constructor(options: DnsCacheOptions = {}) {
    this.maxBytes = options.maxBytes ?? 4 * 1024 * 1024;
    this.maxTtl = options.maxTtl ?? 86_400;
    this.maxNegativeTtl = options.maxNegativeTtl ?? 900;
    this.stale = (options.staleSeconds ?? 0) * 1000;
  }

  /** Whether answers are given though their time is over. */
  get servesStale(): boolean {
    return this.stale > 0;
  }

  /** What is known and still holds; undefined when nobody has asked, or the query's answer is for it alone. */
  find(query: DnsQuery, now: Millis): CacheEntry | undefined {
    if (!this.concerns(query)) return undefined;
    const entry = this.lookUp(query);
    if (entry === undefined || now >= entry.expiresAt) {
      this.counters.misses++;
      if (entry !== undefined && now >= entry.expiresAt + this.stale) this.remove(entry);
      return undefined;
    }
    this.counters.hits++;
    this.touch(entry);
    return entry;
  }

  /** What was known and may be given when nobody answers. */
  findStale(query: DnsQuery, now: Millis): CacheEntry | undefined {
    if (this.stale === 0 || !this.concerns(query)) return undefined;
    const entry = this.lookUp(query);
    return entry !== undefined && now < entry.expiresAt + this.stale ? entry : undefined;
  }

  /** Keeps an answer to a query, if it may; the bytes are copied. */
  store(query: DnsQuery, answer: Uint8Array, now: Millis): void {
    const { cacheable } = this;
    if (!this.concerns(query) || answer.length > MAX_ENTRY || !sameQuestion(query, answer)) return;
    if (!cacheable.inspect(answer, query.question.type)) return;
    const failed = (answer[3]! & Flag.rcode) === 2;
    const known = this.lookUp(query);
    // A failure does not take the place of what may still be given in spite of it.
    if (failed && known !== undefined && now < known.expiresAt + this.stale) return;
    if (known !== undefined) this.remove(known);
    const seconds = Math.min(cacheable.ttl, cacheable.negative ? this.maxNegativeTtl : this.maxTtl);
    const entry = this.makeEntry(query, answer);
    if (entry.cost > this.maxBytes) return;
    entry.storedAt = now;
    entry.expiresAt = now + seconds * 1000;
    entry.negative = cacheable.negative;
    this.insert(entry);
    this.counters.stored++;
    while (this.counters.bytes > this.maxBytes && this.oldest !== undefined) {
      this.counters.evicted++;
      this.remove(this.oldest);
    }
  }

  /** Writes the answer to a query at the beginning of `out` (65,535 bytes); returns its length. */
  write(entry: CacheEntry, query: DnsQuery, now: Millis, out: Uint8Array): number {
    const { bytes, length } = entry;
    copy(bytes, length, out);
    setWord(out, 0, query.id);
    const kept = query.flags & (Flag.recursionDesired | Flag.checkingDisabled);
    const cleared = Flag.authoritative | Flag.recursionDesired | Flag.checkingDisabled;
    setWord(out, 2, (word(out, 2) & ~cleared) | kept);
    for (let i = HEADER; i < query.questionEnd; i++) out[i] = query.bytes[i]!;
    const stale = now >= entry.expiresAt;
    // What was kept for less long than its TTLs said still tells them: the client may know better.
    const age = Math.max(0, Math.floor((now - entry.storedAt) / 1000));
    for (let i = length; i < bytes.length; i += 2) {
      const at = word(bytes, i);
      const ttl = stale ? STALE_TTL : Math.max(0, ((word(out, at) << 16) | word(out, at + 2)) - age);
      setWord(out, at, ttl >>> 16);
      setWord(out, at + 2, ttl & 0xffff);
    }
    return query.edns === undefined ? length : appendOpt(out, length, query.edns.dnssecOk, stale);
  }

  /** Forgets everything, or what is known of a name (normal form) and the names below it. */
  flush(within = ''): void {
    for (let entry = this.newest; entry !== undefined;) {
      const next: CacheEntry | undefined = entry.older;
      if (isWithin(entry.name, within)) this.remove(entry);
      entry = next;
    }
  }

  /** Whether queries like this may get each other's answers. */
  private concerns(query: DnsQuery): boolean {
    if (this.maxBytes === 0 || query.signed || query.edns?.options === true) return false;
    return (query.flags & Flag.recursionDesired) !== 0;
  }

  private lookUp(query: DnsQuery): CacheEntry | undefined {
    const { name, type, class: asked } = query.question;
    const bits = bitsOf(query);
    const hash = hashOf(query, bits);
    let entry = this.places[hash & (this.places.length - 1)];
    for (; entry !== undefined; entry = entry.chain) {
      if (entry.hash !== hash || entry.type !== type || entry.class !== asked || entry.bits !== bits)
        continue;
      if (entry.name === name) return entry;
    }
    return undefined;
  }

  private makeEntry(query: DnsQuery, answer: Uint8Array): CacheEntry {
    const { end, ttls, hasOpt } = this.cacheable;
    const bytes = new Uint8Array(end + 2 * ttls.length);
    bytes.set(answer.subarray(0, end));
    if (hasOpt) setWord(bytes, 10, word(bytes, 10) - 1);
    for (let i = 0; i < ttls.length; i++) setWord(bytes, end + 2 * i, ttls[i]!);
    const bits = bitsOf(query);
    return new CacheEntry(query, bits, hashOf(query, bits), bytes, end);
  }

  private insert(entry: CacheEntry): void {
    if (this.counters.entries >= this.places.length) this.grow();
    this.chain(entry);
    this.link(entry);
    this.counters.entries++;
    this.counters.bytes += entry.cost;
  }

  private chain(entry: CacheEntry): void {
    const place = entry.hash & (this.places.length - 1);
    entry.chain = this.places[place];
    this.places[place] = entry;
  }

  private grow(): void {
    this.places = new Array<undefined>(this.places.length * 2).fill(undefined);
    for (let entry = this.newest; entry !== undefined; entry = entry.older) this.chain(entry);
  }

  private remove(entry: CacheEntry): void {
    const place = entry.hash & (this.places.length - 1);
    let before = this.places[place];
    if (before === entry) this.places[place] = entry.chain;
    else {
      while (before !== undefined && before.chain !== entry) before = before.chain;
      if (before !== undefined) before.chain = entry.chain;
    }
    this.unlink(entry);
    this.counters.entries--;
    this.counters.bytes -= entry.cost;
  }

  private touch(entry: CacheEntry): void {
    if (this.newest === entry) return;
    this.unlink(entry);
    this.link(entry);
  }

  private link(entry: CacheEntry): void {
    entry.older = this.newest;
    entry.newer = undefined;
    if (this.newest !== undefined) this.newest.newer = entry;
    this.newest = entry;
    this.oldest ??= entry;
  }

  private unlink(entry: CacheEntry): void {
    if (entry.newer === undefined) this.newest = entry.older;
    else entry.newer.older = entry.older;
    if (entry.older === undefined) this.oldest = entry.newer;
    else entry.older.newer = entry.newer;
    entry.newer = entry.older = undefined;
  }
}

function bitsOf({ flags, edns }: DnsQuery): number {
  return (flags & QUERY_BITS) | (edns?.dnssecOk === true ? DO_BIT : 0);
}

function hashOf({ hash, question }: DnsQuery, bits: number): number {
  const mixed = Math.imul(hash ^ (question.type << 16) ^ question.class ^ Math.imul(bits, 31), 0x9e3779b1);
  return mixed ^ (mixed >>> 16);
}

/** Whether the answer repeats the query's question: an upstream of somebody else's making may not have looked. */
function sameQuestion({ bytes, question, questionEnd }: DnsQuery, answer: Uint8Array): boolean {
  const end = questionEnd - 4;
  if (answer.length < questionEnd) return false;
  for (let i = HEADER; i < end; i++) if (lower(answer[i]!) !== lower(bytes[i]!)) return false;
  return word(answer, end) === question.type && word(answer, end + 2) === question.class;
}

function copy(bytes: Uint8Array, length: number, out: Uint8Array): void {
  // Below some length a loop is faster than `set`, which needs a view of its own.
  if (length > COPY_BYTES) out.set(bytes.subarray(0, length));
  else for (let i = 0; i < length; i++) out[i] = bytes[i]!;
}

/** Writes an OPT record behind an answer; returns the new length. */
function appendOpt(out: Uint8Array, at: number, dnssecOk: boolean, stale: boolean): number {
  const option = stale ? 6 : 0;
  setWord(out, 10, word(out, 10) + 1);
  out[at] = 0;
  setWord(out, at + 1, RecordType.OPT);
  setWord(out, at + 3, OWN_UDP_SIZE);
  setWord(out, at + 5, 0);
  setWord(out, at + 7, dnssecOk ? 0x8000 : 0);
  setWord(out, at + 9, option);
  if (stale) {
    setWord(out, at + OPT_SIZE, EXTENDED_ERROR_OPTION);
    setWord(out, at + OPT_SIZE + 2, 2);
    setWord(out, at + OPT_SIZE + 4, ExtendedError.staleAnswer);
  }
  return at + OPT_SIZE + option;
}
