/**
 * The DHCP message (RFC 2131 section 2): fixed header, magic cookie, options.
 *
 * Options are raw bytes by code; `options.ts` reads and writes their values. Parsing joins options that come in
 * several pieces (RFC 3396) and reads the `file` and `sname` fields when option 52 says that options overflowed there.
 *
 * Supported: Ethernet clients (htype 1, hlen 6). Not supported: other hardware types, BOOTP vendor extensions without
 * the cookie.
 */
import { ipv4, readMac, writeMac, type Ipv4, type Mac } from '../core/index.js';
import { Option } from './codes.js';

/** Offsets of RFC 2131 figure 1. */
const field = {
  op: 0,
  htype: 1,
  hlen: 2,
  hops: 3,
  xid: 4,
  secs: 8,
  flags: 10,
  ciaddr: 12,
  yiaddr: 16,
  siaddr: 20,
  giaddr: 24,
  chaddr: 28,
  sname: 44,
  file: 108,
  cookie: 236,
  options: 240,
} as const;

const COOKIE = 0x63825363;
const BROADCAST_FLAG = 0x8000;
const SNAME_LENGTH = 64;
const FILE_LENGTH = 128;

/** Old clients and relays drop anything shorter than a BOOTP message (RFC 1542 section 2.1). */
export const MIN_MESSAGE = 300;

/** Raw option values by code, in the order in which they were first seen or shall be sent. */
export type DhcpOptions = ReadonlyMap<number, Uint8Array>;

export interface DhcpMessage {
  /** 1 from a client, 2 from a server. */
  readonly op: 1 | 2;
  readonly hops: number;
  readonly xid: number;
  /** Seconds since the client began. */
  readonly secs: number;
  /** The client cannot receive unicast before it has an address. */
  readonly broadcast: boolean;
  readonly ciaddr: Ipv4;
  readonly yiaddr: Ipv4;
  readonly siaddr: Ipv4;
  readonly giaddr: Ipv4;
  readonly chaddr: Mac;
  readonly options: DhcpOptions;
}

/** Why bytes are no DHCP message that we understand. */
export type DhcpParseError =
  'tooShort' | 'badOp' | 'badHardware' | 'badCookie' | 'truncatedOption' | 'badOverload';

/** Parses a UDP payload. Never throws: what it cannot read comes back as the name of the reason. */
export function parseDhcp(
  bytes: Uint8Array,
  offset = 0,
  length = bytes.length - offset,
): DhcpMessage | DhcpParseError {
  if (length < field.options || offset < 0 || offset + length > bytes.length) return 'tooShort';
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, length);
  const op = view.getUint8(field.op);
  if (op !== 1 && op !== 2) return 'badOp';
  if (view.getUint8(field.htype) !== 1 || view.getUint8(field.hlen) !== 6) return 'badHardware';
  if (view.getUint32(field.cookie) !== COOKIE) return 'badCookie';
  const own = bytes.subarray(offset, offset + length);
  const options = parseOptions(own);
  if (typeof options === 'string') return options;
  return {
    op,
    hops: view.getUint8(field.hops),
    xid: view.getUint32(field.xid),
    secs: view.getUint16(field.secs),
    broadcast: (view.getUint16(field.flags) & BROADCAST_FLAG) !== 0,
    ciaddr: ipv4(view.getUint32(field.ciaddr)),
    yiaddr: ipv4(view.getUint32(field.yiaddr)),
    siaddr: ipv4(view.getUint32(field.siaddr)),
    giaddr: ipv4(view.getUint32(field.giaddr)),
    chaddr: readMac(own, field.chaddr),
    options,
  };
}

