/** Makes ClientHellos for tests. */

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const u24 = (value: number): Buffer => Buffer.from([value >> 16, (value >> 8) & 255, value & 255]);
const vector16 = (...parts: Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([u16(body.length), body]);
};

/** One extension. */
export function extension(type: number, body: Buffer): Buffer {
  return Buffer.concat([u16(type), vector16(body)]);
}

/** The server_name extension with these names. */
export function serverName(...names: string[]): Buffer {
  const entries = names.map((name) =>
    Buffer.concat([Buffer.from([0]), vector16(Buffer.from(name, 'latin1'))]),
  );
  return extension(0, vector16(...entries));
}

/** What Chrome sends where a value must be ignored (RFC 8701). */
export const GREASE = extension(0x0a0a, Buffer.from([0]));
/** An encrypted inner ClientHello: its content is nobody's business. */
export const ECH = extension(0xfe0d, Buffer.alloc(250, 0x5a));

export interface HelloOptions {
  readonly extensions?: readonly Buffer[] | undefined;
  /** Payload of each record. Default: all in one. */
  readonly record?: number | undefined;
}

/** The handshake message. */
export function helloMessage(extensions: readonly Buffer[]): Buffer {
  const suites = vector16(Buffer.from([0x0a, 0x0a, 0x13, 0x01, 0x13, 0x02]));
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([32]),
    Buffer.alloc(32, 8),
    suites,
    Buffer.from([1, 0]),
    vector16(...extensions),
  ]);
  return Buffer.concat([Buffer.from([1]), u24(body.length), body]);
}

/** Bytes as handshake records. */
export function records(message: Buffer, size = 16_384): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    parts.push(Buffer.from([22, 3, 1]), u16(part.length), part);
  }
  return Buffer.concat(parts);
}

/** What a client sends first that wants `name`. */
export function clientHello(name: string, { extensions = [GREASE, ECH], record }: HelloOptions = {}): Buffer {
  return records(helloMessage([...extensions, serverName(name)]), record);
}
