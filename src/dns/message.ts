/**
 * Queries, read byte by byte and strictly: one question, nothing in answer and authority, at most one OPT record, no
 * bytes behind. Nothing here throws; what cannot be answered at all is dropped with a reason, what can be refused
 * with a readable header is refused as RFC 1035 and RFC 6891 say.
 */
import { Flag, Rcode, RecordType } from './codes.js';
import { NameTable, lower } from './name-table.js';
import { readName, skipName } from './names.js';

export const HEADER = 12;
/** A UDP answer to a client that said nothing about its size (RFC 1035 section 2.3.4). */
export const PLAIN_UDP_SIZE = 512;
/** The largest UDP answer that we ask for and promise to take, small enough never to be fragmented. */
export const OWN_UDP_SIZE = 1232;

export interface Edns {
  readonly udpSize: number;
  readonly version: number;
  /** DNSSEC OK (RFC 3225). */
  readonly dnssecOk: boolean;
  /** The client's options (subnet, cookie, padding …), which we do not read. */
  readonly options: boolean;
}

export interface Question {
  /** Lower-case text, see names.ts. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

/** A query that can be answered. */
export interface DnsQuery {
  readonly bytes: Uint8Array;
  readonly id: number;
  /** Second word of the header. */
  readonly flags: number;
  readonly question: Question;
  /** Offset behind the question. */
  readonly questionEnd: number;
  readonly edns: Edns | undefined;
  /** Of the name, whatever its case; 32 bits. */
  readonly hash: number;
  /** It has records besides OPT: a signature (TSIG, SIG(0)), which is for the server to judge. */
  readonly signed: boolean;
}

export type ParsedQuery =
  | { readonly kind: 'query'; readonly query: DnsQuery }
  /** To be answered with this rcode; the question is absent when it could not be read. */
  | {
      readonly kind: 'refuse';
      readonly rcode: number;
      readonly query: Omit<DnsQuery, 'question'> & { readonly question?: Question };
    }
  | { readonly kind: 'drop'; readonly reason: 'tooShort' | 'notAQuery' };

const TOO_SHORT = { kind: 'drop', reason: 'tooShort' } as const;
const NAMES = new NameTable();
const NOT_A_QUERY = { kind: 'drop', reason: 'notAQuery' } as const;

/** `names` has the texts of names that were read before. */
export function parseQuery(bytes: Uint8Array, names = NAMES): ParsedQuery {
  if (bytes.length < HEADER) return TOO_SHORT;
  const flags = word(bytes, 2);
  // Never answer an answer: two servers would talk forever.
  if ((flags & Flag.response) !== 0) return NOT_A_QUERY;
  if ((flags & Flag.opcode) !== 0) return refuse(bytes, Rcode.notImp);
  if (word(bytes, 4) !== 1 || !names.read(bytes, HEADER)) return refuse(bytes, Rcode.formErr);
  const { next, name, hash } = names;
  if (next + 4 > bytes.length) return refuse(bytes, Rcode.formErr);
  const question = { name, type: word(bytes, next), class: word(bytes, next + 2) };
  const questionEnd = next + 4;
  const additional = word(bytes, 10);
  const edns = additional === 0 && bytes.length === questionEnd ? undefined : readEdns(bytes, questionEnd);
  if (word(bytes, 6) !== 0 || word(bytes, 8) !== 0 || edns === 'malformed') {
    return refuse(bytes, Rcode.formErr, question, questionEnd);
  }
  if (edns !== undefined && edns.version !== 0) {
    return refuse(bytes, Rcode.badVers, question, questionEnd, edns);
  }
  const signed = additional > (edns === undefined ? 0 : 1);
  return {
    kind: 'query',
    query: { bytes, id: word(bytes, 0), flags, question, questionEnd, edns, hash, signed },
  };
}

function refuse(
  bytes: Uint8Array,
  rcode: number,
  question?: Question,
  questionEnd = HEADER,
  edns?: Edns,
): ParsedQuery {
  const bare = {
    bytes,
    id: word(bytes, 0),
    flags: word(bytes, 2),
    questionEnd,
    edns,
    hash: 0,
    signed: false,
  };
  return { kind: 'refuse', rcode, query: question === undefined ? bare : { ...bare, question } };
}

/** The name (normal form) that a query with a checked question asks for. */
export function questionName(bytes: Uint8Array): string | undefined {
  return readName(bytes, HEADER)?.name;
}

/** Walks the additional section to its end, which must be the message's. */
function readEdns(bytes: Uint8Array, offset: number): Edns | undefined | 'malformed' {
  let at = offset;
  let edns: Edns | undefined;
  for (let left = word(bytes, 10); left > 0; left--) {
    const record = readRecord(bytes, at);
    if (record === undefined) return 'malformed';
    if (record.type === RecordType.OPT) {
      // RFC 6891 section 6.1.1: one, and its name is the root.
      if (edns !== undefined || bytes[at] !== 0 || !optionsFit(bytes, record)) return 'malformed';
      edns = {
        udpSize: Math.max(PLAIN_UDP_SIZE, record.class),
        version: (record.ttl >>> 16) & 255,
        dnssecOk: (record.ttl & 0x8000) !== 0,
        options: record.next > record.data,
      };
    }
    at = record.next;
  }
  return at === bytes.length ? edns : 'malformed';
}

function optionsFit(bytes: Uint8Array, record: RecordSpan): boolean {
  let at = record.data;
  while (at < record.next) {
    if (at + 4 > record.next) return false;
    at += 4 + word(bytes, at + 2);
  }
  return at === record.next;
}

/** Where a resource record lies. */
export interface RecordSpan {
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  /** Offset of the data. */
  readonly data: number;
  readonly next: number;
}

/** The record at an offset; undefined when it runs over the end. */
export function readRecord(bytes: Uint8Array, offset: number): RecordSpan | undefined {
  const fixed = skipName(bytes, offset);
  if (fixed === undefined || fixed + 10 > bytes.length) return undefined;
  const data = fixed + 10;
  const next = data + word(bytes, fixed + 8);
  if (next > bytes.length) return undefined;
  const ttl = (word(bytes, fixed + 4) * 0x10000 + word(bytes, fixed + 6)) >>> 0;
  return { type: word(bytes, fixed), class: word(bytes, fixed + 2), ttl, data, next };
}

/** The big-endian 16 bits at an offset; 0 behind the end. */
export function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function setWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/**
 * Whether a message answers a query that was sent: a response with its id and question (RFC 5452 section 3). A server
 * that refuses or does not understand may leave the question out.
 */
export function isAnswerTo(answer: Uint8Array, query: Uint8Array): boolean {
  if (answer.length < HEADER || word(answer, 0) !== word(query, 0)) return false;
  const flags = word(answer, 2);
  if ((flags & Flag.response) === 0 || ((flags ^ word(query, 2)) & Flag.opcode) !== 0) return false;
  if (word(answer, 4) === 0) return answer.length === HEADER && (flags & Flag.rcode) !== Rcode.noError;
  const end = (skipName(query, HEADER) ?? query.length) + 4;
  if (word(answer, 4) !== 1 || answer.length < end) return false;
  for (let i = HEADER; i < end - 4; i++) if (lower(answer[i]!) !== lower(query[i]!)) return false;
  for (let i = end - 4; i < end; i++) if (answer[i] !== query[i]) return false;
  return true;
}

/** Offset behind the question at `offset`; undefined when it runs over the end. */
export function skipQuestion(bytes: Uint8Array, offset: number): number | undefined {
  const end = skipName(bytes, offset);
  return end !== undefined && end + 4 <= bytes.length ? end + 4 : undefined;
}
