/** Answers that we author, and answers of any origin cut to what the client takes. */
import dnsPacket from 'dns-packet';
import { addressBytes } from '../core/index.js';
import { CLASS_IN, EXTENDED_ERROR_OPTION, Flag, RecordType } from './codes.js';
import { HEADER, OWN_UDP_SIZE, readRecord, setWord, skipQuestion, word, type DnsQuery } from './message.js';
import { encodeName } from './names.js';

/** A record that we author; the data is in wire form. */
export interface DnsRecord {
  /** Undefined: the name that was asked for, in the client's spelling. */
  readonly name?: string | undefined;
  readonly type: number;
  /** Seconds. */
  readonly ttl: number;
  readonly data: Uint8Array;
}

export interface ExtendedErrorInfo {
  readonly code: number;
  readonly text: string;
}

export interface AnswerParts {
  readonly rcode: number;
  readonly authoritative?: boolean | undefined;
  readonly answers?: readonly DnsRecord[] | undefined;
  readonly authorities?: readonly DnsRecord[] | undefined;
  /** Told when the query had EDNS. */
  readonly error?: ExtendedErrorInfo | undefined;
}

/** Offset of the data in a message of one record without a question, named by the root. */
const RDATA = HEADER + 1 + 10;
/** RFC 1035 section 4.1.4: a pointer to the question's name, which always stands behind the header. */
const QUESTION_NAME = Uint8Array.of(0xc0, HEADER);

/** The data of a record in wire form; undefined where the value cannot be written. */
export function recordData(answer: AuthoredData): Uint8Array | undefined {
  try {
    const record = { name: '.', ttl: 0, ...answer } as dnsPacket.Answer;
    return Uint8Array.from(dnsPacket.encode({ type: 'response', answers: [record] }).subarray(RDATA));
  } catch {
    return undefined;
  }
}

/** RFC 1035 section 3.3.13; the times are seconds. */
export interface SoaData {
  readonly mname: string;
  readonly rname: string;
  readonly serial?: number;
  readonly refresh?: number;
  readonly retry?: number;
  readonly expire?: number;
  readonly minimum?: number;
}

/** What `recordData` writes. Names in it must have passed `encodeName`: dns-packet checks neither names nor addresses. */
export type AuthoredData =
  | { readonly type: 'PTR' | 'CNAME' | 'NS'; readonly data: string }
  | { readonly type: 'SOA'; readonly data: SoaData }
  | { readonly type: 'TXT'; readonly data: string[] };

/** An address record of the asked name; undefined when the text is no address of that family, or has a zone. */
export function addressRecord(address: string, family: 4 | 6, ttl: number): DnsRecord | undefined {
  const data = addressBytes(address);
  if (data?.length !== (family === 4 ? 4 : 16)) return undefined;
  return { type: family === 4 ? RecordType.A : RecordType.AAAA, ttl, data };
}

/** A PTR record of the asked name; undefined when the target is no name. */
export function pointerRecord(target: string, ttl: number): DnsRecord | undefined {
  const data = encodeName(target);
  return data && { type: RecordType.PTR, ttl, data };
}

/** The SOA of a zone of ours; its ttl is also how long a negative answer may be kept (RFC 2308). */
export function soaRecord(zone: string, primary: string, ttl: number): DnsRecord {
  const mail = zone === '' ? 'nobody.invalid' : `nobody.${zone}`;
  const times = { serial: 1, refresh: 3600, retry: 600, expire: 86_400, minimum: ttl };
  const data = recordData({ type: 'SOA', data: { mname: primary, rname: mail, ...times } });
  return { name: zone, type: RecordType.SOA, ttl, data: data ?? new Uint8Array() };
}

type Answerable = Omit<DnsQuery, 'question'>;