function parseOptions(bytes: Uint8Array): DhcpOptions | DhcpParseError {
  const pieces = new Map<number, Uint8Array[]>();
  if (!scanOptions(bytes.subarray(field.options), pieces)) return 'truncatedOption';
  const overload = pieces.get(Option.overload)?.[0];
  if (overload !== undefined) {
    const where = overload[0] ?? 0;
    if (overload.length !== 1 || where < 1 || where > 3) return 'badOverload';
    // RFC 3396 section 5: the options field first, then file, then sname.
    if ((where & 1) !== 0 && !scanOptions(bytes.subarray(field.file, field.file + FILE_LENGTH), pieces)) {
      return 'truncatedOption';
    }
    if ((where & 2) !== 0 && !scanOptions(bytes.subarray(field.sname, field.sname + SNAME_LENGTH), pieces)) {
      return 'truncatedOption';
    }
    pieces.delete(Option.overload);
  }
  const options = new Map<number, Uint8Array>();
  for (const [code, parts] of pieces) options.set(code, join(parts));
  return options;
}

/** Collects the options of one field; false when one runs over its end. A missing End option is forgiven. */
function scanOptions(bytes: Uint8Array, into: Map<number, Uint8Array[]>): boolean {
  let at = 0;
  while (at < bytes.length) {
    const code = bytes[at++]!;
    if (code === Option.pad) continue;
    if (code === Option.end) return true;
    const length = bytes[at++];
    if (length === undefined || at + length > bytes.length) return false;
    const piece = bytes.slice(at, at + length);
    const known = into.get(code);
    if (known) known.push(piece);
    else into.set(code, [piece]);
    at += length;
  }
  return true;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Bytes that an option takes, split in pieces of 255 where it is longer (RFC 3396). */
export function emittedOptionLength(value: Uint8Array): number {
  return value.length + 2 * Math.max(1, Math.ceil(value.length / 255));
}

/** Bytes that `emitDhcp` writes. */
export function emittedDhcpLength(message: DhcpMessage): number {
  let length = field.options + 1;
  for (const value of message.options.values()) length += emittedOptionLength(value);
  return Math.max(length, MIN_MESSAGE);
}

/** Writes a message and returns its length; `into` must have room for `emittedDhcpLength`. */
export function emitDhcp(message: DhcpMessage, into: Uint8Array, offset = 0): number {
  const length = emittedDhcpLength(message);
  const bytes = into.subarray(offset, offset + length).fill(0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  view.setUint8(field.op, message.op);
  view.setUint8(field.htype, 1);
  view.setUint8(field.hlen, 6);
  view.setUint8(field.hops, message.hops);
  view.setUint32(field.xid, message.xid);
  view.setUint16(field.secs, message.secs);
  view.setUint16(field.flags, message.broadcast ? BROADCAST_FLAG : 0);
  view.setUint32(field.ciaddr, message.ciaddr);
  view.setUint32(field.yiaddr, message.yiaddr);
  view.setUint32(field.siaddr, message.siaddr);
  view.setUint32(field.giaddr, message.giaddr);
  writeMac(bytes, field.chaddr, message.chaddr);
  view.setUint32(field.cookie, COOKIE);
  let at: number = field.options;
  for (const [code, value] of message.options) at = emitOption(bytes, at, code, value);
  bytes[at] = Option.end;
  return length;
}

function emitOption(bytes: Uint8Array, at: number, code: number, value: Uint8Array): number {
  let from = 0;
  do {
    const piece = value.subarray(from, from + 255);
    bytes[at] = code;
    bytes[at + 1] = piece.length;
    bytes.set(piece, at + 2);
    at += 2 + piece.length;
    from += 255;
  } while (from < value.length);
  return at;
}

/** A message as bytes of its own. */
export function encodeDhcp(message: DhcpMessage): Uint8Array {
  const bytes = new Uint8Array(emittedDhcpLength(message));
  emitDhcp(message, bytes);
  return bytes;
}

/** Room that a message of `maxLength` bytes leaves for options, the End option set aside. */
export function optionRoom(maxLength: number): number {
  return maxLength - field.options - 1;
}
