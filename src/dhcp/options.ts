/**
 * Values of DHCP options (RFC 2132, 3397, 3442). Readers return undefined for a value of the wrong shape; writers
 * return the raw bytes, or undefined when the value cannot be written.
 */
import { ipv4, prefixMask, type Cidr, type Ipv4 } from '../core/index.js';

/** A classless static route (RFC 3442). */
export interface DhcpRoute {
  readonly destination: Cidr;
  readonly router: Ipv4;
}

export function readU8(value: Uint8Array | undefined): number | undefined {
  return value?.length === 1 ? value[0] : undefined;
}

export function readU16(value: Uint8Array | undefined): number | undefined {
  return value?.length === 2 ? (value[0]! << 8) | value[1]! : undefined;
}

export function readU32(value: Uint8Array | undefined): number | undefined {
  return value?.length === 4 ? wordAt(value, 0) : undefined;
}

/** One address; more than one, or none, is undefined. */
export function readAddress(value: Uint8Array | undefined): Ipv4 | undefined {
  return readU32(value) as Ipv4 | undefined;
}

export function readAddresses(value: Uint8Array | undefined): readonly Ipv4[] | undefined {
  if (value === undefined || value.length === 0 || value.length % 4 !== 0) return undefined;
  return Array.from({ length: value.length / 4 }, (_, i) => wordAt(value, i * 4));
}

/** Text without trailing NULs, which some clients send (RFC 2132 section 2 asks to accept them). Bytes as Latin-1. */
export function readText(value: Uint8Array | undefined): string | undefined {
  if (value === undefined) return undefined;
  let end = value.length;
  while (end > 0 && value[end - 1] === 0) end--;
  let text = '';
  for (let i = 0; i < end; i++) text += String.fromCharCode(value[i]!);
  return text;
}

function wordAt(bytes: Uint8Array, at: number): Ipv4 {
  return ipv4((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
}

export function u8(value: number): Uint8Array {
  return Uint8Array.of(value);
}

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value);
}

export function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

export function addresses(list: readonly Ipv4[]): Uint8Array {
  return Uint8Array.from(list.flatMap((ip) => [ip >>> 24, (ip >>> 16) & 255, (ip >>> 8) & 255, ip & 255]));
}

/** Text as Latin-1; other characters become `?`. */
export function text(value: string): Uint8Array {
  return Uint8Array.from(value, (char) => {
    const code = char.charCodeAt(0);
    return code < 256 ? code : 63;
  });
}

/** Option 121: prefix length, significant octets of the destination, router. */
export function routes(list: readonly DhcpRoute[]): Uint8Array {
  return Uint8Array.from(
    list.flatMap(({ destination, router }) => [
      destination.prefix,
      ...addresses([destination.base]).subarray(0, Math.ceil(destination.prefix / 8)),
      ...addresses([router]),
    ]),
  );
}

export function readRoutes(value: Uint8Array | undefined): readonly DhcpRoute[] | undefined {
  if (value === undefined || value.length === 0) return undefined;
  const list: DhcpRoute[] = [];
  let at = 0;
  while (at < value.length) {
    const prefix = value[at++]!;
    const significant = Math.ceil(prefix / 8);
    if (prefix > 32 || at + significant + 4 > value.length) return undefined;
    const base = new Uint8Array(4);
    base.set(value.subarray(at, at + significant));
    at += significant;
    // RFC 3442: a server may leave bits set that the mask does not cover; they mean nothing.
    const destination = { base: ipv4(wordAt(base, 0) & prefixMask(prefix)), prefix };
    list.push({ destination, router: wordAt(value, at) });
    at += 4;
  }
  return list;
}
