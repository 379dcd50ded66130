/**
 * Ethernet II frames (IEEE 802.3 section 3, RFC 894), bare: no FCS, no preamble, no minimum length, VLAN tags not
 * interpreted.
 */
import { type Mac, readMac, writeMac } from '../core/index.js';

/** Offsets from the start of the frame. */
export const ETH_DST = 0;
export const ETH_SRC = 6;
export const ETH_TYPE = 12;
/** Header length, bytes. */
export const ETH_HEADER = 14;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;

/** A frame for services, tests and tools. */
export interface EthernetFrame {
  readonly destination: Mac;
  readonly source: Mac;
  readonly etherType: number;
  readonly payload: Uint8Array;
}

/** Undefined when there is no whole header. The payload is a view. */
export function parseEthernet(bytes: Uint8Array): EthernetFrame | undefined {
  if (bytes.length < ETH_HEADER) return undefined;
  return {
    destination: readMac(bytes, ETH_DST),
    source: readMac(bytes, ETH_SRC),
    etherType: (bytes[ETH_TYPE]! << 8) | bytes[ETH_TYPE + 1]!,
    payload: bytes.subarray(ETH_HEADER),
  };
}

/** Writes the header at `offset`; returns the offset behind it. */
export function writeEthernetHeader(
  bytes: Uint8Array,
  offset: number,
  destination: Mac,
  source: Mac,
  etherType: number,
): number {
  writeMac(bytes, offset + ETH_DST, destination);
  writeMac(bytes, offset + ETH_SRC, source);
  bytes[offset + ETH_TYPE] = etherType >>> 8;
  bytes[offset + ETH_TYPE + 1] = etherType & 255;
  return offset + ETH_HEADER;
}

/** The whole frame as new bytes. */
export function emitEthernet(frame: EthernetFrame): Uint8Array {
  const bytes = new Uint8Array(ETH_HEADER + frame.payload.length);
  writeEthernetHeader(bytes, 0, frame.destination, frame.source, frame.etherType);
  bytes.set(frame.payload, ETH_HEADER);
  return bytes;
}
