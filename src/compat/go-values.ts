/** Values as Go programs write and read them: addresses with ports, JSON into structs. Errors are in Go's words. */

/** Refused; the message is the whole of it. */
export class GoError extends Error {
  override readonly name = 'GoError';
}

export interface HostPort {
  readonly host: string;
  readonly port: string;
}

/** `host:port`, `[::1]:port`, `:port`, as net.SplitHostPort takes it. Throws GoError. */
export function splitHostPort(text: string): HostPort {
  const wrong = (why: string): GoError => new GoError(`address ${text}: ${why}`);
  const colon = text.lastIndexOf(':');
  if (colon < 0) throw wrong('missing port in address');
  const port = text.slice(colon + 1);
  if (!text.startsWith('[')) {
    const host = text.slice(0, colon);
    if (host.includes(':')) throw wrong('too many colons in address');
    if (/[[\]]/.test(host)) throw wrong('unexpected bracket in address');
    return { host, port };
  }
  const end = text.indexOf(']');
  if (end < 0) throw wrong("missing ']' in address");
  if (end + 1 !== colon) throw wrong(end < colon ? 'too many colons in address' : 'missing port in address');
  return { host: text.slice(1, end), port };
}

/** A port as strconv.ParseUint(text, 10, 16) reads it. Throws GoError. */
export function parsePort(text: string): number {
  if (!/^\d+$/.test(text)) throw new GoError(`strconv.ParseUint: parsing ${quoted(text)}: invalid syntax`);
  if (text.length > 9 || Number(text) > 65_535)
    throw new GoError(`strconv.ParseUint: parsing ${quoted(text)}: value out of range`);
  return Number(text);
}

/** As %q: a text of strangers on one line. */
export function quoted(text: string): string {
  return JSON.stringify(text);
}

/**
 * A JSON text as encoding/json reads it into a struct of the given name: keys in any case, unknown ones left out, null for
 * nothing. Throws GoError.
 */
export function decodeObject(text: string, struct: string): Fields {
  if (text.trim() === '') throw new GoError('EOF');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new GoError('invalid character in JSON');
  }
  return new Fields(value, struct);
}

/** The fields of one object. */
export class Fields {
  private readonly values = new Map<string, unknown>();
  private readonly struct: string;

  constructor(value: unknown, struct: string) {
    this.struct = struct;
    if (value === null) return;
    if (typeof value !== 'object' || Array.isArray(value))
      throw new GoError(`json: cannot unmarshal ${kindOf(value)} into Go value of type types.${struct}`);
    for (const [key, field] of Object.entries(value)) this.values.set(key.toLowerCase(), field);
  }

  /** A text; '' where there is none. */
  text(name: string): string {
    const value = this.values.get(name.toLowerCase()) ?? '';
    if (typeof value !== 'string') throw this.wrong(name, value, 'string');
    return value;
  }

  /** A whole number from 0 on; undefined where there is none. */
  whole(name: string, most: number, type: string): number | undefined {
    const value = this.values.get(name.toLowerCase()) ?? undefined;
    if (value === undefined) return undefined;
    if (typeof value !== 'number') throw this.wrong(name, value, type);
    if (!Number.isInteger(value) || value < 0 || value > most)
      throw new GoError(
        `json: cannot unmarshal number ${value} into Go struct field ${this.struct}.${name} of type ${type}`,
      );
    return value;
  }

  /** A list; [] where there is none. */
  list(name: string, type: string): readonly unknown[] {
    const value = this.values.get(name.toLowerCase()) ?? [];
    if (!Array.isArray(value)) throw this.wrong(name, value, type);
    return value;
  }

  private wrong(name: string, value: unknown, type: string): GoError {
    return new GoError(
      `json: cannot unmarshal ${kindOf(value)} into Go struct field ${this.struct}.${name} of type ${type}`,
    );
  }
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}
