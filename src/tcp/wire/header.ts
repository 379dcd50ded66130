/**
 * The TCP header (RFC 9293 section 3.1): offsets for the data path, and a plain object with parse and emit for
 * tests and tools. Checksums need the IP addresses and are the caller's.
 */
import { seq, type Block, type Seq } from '../../core/index.js';
import type { SegmentIn } from '../types.js';
import { emitOptions, optionsLength, parseOptions, type TcpOptions } from './options.js';

export const SOURCE_PORT = 0;
export const DESTINATION_PORT = 2;
export const SEQUENCE = 4;
export const ACKNOWLEDGMENT = 8;
/** Upper 4 bits: header length in words. */
export const DATA_OFFSET = 12;
export const FLAGS = 13;
export const WINDOW = 14;
export const CHECKSUM = 16;
export const URGENT = 18;
/** The header without options, bytes. */
export const MIN_HEADER = 20;

/** Header length in bytes as the header says it; may lie. */
export function headerLength(view: DataView, at: number): number {
  return (view.getUint8(at + DATA_OFFSET) >> 4) * 4;
}

/**
 * Fills a SegmentIn from `length` bytes at `at` of the block. False when the header does not fit or its length is
 * a lie; the segment is then undefined.
 */
export function readSegment(
  segment: SegmentIn,
  block: Block,
  at: number,
  length: number,
  ecn: number,
): boolean {
  if (length < MIN_HEADER) return false;
  const { view } = block.region;
  const header = headerLength(view, at);
  if (header < MIN_HEADER || header > length) return false;
  segment.block = block;
  segment.header = at;
  segment.data = at + header;
  segment.length = length - header;
  segment.seq = view.getInt32(at + SEQUENCE) as Seq;
  segment.ack = view.getInt32(at + ACKNOWLEDGMENT) as Seq;
  segment.flags = view.getUint8(at + FLAGS);
  segment.window = view.getUint16(at + WINDOW);
  segment.ecn = ecn;
  return true;
}

/** A header as a plain object. */
export interface TcpHeader {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: Seq;
  readonly ack: Seq;
  /** FIN, SYN, … of types.ts. */
  readonly flags: number;
  readonly window: number;
  readonly checksum: number;
  readonly urgent: number;
  readonly options: TcpOptions;
}

/** Undefined when `length` bytes at `at` hold no whole header. */
export function parseHeader(view: DataView, at: number, length: number): TcpHeader | undefined {
  if (length < MIN_HEADER) return undefined;
  const size = headerLength(view, at);
  if (size < MIN_HEADER || size > length) return undefined;
  return {
    sourcePort: view.getUint16(at + SOURCE_PORT),
    destinationPort: view.getUint16(at + DESTINATION_PORT),
    seq: seq(view.getUint32(at + SEQUENCE)),
    ack: seq(view.getUint32(at + ACKNOWLEDGMENT)),
    flags: view.getUint8(at + FLAGS),
    window: view.getUint16(at + WINDOW),
    checksum: view.getUint16(at + CHECKSUM),
    urgent: view.getUint16(at + URGENT),
    options: parseOptions(view, at + MIN_HEADER, at + size),
  };
}

/** Bytes that `emitHeader` writes. */
export function emittedLength(header: TcpHeader): number {
  return MIN_HEADER + optionsLength(header.options);
}

/** Writes the header; returns its length. */
export function emitHeader(header: TcpHeader, bytes: Uint8Array, view: DataView, at: number): number {
  const length = MIN_HEADER + emitOptions(header.options, bytes, at + MIN_HEADER);
  view.setUint16(at + SOURCE_PORT, header.sourcePort);
  view.setUint16(at + DESTINATION_PORT, header.destinationPort);
  view.setUint32(at + SEQUENCE, header.seq);
  view.setUint32(at + ACKNOWLEDGMENT, header.ack);
  view.setUint8(at + DATA_OFFSET, (length / 4) << 4);
  view.setUint8(at + FLAGS, header.flags);
  view.setUint16(at + WINDOW, header.window);
  view.setUint16(at + CHECKSUM, header.checksum);
  view.setUint16(at + URGENT, header.urgent);
  return length;
}
