/**
 * The name that a TLS client says it wants (RFC 8446 section 4.1.2, RFC 6066 section 3), read from its first bytes. Nothing is
 * decrypted: the outer name counts, with or without Encrypted Client Hello.
 *
 * A ClientHello may come in many records (RFC 8446 section 5.1) and in many segments. What two readers could read in two ways (two
 * server_name extensions, two names, lengths that do not fit) has no name here: such a connection is known by its address.
 */
import { parseHost } from './host.js';

/** Bytes of a ClientHello, its records' heads not counted; a longer one is not read. */
export const MAX_HELLO = 32 * 1024;
/** Records it may come in: those of real clients are full. */
export const MAX_RECORDS = 64;

const RECORD_HEAD = 5;
const HANDSHAKE = 22;
/** Of the version of all records since SSL 3. */
const MAJOR = 3;
/** Payload of one record (RFC 8446 section 5.1). */
const MAX_RECORD = 16_384;
const CLIENT_HELLO = 1;
const HELLO_HEAD = 4;
const RANDOM = 32;
const SERVER_NAME = 0;
const HOST_NAME = 0;

/** What the first bytes are so far. `other`: no TLS, or none that is understood. */
export type HelloRead =
  /** Not to be told before there are `need` bytes. */
  | { readonly kind: 'more'; readonly need: number }
  | { readonly kind: 'other' }
  | { readonly kind: 'hello'; readonly name: string | undefined };

const OTHER: HelloRead = { kind: 'other' };

/** Reads the bytes that a client sent first. */
export function readClientHello(bytes: Buffer): HelloRead {
  const hello = reassemble(bytes);
  if (!Buffer.isBuffer(hello)) return hello;
  return { kind: 'hello', name: nameOf(hello) };
}

/** The ClientHello without its own head, taken out of the records it came in. */
function reassemble(bytes: Buffer): Buffer | HelloRead {
  const parts: Buffer[] = [];
  let have = 0;
  let wanted = HELLO_HEAD;
  for (let at = 0; have < wanted;) {
    if ((bytes[at] ?? HANDSHAKE) !== HANDSHAKE || (bytes[at + 1] ?? MAJOR) !== MAJOR) return OTHER;
    if (parts.length === MAX_RECORDS) return OTHER;
    if (bytes.length < at + RECORD_HEAD) return { kind: 'more', need: at + RECORD_HEAD };
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > MAX_RECORD) return OTHER;
    const end = at + RECORD_HEAD + length;
    const part = bytes.subarray(at + RECORD_HEAD, end);
    if (have === 0 && (part[0] ?? CLIENT_HELLO) !== CLIENT_HELLO) return OTHER;
    if (bytes.length < end) return { kind: 'more', need: end };
    parts.push(part);
    have += length;
    if (wanted === HELLO_HEAD && have >= HELLO_HEAD) wanted += Buffer.concat(parts).readUIntBE(1, 3);
    if (wanted > MAX_HELLO) return OTHER;
    at = end;
  }
  return Buffer.concat(parts).subarray(HELLO_HEAD, wanted);
}

/** Takes pieces from the front; undefined where there is less. */
class Cursor {
  private readonly bytes: Buffer;
  private at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  number(size: 1 | 2): number | undefined {
    return this.take(size)?.readUIntBE(0, size);
  }

  take(length: number): Buffer | undefined {
    if (length > this.left) return undefined;
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** A piece with its length before it. */
  vector(size: 1 | 2): Buffer | undefined {
    const length = this.number(size);
    return length === undefined ? undefined : this.take(length);
  }
}

function nameOf(hello: Buffer): string | undefined {
  const cursor = new Cursor(hello);
  // Version and random, session, cipher suites, compression.
  if (cursor.take(2 + RANDOM) === undefined) return undefined;
  if (cursor.vector(1) === undefined || cursor.vector(2) === undefined) return undefined;
  if (cursor.vector(1) === undefined) return undefined;
  const extensions = cursor.vector(2);
  if (extensions === undefined || cursor.left > 0) return undefined;
  const found: Buffer[] = [];
  for (const rest = new Cursor(extensions); rest.left > 0;) {
    const type = rest.number(2);
    const body = rest.vector(2);
    if (body === undefined) return undefined;
    if (type === SERVER_NAME) found.push(body);
  }
  return found.length === 1 ? hostIn(found[0]!) : undefined;
}

/** The one name of a server_name extension, in normal form. */
function hostIn(extension: Buffer): string | undefined {
  const outer = new Cursor(extension);
  const list = outer.vector(2);
  if (list === undefined || outer.left > 0) return undefined;
  const cursor = new Cursor(list);
  const type = cursor.number(1);
  const name = cursor.vector(2);
  if (type !== HOST_NAME || name === undefined || cursor.left > 0) return undefined;
  const text = name.toString('latin1');
  if (!/^[\x21-\x7e]+$/.test(text)) return undefined;
  const host = parseHost(text);
  // An address is no name here (RFC 6066 section 3).
  return host?.kind === 'name' ? host.name : undefined;
}
