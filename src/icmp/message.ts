/** ICMP (RFC 792, RFC 1122 section 3.2.2, RFC 1191 section 4). */
import { checksum } from '../core/index.js';

export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_ECHO_REQUEST = 8;
export const ICMP_TIME_EXCEEDED = 11;
export const ICMP_PARAMETER_PROBLEM = 12;

/** Codes of ICMP_UNREACHABLE (RFC 792, RFC 1812 section 5.2.7.1). */
export const UNREACHABLE_NET = 0;
export const UNREACHABLE_HOST = 1;
export const UNREACHABLE_PROTOCOL = 2;
export const UNREACHABLE_PORT = 3;
export const UNREACHABLE_FRAGMENTATION = 4;
export const UNREACHABLE_PROHIBITED = 13;
/** The last code that is assigned. */
export const UNREACHABLE_MAX = 15;

/** Codes of ICMP_TIME_EXCEEDED. */
export const EXCEEDED_TTL = 0;
export const EXCEEDED_REASSEMBLY = 1;

/** Header length, bytes. */
export const ICMP_HEADER = 8;
/** RFC 1812 section 4.3.2.3: an error packet does not exceed 576 bytes. */
export const ICMP_QUOTE_MAX = 576 - 20 - ICMP_HEADER;

export interface IcmpMessage {
  readonly type: number;
  readonly code: number;
  /** The 4 bytes behind the checksum: id and sequence of an echo, next-hop MTU in the lower half of an unreachable. */
  readonly rest: number;
  readonly body: Uint8Array;
}

/** Undefined when it is short or its checksum is wrong. The body is a view. */
export function parseIcmp(bytes: Uint8Array): IcmpMessage | undefined {
  if (bytes.length < ICMP_HEADER || checksum(bytes, 0, bytes.length) !== 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { type: bytes[0]!, code: bytes[1]!, rest: view.getUint32(4), body: bytes.subarray(ICMP_HEADER) };
}

/** The message with its checksum as new bytes. */
export function emitIcmp(message: IcmpMessage): Uint8Array {
  const bytes = new Uint8Array(ICMP_HEADER + message.body.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = message.type;
  bytes[1] = message.code;
  view.setUint32(4, message.rest);
  bytes.set(message.body, ICMP_HEADER);
  view.setUint16(2, checksum(bytes, 0, bytes.length));
  return bytes;
}

/** True for messages that are errors: they are never answered with an error (RFC 1122 section 3.2.2). */
export function isIcmpError(type: number): boolean {
  return (
    type === ICMP_UNREACHABLE ||
    type === ICMP_TIME_EXCEEDED ||
    type === ICMP_PARAMETER_PROBLEM ||
    type === 4 ||
    type === 5
  );
}
