/**
 * IPv4 options (RFC 791 section 3.1). None is acted on: they are skipped, as RFC 7126 advises a filter. A packet that says
 * by which routers it wants to go is dropped (RFC 7126 sections 4.3 and 4.4), and so is one whose options cannot be read.
 */
import { IP_HEADER } from './header.js';

const END = 0;
const NOP = 1;
/** Loose and strict source route. */
const LSRR = 131;
const SSRR = 137;

/** Why a packet's options are none that are passed over. */
export type OptionsFault = 'malformed' | 'sourceRoute';

/** Looks through the options of a header of `headerLength` bytes at `at`; undefined when they may be skipped. */
export function optionsFault(bytes: Uint8Array, at: number, headerLength: number): OptionsFault | undefined {
  const end = at + headerLength;
  for (let i = at + IP_HEADER; i < end;) {
    const kind = bytes[i]!;
    if (kind === END) return undefined;
    if (kind === NOP) {
      i++;
      continue;
    }
    const length = i + 1 < end ? bytes[i + 1]! : 0;
    if (length < 2 || i + length > end) return 'malformed';
    if (kind === LSRR || kind === SSRR) return 'sourceRoute';
    i += length;
  }
  return undefined;
}
