/**
 * DNS rebinding: a name of the open network that all of a sudden means an address at home, so that a page in a browser
 * reaches what only its user may. With the protection on, such an answer is refused.
 */
import { CLASS_IN, ExtendedError, Rcode, RecordType } from './codes.js';
import { word } from './message.js';
import { isWithin } from './names.js';
import type { Authored, Outcome } from './outcome.js';
import { eachRecord } from './told.js';

/** What is answered instead. */
const REBOUND: Authored = {
  source: 'policy',
  parts: {
    rcode: Rcode.refused,
    error: {
      code: ExtendedError.blocked,
      text: 'a name of the open network with an address of a private one (dns.privateNames may allow it)',
    },
  },
};

/**
 * What becomes of an answer for a name (normal form): itself, or a refusal. Names of one label are local by nature;
 * `allowed` and all below them may have private addresses.
 */
export function guardAnswer(outcome: Outcome, name: string, allowed: readonly string[]): Outcome {
  if (!name.includes('.') || !hasPrivateAddress(outcome)) return outcome;
  return allowed.some((zone) => isWithin(name, zone)) ? outcome : REBOUND;
}

function hasPrivateAddress(outcome: Outcome): boolean {
  if (!('bytes' in outcome))
    return outcome.parts.answers?.some(({ type, data }) => isPrivateRecord(type, data)) ?? false;
  const { bytes } = outcome;
  let found = false;
  eachRecord(bytes, (at, data, length) => {
    if (
      word(bytes, at + 2) === CLASS_IN &&
      isPrivateRecord(word(bytes, at), bytes.subarray(data, data + length))
    )
      found = true;
  });
  return found;
}

function isPrivateRecord(type: number, data: Uint8Array): boolean {
  if (type === RecordType.A) return data.length === 4 && isPrivate4(data);
  return type === RecordType.AAAA && data.length === 16 && isPrivate6(data);
}

/** This host, private, shared, loopback and link-local networks (RFC 6890 section 2.2.2). */
function isPrivate4(bytes: Uint8Array): boolean {
  const [a, b] = bytes as unknown as readonly [number, number];
  if (a === 0 || a === 10 || a === 127) return true;
  if (a === 100) return b >= 64 && b < 128;
  if (a === 169) return b === 254;
  if (a === 172) return b >= 16 && b < 32;
  return a === 192 && b === 168;
}

/** Unspecified, loopback, mapped private, unique-local and link-local addresses (RFC 6890 section 2.2.3). */
function isPrivate6(bytes: Uint8Array): boolean {
  const first = bytes[0]!;
  if ((first & 0xfe) === 0xfc || (first === 0xfe && (bytes[1]! & 0xc0) === 0x80)) return true;
  if (!bytes.subarray(0, 10).every((byte) => byte === 0)) return false;
  const mapped = bytes[10] === 0xff && bytes[11] === 0xff;
  return (mapped || (bytes[10] === 0 && bytes[11] === 0)) && isPrivate4(bytes.subarray(12));
}
