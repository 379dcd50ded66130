/** UDP (RFC 768, RFC 1122 section 4.1). */
import { type Ipv4, finish, fold, pseudoSum, sumView } from '../core/index.js';

/** Header length, bytes. */
export const UDP_HEADER = 8;
/** Largest payload in IPv4 without options, bytes. */
export const UDP_MAX_PAYLOAD = 65535 - 20 - UDP_HEADER;
const PROTOCOL = 17;

export interface UdpDatagram {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

/** Why a datagram is none. */
export type UdpFault = 'truncated' | 'length' | 'checksum';

/**
 * Checks the lengths, and the checksum where one is sent (0: none) and `verify` asks for it. `length`: bytes that are
 * there.
 */
export function udpFault(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  length: number,
  source: Ipv4,
  destination: Ipv4,
  verify: boolean,
): UdpFault | undefined {
  if (length < UDP_HEADER) return 'truncated';
  const said = view.getUint16(at + 4);
  if (said < UDP_HEADER || said > length) return 'length';
  if (!verify || view.getUint16(at + 6) === 0) return undefined;
  return fold(sumView(view, at, said, pseudoSum(source, destination, PROTOCOL, said))) === 0xffff
    ? undefined
    : 'checksum';
}

/** Undefined when it is not a right datagram between these addresses. The payload is a view. */
export function parseUdp(bytes: Uint8Array, source: Ipv4, destination: Ipv4): UdpDatagram | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (udpFault(view, bytes, 0, bytes.length, source, destination, true) !== undefined) return undefined;
  return {
    sourcePort: view.getUint16(0),
    destinationPort: view.getUint16(2),
    payload: bytes.subarray(UDP_HEADER, view.getUint16(4)),
  };
}

/** The datagram with its checksum as new bytes. */
export function emitUdp(datagram: UdpDatagram, source: Ipv4, destination: Ipv4): Uint8Array {
  const length = UDP_HEADER + datagram.payload.length;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, datagram.sourcePort);
  view.setUint16(2, datagram.destinationPort);
  view.setUint16(4, length);
  bytes.set(datagram.payload, UDP_HEADER);
  view.setUint16(6, udpChecksum(view, 0, length, source, destination));
  return bytes;
}

/** Checksum of a datagram whose checksum field is 0; a computed 0 goes as 0xffff (RFC 768). */
export function udpChecksum(
  view: DataView,
  at: number,
  length: number,
  source: Ipv4,
  destination: Ipv4,
): number {
  return finish(sumView(view, at, length, pseudoSum(source, destination, PROTOCOL, length))) || 0xffff;
}
