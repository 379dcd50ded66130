/** Records of own zones as people write them: the data of one type as in zone files (RFC 1035 section 5.1), names always whole. */
import { NetproxyError, addressBytes } from '../core/index.js';
import { RecordType } from './codes.js';
import { setWord } from './message.js';
import { encodeName, normalName } from './names.js';

export const ZONE_TYPES = ['A', 'AAAA', 'CNAME', 'TXT', 'SRV', 'MX', 'PTR'] as const;
export type ZoneType = (typeof ZONE_TYPES)[number];

/** Bytes of a text record at most; longer ones than 255 are cut into strings (RFC 1035 section 3.3.14). */
const MAX_TEXT = 16_384;
const MAX_STRING = 255;

const ALLOWED: Readonly<Record<ZoneType, string>> = {
  A: 'an IPv4 address',
  AAAA: 'an IPv6 address',
  CNAME: 'a name',
  PTR: 'a name',
  TXT: `a text of up to ${MAX_TEXT} bytes`,
  MX: 'a preference and a name, such as 10 mail.example',
  SRV: 'priority, weight, port and name, such as 0 5 5432 db.example',
};

/** The data in wire form. Throws ERR_NETPROXY_CONFIG saying what is allowed. */
export function dataOfText(type: ZoneType, text: string): Uint8Array {
  const data = readData(type, text);
  if (data !== undefined) return data;
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  throw new NetproxyError('ERR_NETPROXY_CONFIG', `"${shown}" is no value of a ${type} record`, {
    remedy: `Allowed is ${ALLOWED[type]}.`,
  });
}

/** The name that an alias leads to, in normal form. */
export function aliasTarget(text: string): string {
  return normalName(text) ?? '';
}

function readData(type: ZoneType, text: string): Uint8Array | undefined {
  switch (type) {
    case 'A':
      return sized(addressBytes(text), 4);
    case 'AAAA':
      return sized(addressBytes(text), 16);
    case 'CNAME':
    case 'PTR':
      return encodeName(text);
    case 'TXT':
      return strings(text);
    case 'MX':
      return numbersAndName(text, 1);
    case 'SRV':
      return numbersAndName(text, 3);
  }
}

function sized(bytes: Uint8Array | undefined, length: number): Uint8Array | undefined {
  return bytes?.length === length ? bytes : undefined;
}

function strings(text: string): Uint8Array | undefined {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > MAX_TEXT) return undefined;
  const count = Math.max(1, Math.ceil(bytes.length / MAX_STRING));
  const data = new Uint8Array(bytes.length + count);
  for (let i = 0; i < count; i++) {
    const piece = bytes.subarray(i * MAX_STRING, (i + 1) * MAX_STRING);
    data[i * (MAX_STRING + 1)] = piece.length;
    data.set(piece, i * (MAX_STRING + 1) + 1);
  }
  return data;
}

/** Some numbers of 16 bits, then a name; `.` says that there is no such service (RFC 2782, RFC 7505). */
function numbersAndName(text: string, count: number): Uint8Array | undefined {
  const words = text.trim().split(/\s+/);
  const name = encodeName(words[count] ?? '-');
  if (words.length !== count + 1 || name === undefined) return undefined;
  const data = new Uint8Array(2 * count + name.length);
  for (const [i, word] of words.slice(0, count).entries()) {
    if (!/^\d{1,5}$/.test(word) || Number(word) > 65_535) return undefined;
    setWord(data, 2 * i, Number(word));
  }
  data.set(name, 2 * count);
  return data;
}

/** The number of a type. */
export function typeNumber(type: ZoneType): number {
  return RecordType[type];
}
