/**
 * The text of a state file: one line per record, each with its CRC-32, so that damage is found line by line.
 *
 *     3a0c9f51 {"format":"netproxy state","version":1,"records":2}
 *     9be1d2c0 ["lease/192.168.127.2",{"ip":"192.168.127.2",…}]
 *     50ab7713 ["lease/192.168.127.3",{"ip":"192.168.127.3",…}]
 *     77c1e00f ["lease/192.168.127.3"]
 *
 * The header tells how many records were written with it, at once; those after them were added later. The last record
 * of a key counts; one without a value says that the key is gone.
 */
import { crc32 } from 'node:zlib';

export const STATE_FORMAT = 'netproxy state';
export const STATE_VERSION = 1;

export interface StateContent {
  readonly records: ReadonlyMap<string, unknown>;
  /** What is wrong with the file, in words; undefined when nothing is. */
  readonly fault: string | undefined;
  /** The last record was not written to its end: the process or the machine stopped meanwhile. */
  readonly torn: boolean;
}

/** One line: checksum, JSON, newline. */
export function stateLine(content: unknown): string {
  const json = JSON.stringify(content);
  return `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;
}

export function stateHeader(records: number): string {
  return stateLine({ format: STATE_FORMAT, version: STATE_VERSION, records });
}

/** Reads a file; never throws. Records with a right checksum count also where others are damaged. */
export function parseState(bytes: Uint8Array): StateContent {
  const records = new Map<string, unknown>();
  if (bytes.length === 0) return { records, fault: undefined, torn: false };
  const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8').split('\n');
  // What follows the last newline: nothing, or a line without its end.
  const rest = lines.pop();
  const header = contentOf(lines[0] ?? '');
  if (!isHeader(header)) return { records, fault: 'it is not a state file of netproxy', torn: false };
  if (header.version !== STATE_VERSION) {
    const fault = `it has version ${String(header.version)}, and this netproxy knows version ${STATE_VERSION}`;
    return { records, fault, torn: false };
  }
  let damaged = 0;
  let torn = rest !== '';
  for (let n = 1; n < lines.length; n++) {
    const record = contentOf(lines[n]!);
    if (isRecord(record)) apply(records, record);
    else if (n === lines.length - 1 && !torn && n > header.records) torn = true;
    else damaged++;
  }
  const missing = header.records - (lines.length - 1);
  if (missing > 0) return { records, fault: `it is cut short: ${missing} records are missing`, torn: false };
  if (damaged > 0) return { records, fault: `${damaged} of its records are damaged`, torn: false };
  return { records, fault: undefined, torn };
}

type StateRecord = readonly [key: string, value?: unknown];

function apply(records: Map<string, unknown>, [key, value]: StateRecord): void {
  // In the order in which they were written last.
  records.delete(key);
  if (value !== undefined) records.set(key, value);
}

function contentOf(line: string): unknown {
  const json = line.slice(9);
  if (line[8] !== ' ' || Number.parseInt(line.slice(0, 8), 16) !== crc32(json)) return undefined;
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function isRecord(content: unknown): content is StateRecord {
  return Array.isArray(content) && content.length <= 2 && typeof content[0] === 'string';
}

function isHeader(content: unknown): content is { readonly version: unknown; readonly records: number } {
  if (typeof content !== 'object' || content === null) return false;
  const { format, records } = content as { format?: unknown; records?: unknown };
  return format === STATE_FORMAT && typeof records === 'number' && Number.isInteger(records) && records >= 0;
}
