/** What an answer tells its reader: the addresses in it. */
import { type Ipv4, ipv4 } from '../core/index.js';
import { CLASS_IN, RecordType } from './codes.js';
import { HEADER, word } from './message.js';
import { skipName } from './names.js';

/** Calls with each IPv4 address of an answer and its TTL, seconds. What is no whole answer tells what stands before its fault. */
export function eachAddress(answer: Uint8Array, tell: (ip: Ipv4, ttl: number) => void): void {
  eachRecord(answer, (at, data, length) => {
    if (word(answer, at) === RecordType.A && word(answer, at + 2) === CLASS_IN && length === 4)
      tell(ipv4(long(answer, data)), long(answer, at + 4));
  });
}

/** Calls with each record of the answer section: where its type stands, class and TTL behind it, and where its data. */
export function eachRecord(
  answer: Uint8Array,
  tell: (at: number, data: number, length: number) => void,
): void {
  if (answer.length < HEADER) return;
  let at: number | undefined = HEADER;
  for (let n = word(answer, 4); n > 0; n--) {
    at = skipName(answer, at);
    if (at === undefined) return;
    at += 4;
  }
  for (let n = word(answer, 6); n > 0; n--) {
    at = skipName(answer, at);
    if (at === undefined || at + 10 > answer.length) return;
    const length = word(answer, at + 8);
    const data: number = at + 10;
    if (data + length > answer.length) return;
    tell(at, data, length);
    at = data + length;
  }
}

function long(bytes: Uint8Array, offset: number): number {
  return word(bytes, offset) * 65_536 + word(bytes, offset + 2);
}
