/** The pcapng format: little-endian, microseconds, one section (draft-ietf-opsawg-pcapng). */
import { copy, LINKTYPE_ETHERNET, SNAP_LENGTH } from './pcap.js';

const BLOCK = { section: 0x0a0d0d0a, interface: 1, statistics: 5, packet: 6 } as const;
const BYTE_ORDER = 0x1a2b3c4d;
const OPTION = {
  end: 0,
  userApplication: 4,
  name: 2,
  resolution: 9,
  flags: 2,
  received: 4,
  dropped: 5,
} as const;
/** Timestamps count units of 10^-6 s. */
const MICROSECONDS = 6;
/** Bytes of a packet block around its frame: header 28, the flags option 8, end of options 4, length 4. */
const PACKET_OVERHEAD = 44;
/** Values of epb_flags, bits 0 and 1 (section 4.3.1). */
const DIRECTION = { in: 1, out: 2 } as const;

export type Direction = keyof typeof DIRECTION;

const padded = (length: number): number => (length + 3) & ~3;

interface Option {
  readonly code: number;
  readonly value: Uint8Array;
}

/** Section header block: names who wrote the file. */
export function sectionHeader(application: string): Uint8Array {
  const fixed = new Uint8Array(16);
  const view = new DataView(fixed.buffer);
  view.setUint32(0, BYTE_ORDER, true);
  view.setUint16(4, 1, true);
  // Section length: not known, -1.
  view.setUint32(8, 0xffffffff, true);
  view.setUint32(12, 0xffffffff, true);
  return block(BLOCK.section, fixed, [{ code: OPTION.userApplication, value: text(application) }]);
}

/** Interface description block. Interfaces are numbered in the order in which they are described. */
export function interfaceDescription(name: string): Uint8Array {
  const fixed = new Uint8Array(8);
  const view = new DataView(fixed.buffer);
  view.setUint16(0, LINKTYPE_ETHERNET, true);
  view.setUint32(4, SNAP_LENGTH, true);
  return block(BLOCK.interface, fixed, [
    { code: OPTION.name, value: text(name) },
    { code: OPTION.resolution, value: Uint8Array.of(MICROSECONDS) },
  ]);
}

/** Interface statistics block: how many frames were seen, and dropped by the capture, until `wall`. */
export function interfaceStatistics(
  interfaceId: number,
  wall: number,
  received: number,
  dropped: number,
): Uint8Array {
  const fixed = new Uint8Array(12);
  const view = new DataView(fixed.buffer);
  view.setUint32(0, interfaceId, true);
  setTimestamp(view, 4, wall);
  return block(BLOCK.statistics, fixed, [
    { code: OPTION.received, value: u64(received) },
    { code: OPTION.dropped, value: u64(dropped) },
  ]);
}

/** Bytes of a packet block with a frame of `length` bytes. */
export function packetLength(length: number): number {
  return PACKET_OVERHEAD + padded(length);
}

/** Writes an enhanced packet block at `at`; `wall` is milliseconds since 1970. Returns the offset behind it. */
export function writePacket(
  view: DataView,
  at: number,
  wall: number,
  interfaceId: number,
  direction: Direction,
  frame: Uint8Array,
  offset: number,
  length: number,
): number {
  const total = packetLength(length);
  view.setUint32(at, BLOCK.packet, true);
  view.setUint32(at + 4, total, true);
  view.setUint32(at + 8, interfaceId, true);
  setTimestamp(view, at + 12, wall);
  view.setUint32(at + 20, length, true);
  view.setUint32(at + 24, length, true);
  copy(view, at + 28, frame, offset, length);
  let next = at + 28 + length;
  for (const end = at + 28 + padded(length); next < end; next++) view.setUint8(next, 0);
  view.setUint16(next, OPTION.flags, true);
  view.setUint16(next + 2, 4, true);
  view.setUint32(next + 4, DIRECTION[direction], true);
  view.setUint32(next + 8, OPTION.end, true);
  view.setUint32(next + 12, total, true);
  return at + total;
}

function block(type: number, fixed: Uint8Array, options: readonly Option[]): Uint8Array {
  const size = options.reduce((sum, { value }) => sum + 4 + padded(value.length), 4);
  const total = 12 + fixed.length + size;
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, total, true);
  bytes.set(fixed, 8);
  let at = 8 + fixed.length;
  for (const { code, value } of options) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  view.setUint32(total - 4, total, true);
  return bytes;
}

/** Upper then lower 32 bits of the microseconds. */
function setTimestamp(view: DataView, at: number, wall: number): void {
  const micros = Math.floor(wall * 1000);
  view.setUint32(at, Math.floor(micros / 0x100000000), true);
  view.setUint32(at + 4, micros % 0x100000000, true);
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}

/** An option's text is at most 65,535 bytes; a name of a link is cut well below. */
function text(value: string): Uint8Array {
  return new TextEncoder().encode(value).subarray(0, 255);
}
