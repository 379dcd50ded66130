/**
 * Domain names. On the wire they are any bytes in labels of up to 63 and 255 in all (RFC 1035 section 3.1, RFC 2181
 * section 11); as text they are lower-case labels joined by dots, with everything unusual escaped as in zone files
 * (`\046`), so that two names are equal exactly when their texts are. The root is the empty text.
 */

const MAX_NAME = 255;
const MAX_LABEL = 63;
const DOT = 0x2e;

export interface ReadName {
  readonly name: string;
  /** Offset behind it. */
  readonly next: number;
}

/** Reads an uncompressed name that ends before `end`; undefined when there is none. */
export function readName(bytes: Uint8Array, offset: number, end = bytes.length): ReadName | undefined {
  let name = '';
  let at = offset;
  for (;;) {
    if (at >= end || at - offset >= MAX_NAME) return undefined;
    const length = bytes[at++]!;
    if (length === 0) return { name, next: at };
    if (length > MAX_LABEL || at + length > end) return undefined;
    if (name !== '') name += '.';
    for (let i = at; i < at + length; i++) name += character(bytes[i]!);
    at += length;
  }
}

/** The text of each byte; letters in lower case. */
const CHARACTERS = Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte).toLowerCase();
  const plain = byte > 0x20 && byte < 0x7f && !'.\\"();@$'.includes(char);
  return plain ? char : `\\${byte.toString().padStart(3, '0')}`;
});

function character(byte: number): string {
  return CHARACTERS[byte]!;
}

/** Steps over a name, compressed or not, without following pointers; undefined when it runs over the end. */
export function skipName(bytes: Uint8Array, offset: number): number | undefined {
  let at = offset;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) return undefined;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2 <= bytes.length ? at + 2 : undefined;
    if (length > MAX_LABEL || at - offset >= MAX_NAME) return undefined;
    at += 1 + length;
  }
}

/** Writes a plain name, with or without the dot at its end; undefined when it is none. Escapes are not understood. */
export function encodeName(name: string): Uint8Array | undefined {
  const bare = name.endsWith('.') ? name.slice(0, -1) : name;
  if (bare === '') return name === '' || name === '.' ? Uint8Array.of(0) : undefined;
  if (bare.length + 2 > MAX_NAME || !/^[\x21-\x5b\x5d-\x7e]+$/.test(bare)) return undefined;
  const bytes = new Uint8Array(bare.length + 2);
  let at = 0;
  for (const label of bare.split('.')) {
    if (label.length === 0 || label.length > MAX_LABEL) return undefined;
    bytes[at++] = label.length;
    for (let i = 0; i < label.length; i++) bytes[at++] = label.charCodeAt(i);
  }
  return bytes;
}

/** Lower case and no dot at the end: how names are compared; undefined when it is no name. */
export function normalName(name: string): string | undefined {
  const bytes = encodeName(name);
  return bytes && readName(bytes, 0)?.name;
}

/** Whether a name is the zone's own or below it. Both normal. */
export function isWithin(name: string, zone: string): boolean {
  const dot = name.length - zone.length - 1;
  if (dot < 0) return name === zone || zone === '';
  // Asked for every query: no text is built.
  return zone === '' || (name.charCodeAt(dot) === DOT && name.endsWith(zone));
}

/** The name of an address' PTR record: `2.127.168.192.in-addr.arpa`. */
export function reverseName(ip: number): string {
  return `${ip & 255}.${(ip >>> 8) & 255}.${(ip >>> 16) & 255}.${ip >>> 24}.in-addr.arpa`;
}

/** The address, as text, that a reverse name stands for; undefined when it is not the whole name of one. */
export function reverseAddress(name: string): string | undefined {
  if (name.endsWith('.in-addr.arpa')) {
    const parts = name.slice(0, -'.in-addr.arpa'.length).split('.');
    const valid =
      parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
    return valid ? parts.reverse().join('.') : undefined;
  }
  if (name.endsWith('.ip6.arpa')) {
    const nibbles = name.slice(0, -'.ip6.arpa'.length).split('.');
    if (nibbles.length !== 32 || !nibbles.every((nibble) => /^[0-9a-f]$/.test(nibble))) return undefined;
    const digits = nibbles.reverse().join('');
    return digits.match(/.{4}/g)?.join(':');
  }
  return undefined;
}
