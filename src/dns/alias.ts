/**
 * Aliases of own zones that lead out of them: the gateway asks for the other name in the client's words and puts what it
 * got behind the aliases, as a resolver does (RFC 1034 section 4.3.2).
 *
 * The other answer's records are copied byte for byte; what changes is where they stand, so pointers in their names
 * (RFC 1035 section 4.1.4) are moved by as much.
 */
import type { Millis } from '../core/index.js';
import { buildAnswer } from './answer.js';
import { Flag, RecordType } from './codes.js';
import { HEADER, parseQuery, readRecord, setWord, skipQuestion, word, type DnsQuery } from './message.js';
import { encodeName } from './names.js';
import { DnsUpstreamError, type DnsReply, type DnsTransport, type DnsUpstream } from './types.js';
import type { Zones } from './zones.js';

/** Asks for another name, as one of the gateway's own guests; undefined: there was no answer. */
export type AskElsewhere = (
  query: Uint8Array,
  transport: DnsTransport,
) => Promise<Uint8Array | undefined> | Uint8Array | undefined;

export class AliasUpstream implements DnsUpstream {
  private readonly zones: Zones;
  private readonly elsewhere: AskElsewhere;

  constructor(zones: Zones, elsewhere: AskElsewhere) {
    this.zones = zones;
    this.elsewhere = elsewhere;
  }

  query(bytes: Uint8Array, transport: DnsTransport, _timeout: Millis, reply: DnsReply): void {
    this.follow(bytes, transport).then(
      (answer) => {
        if (answer === undefined)
          reply.failed(new DnsUpstreamError('unreachable', 'the alias leads nowhere'));
        else reply.answered(answer);
      },
      () => {
        reply.failed(new DnsUpstreamError('unreachable', 'the alias leads nowhere'));
      },
    );
  }

  close(): void {
    // Nothing is held here: who asks elsewhere ends it.
  }

  private async follow(bytes: Uint8Array, transport: DnsTransport): Promise<Uint8Array | undefined> {
    const parsed = parseQuery(bytes);
    if (parsed.kind !== 'query') return undefined;
    const { query } = parsed;
    const chain = this.zones.chain(query.question);
    if (chain === undefined || chain === 'loop') return undefined;
    const { rcode, answers, authorities, outside } = chain;
    // The zone may have changed meanwhile.
    if (outside === undefined)
      return buildAnswer(query, { rcode, authoritative: true, answers, authorities });
    const answer = await this.elsewhere(queryFor(query, outside), transport);
    if (answer === undefined) return undefined;
    const begin = buildAnswer({ ...query, edns: undefined }, { rcode, authoritative: true, answers });
    return joinAnswers(begin, answer);
  }
}

/** The same question about another name. */
function queryFor({ bytes, questionEnd }: DnsQuery, name: string): Uint8Array {
  const encoded = encodeName(name) ?? Uint8Array.of(0);
  const head = bytes.subarray(0, HEADER);
  return Uint8Array.from([...head, ...encoded, ...bytes.subarray(questionEnd - 4)]);
}

/**
 * One answer of the records of `begin`, which end in an alias, and of `answer`, whose question is the name that it leads
 * to: its rcode, its records, its OPT. Undefined when `answer` cannot be read or a pointer of it would lead too far.
 */
export function joinAnswers(begin: Uint8Array, answer: Uint8Array): Uint8Array | undefined {
  if (answer.length < HEADER) return undefined;
  const from = word(answer, 4) === 0 ? HEADER : skipQuestion(answer, HEADER);
  if (from === undefined) return undefined;
  const joined = new Uint8Array(begin.length + answer.length - from);
  joined.set(begin);
  joined.set(answer.subarray(from), begin.length);
  // Not authoritative for what others said, nor may their AD bit speak for the alias.
  const flags = word(answer, 2) & (Flag.rcode | Flag.truncated | Flag.recursionAvailable);
  setWord(joined, 2, (word(begin, 2) & ~Flag.rcode) | flags);
  setWord(joined, 6, word(begin, 6) + word(answer, 6));
  setWord(joined, 8, word(answer, 8));
  setWord(joined, 10, word(answer, 10));
  // The last alias ends with the name that the other question begins with.
  const target = begin.length - (from - HEADER - 4);
  return movePointers(joined, begin.length, from, target) ? joined : undefined;
}

/** Moves the pointers of all records from `at` on, which stood at `from` before; false when that cannot be done. */
function movePointers(bytes: Uint8Array, at: number, from: number, target: number): boolean {
  const begin = at;
  const moved = (pointer: number): number =>
    pointer < from ? target + pointer - HEADER : pointer + begin - from;
  const move = (offset: number): number | undefined => {
    let place = offset;
    for (let length = bytes[place]; length !== undefined; length = bytes[place]) {
      if (length === 0) return place + 1;
      if (length >= 0xc0) {
        const to = moved(word(bytes, place) & 0x3fff);
        if (to > 0x3fff || place + 2 > bytes.length) return undefined;
        setWord(bytes, place, 0xc000 | to);
        return place + 2;
      }
      place += 1 + length;
    }
    return undefined;
  };
  let next = begin;
  while (next < bytes.length) {
    const record = readRecord(bytes, next);
    if (record === undefined || move(next) === undefined) return false;
    const names = NAMES_IN_DATA.get(record.type);
    let place = record.data + (names?.skip ?? 0);
    for (let left = names?.count ?? 0; left > 0; left--) {
      const behind = place < record.next ? move(place) : undefined;
      if (behind === undefined) return false;
      place = behind;
    }
    next = record.next;
  }
  return true;
}

/** Types whose data may have compressed names (RFC 1035, RFC 1183, RFC 3597 section 4): after how many bytes, how many. */
const NAMES_IN_DATA: ReadonlyMap<number, { readonly skip: number; readonly count: number }> = new Map([
  ...[RecordType.NS, 3, 4, RecordType.CNAME, 7, 8, 9, RecordType.PTR, 39].map(
    (type) => [type, { skip: 0, count: 1 }] as const,
  ),
  // SOA, MINFO, RP; MX, AFSDB, RT, KX; SRV, which old servers compress.
  ...[RecordType.SOA, 14, 17].map((type) => [type, { skip: 0, count: 2 }] as const),
  ...[RecordType.MX, 18, 21, 36].map((type) => [type, { skip: 2, count: 1 }] as const),
  [RecordType.SRV, { skip: 6, count: 1 }],
]);
