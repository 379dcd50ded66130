/**
 * What of an answer may be kept, and for how long (RFC 2308, RFC 9520). An answer that cannot be read to its end, that
 * was cut, that is signed, or that leaves open what it says is not kept.
 */
import { Flag, Rcode, RecordType } from './codes.js';
import { HEADER, readRecord, skipQuestion, word } from './message.js';
import { skipName } from './names.js';

/** RFC 9520 section 3.2: at least a second; more would stand in the way of a server that is back. */
const FAILURE_TTL = 1;

/** What `inspect` found: one object, used again for each answer. */
export class Cacheable {
  /** Seconds that the answer may be kept. */
  ttl = 0;
  negative = false;
  /** Offset behind what is kept: the OPT record, which is no part of the answer (RFC 6891 section 6.2.6), stands last. */
  end = 0;
  hasOpt = false;
  /** Offsets of the TTLs. */
  readonly ttls: number[] = [];
  private soa = -1;
  private answered = false;
  private least = 0;

  /** Whether an answer to a question of that type may be kept. */
  inspect(answer: Uint8Array, type: number): boolean {
    const flags = word(answer, 2);
    const rcode = flags & Flag.rcode;
    this.reset();
    if ((flags & Flag.truncated) !== 0 || word(answer, 4) !== 1 || !this.walk(answer, type)) return false;
    this.negative = rcode === Rcode.nxDomain || !this.answered;
    if (rcode === Rcode.servFail) this.ttl = FAILURE_TTL;
    else if (rcode !== Rcode.noError && rcode !== Rcode.nxDomain) return false;
    else if (!this.negative) this.ttl = this.least;
    // RFC 2308 section 5: without an SOA nothing says for how long; it may as well be a referral.
    else this.ttl = Math.min(this.soa, this.least);
    return this.ttl > 0;
  }

  private reset(): void {
    this.ttls.length = 0;
    this.soa = -1;
    this.answered = false;
    this.hasOpt = false;
    this.least = 0xffff_ffff;
  }

  private walk(answer: Uint8Array, type: number): boolean {
    const start = skipQuestion(answer, HEADER);
    if (start === undefined) return false;
    let at = start;
    for (let section = 0; section < 3; section++) {
      for (let left = word(answer, 6 + 2 * section); left > 0; left--) {
        const next = this.record(answer, at, section, type);
        if (next === 0) return false;
        at = next;
      }
    }
    if (!this.hasOpt) this.end = at;
    return at === answer.length;
  }

  /** Offset behind a record; 0 when the answer is not to be kept. */
  private record(answer: Uint8Array, at: number, section: number, type: number): number {
    const record = readRecord(answer, at);
    // An OPT record amid others would have to be cut out, and what points behind it be moved.
    if (record === undefined || this.hasOpt || SIGNATURES.has(record.type)) return 0;
    if (record.type === RecordType.OPT) {
      // The upper bits of the rcode (RFC 6891 section 6.1.3): none of those is for keeping.
      if (section !== 2 || record.ttl >>> 24 !== 0) return 0;
      this.hasOpt = true;
      this.end = at;
      return record.next;
    }
    // RFC 2181 section 8: the upper half of the range means 0.
    const ttl = record.ttl > 0x7fff_ffff ? 0 : record.ttl;
    this.ttls.push(record.data - 6);
    this.least = Math.min(this.least, ttl);
    if (section === 0 && (record.type === type || type === RecordType.ANY)) this.answered = true;
    if (section === 1 && record.type === RecordType.SOA) this.soa = Math.min(ttl, minimumOf(answer, record));
    return record.next;
  }
}

const SIGNATURES: ReadonlySet<number> = new Set([24, 250]);

/** RFC 2308 section 4: the last of the SOA's numbers. */
function minimumOf(answer: Uint8Array, { data, next }: { data: number; next: number }): number {
  const second = skipName(answer, data);
  const numbers = second === undefined ? undefined : skipName(answer, second);
  if (numbers === undefined || numbers + 20 !== next) return 0;
  return (word(answer, numbers + 16) * 0x10000 + word(answer, numbers + 18)) >>> 0;
}
