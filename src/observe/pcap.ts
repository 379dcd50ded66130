/** The classic pcap format: little-endian, microseconds (draft-ietf-opsawg-pcap). */

/** Captured bytes per frame at most. */
export const SNAP_LENGTH = 262_144;
/** LINKTYPE_ETHERNET. */
export const LINKTYPE_ETHERNET = 1;
const MAGIC = 0xa1b2c3d4;
const RECORD_HEADER = 16;

/** The file header, 24 bytes. */
export function pcapHeader(): Uint8Array {
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, SNAP_LENGTH, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  return bytes;
}

/** Bytes of a record with a frame of `length` bytes. */
export function pcapRecordLength(length: number): number {
  return RECORD_HEADER + length;
}

/** Writes a record at `at`; `wall` is milliseconds since 1970. Returns the offset behind it. */
export function writePcapRecord(
  view: DataView,
  at: number,
  wall: number,
  frame: Uint8Array,
  offset: number,
  length: number,
): number {
  const seconds = Math.floor(wall / 1000);
  view.setUint32(at, seconds, true);
  view.setUint32(at + 4, Math.floor((wall - seconds * 1000) * 1000), true);
  view.setUint32(at + 8, length, true);
  view.setUint32(at + 12, length, true);
  copy(view, at + RECORD_HEADER, frame, offset, length);
  return at + RECORD_HEADER + length;
}

/** Copies a frame into the buffer behind a view. */
export function copy(view: DataView, at: number, frame: Uint8Array, offset: number, length: number): void {
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(
    frame.subarray(offset, offset + length),
    at,
  );
}