/** Writes the whole answer; `fitAnswer` cuts it. */
export function buildAnswer(query: Answerable, parts: AnswerParts): Uint8Array {
  const question = query.bytes.subarray(HEADER, query.questionEnd);
  const answers = (parts.answers ?? []).map(encodeRecord);
  const authorities = (parts.authorities ?? []).map(encodeRecord);
  const opt = query.edns === undefined ? [] : [encodeOpt(query.edns.dnssecOk, parts)];
  const all = [question, ...answers, ...authorities, ...opt];
  const bytes = new Uint8Array(all.reduce((sum, piece) => sum + piece.length, HEADER));
  setWord(bytes, 0, query.id);
  setWord(bytes, 2, answerFlags(query.flags, parts));
  setWord(bytes, 4, question.length > 0 ? 1 : 0);
  setWord(bytes, 6, answers.length);
  setWord(bytes, 8, authorities.length);
  setWord(bytes, 10, opt.length);
  let at = HEADER;
  for (const piece of all) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function answerFlags(asked: number, parts: AnswerParts): number {
  const kept = asked & (Flag.opcode | Flag.recursionDesired | Flag.checkingDisabled);
  const aa = parts.authoritative === true ? Flag.authoritative : 0;
  return Flag.response | kept | aa | Flag.recursionAvailable | (parts.rcode & Flag.rcode);
}

function encodeRecord(record: DnsRecord): Uint8Array {
  const owner = record.name === undefined ? QUESTION_NAME : (encodeName(record.name) ?? QUESTION_NAME);
  const bytes = new Uint8Array(owner.length + 10 + record.data.length);
  bytes.set(owner);
  setWord(bytes, owner.length, record.type);
  setWord(bytes, owner.length + 2, CLASS_IN);
  setWord(bytes, owner.length + 4, record.ttl >>> 16);
  setWord(bytes, owner.length + 6, record.ttl & 0xffff);
  setWord(bytes, owner.length + 8, record.data.length);
  bytes.set(record.data, owner.length + 10);
  return bytes;
}

/** RFC 6891 section 6.1.2, with the extended error of RFC 8914. */
function encodeOpt(dnssecOk: boolean, parts: AnswerParts): Uint8Array {
  const text = new TextEncoder().encode(parts.error?.text ?? '');
  const option = parts.error === undefined ? 0 : 6 + text.length;
  const bytes = new Uint8Array(11 + option);
  setWord(bytes, 1, RecordType.OPT);
  setWord(bytes, 3, OWN_UDP_SIZE);
  bytes[5] = parts.rcode >>> 4;
  setWord(bytes, 7, dnssecOk ? 0x8000 : 0);
  setWord(bytes, 9, option);
  if (parts.error !== undefined) {
    setWord(bytes, 11, EXTENDED_ERROR_OPTION);
    setWord(bytes, 13, 2 + text.length);
    setWord(bytes, 15, parts.error.code);
    bytes.set(text, 17);
  }
  return bytes;
}

/**
 * Cuts an answer to `limit` bytes at the border of a record. Additional records go silently; when an answer or
 * authority record has to go, TC is set (RFC 2181 section 9). The OPT record stays. An answer that cannot be read is
 * cut down to its header and question.
 */
export function fitAnswer(answer: Uint8Array, limit: number): Uint8Array {
  if (answer.length <= limit) return answer;
  const layout = walk(answer, limit);
  const found = layout.opt && answer.subarray(layout.opt.start, layout.opt.end);
  const opt = found && layout.start + found.length <= limit ? found : undefined;
  const room = limit - (opt?.length ?? 0);
  let { start: end } = layout;
  const kept = [0, 0, 0];
  let dropped = layout.broken;
  for (const record of layout.records) {
    if (dropped && record.section < 2) continue;
    if (end !== record.start || record.end > room) {
      if (record.section < 2) dropped = true;
      continue;
    }
    end = record.end;
    kept[record.section]!++;
  }
  const cut = new Uint8Array(end + (opt?.length ?? 0));
  cut.set(answer.subarray(0, end));
  if (opt) cut.set(opt, end);
  if (dropped) setWord(cut, 2, word(cut, 2) | Flag.truncated);
  if (layout.start === HEADER) setWord(cut, 4, 0);
  for (let i = 0; i < 3; i++) setWord(cut, 6 + 2 * i, kept[i]! + (i === 2 && opt ? 1 : 0));
  return cut;
}

interface Layout {
  /** Offset behind the question. */
  readonly start: number;
  readonly records: readonly { readonly section: number; readonly start: number; readonly end: number }[];
  readonly opt: { readonly start: number; readonly end: number } | undefined;
  readonly broken: boolean;
}

function walk(answer: Uint8Array, limit: number): Layout {
  const records: { section: number; start: number; end: number }[] = [];
  let opt: Layout['opt'];
  const start = questionEnd(answer);
  if (start === undefined || start > limit) return { start: HEADER, records, opt, broken: true };
  let at = start;
  for (let section = 0; section < 3; section++) {
    for (let left = word(answer, 6 + 2 * section); left > 0; left--) {
      const record = readRecord(answer, at);
      if (record === undefined) return { start, records, opt, broken: true };
      if (section === 2 && record.type === RecordType.OPT) opt = { start: at, end: record.next };
      else records.push({ section, start: at, end: record.next });
      at = record.next;
    }
  }
  return { start, records, opt, broken: false };
}

function questionEnd(answer: Uint8Array): number | undefined {
  let at = HEADER;
  for (let left = word(answer, 4); left > 0; left--) {
    const next = skipQuestion(answer, at);
    if (next === undefined) return undefined;
    at = next;
  }
  return at;
}
