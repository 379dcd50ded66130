/**
 * Addresses as the data path sees them: IPv4 is one unsigned 32-bit number, a MAC is its lower-case text
 * in services and the pair (upper 16, lower 32 bits) in frames.
 */

declare const ipv4Brand: unique symbol;
declare const macBrand: unique symbol;

/** An IPv4 address in host order, 0 to 2^32 - 1. */
export type Ipv4 = number & { readonly [ipv4Brand]: true };
/** A MAC address as `aa:bb:cc:dd:ee:ff`, lower case. */
export type Mac = string & { readonly [macBrand]: true };

export const IPV4_ANY = 0 as Ipv4;
export const IPV4_BROADCAST = 0xffffffff as Ipv4;
export const MAC_BROADCAST = 'ff:ff:ff:ff:ff:ff' as Mac;
export const MAC_ZERO = '00:00:00:00:00:00' as Mac;

/** Brands an unsigned or signed 32-bit number as an address. */
export function ipv4(value: number): Ipv4 {
  return (value >>> 0) as Ipv4;
}

/** Parses dotted-quad text strictly (no leading zeros, four parts, RFC 6943 section 3.1.1); undefined when it is none. */
export function parseIpv4(text: string): Ipv4 | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part)) return undefined;
    const byte = Number(part);
    if (byte > 255) return undefined;
    value = value * 256 + byte;
  }
  return ipv4(value);
}

/** `192.168.127.1` of an address. */
export function formatIpv4(ip: Ipv4): string {
  return `${ip >>> 24}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}`;
}

/** An IPv4 network: base address and prefix length. */
export interface Cidr {
  readonly base: Ipv4;
  readonly prefix: number;
}

/** The netmask of a prefix length 0 to 32. */
export function prefixMask(prefix: number): Ipv4 {
  return ipv4(prefix === 0 ? 0 : -1 << (32 - prefix));
}

/** Parses `10.0.0.0/8` or a lone address (as /32). Host bits are cleared. Undefined when it is neither. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  const ip = parseIpv4(slash < 0 ? text : text.slice(0, slash));
  if (ip === undefined) return undefined;
  const bits = slash < 0 ? '32' : text.slice(slash + 1);
  if (!/^\d{1,2}$/.test(bits) || Number(bits) > 32) return undefined;
  const prefix = Number(bits);
  return { base: ipv4(ip & prefixMask(prefix)), prefix };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatIpv4(cidr.base)}/${cidr.prefix}`;
}

export function cidrContains(cidr: Cidr, ip: Ipv4): boolean {
  return ((ip ^ cidr.base) & prefixMask(cidr.prefix)) === 0;
}

/** The last address of a network: its directed broadcast. */
export function cidrLast(cidr: Cidr): Ipv4 {
  return ipv4(cidr.base | ~prefixMask(cidr.prefix));
}

/** 224.0.0.0/4 (RFC 5771). */
export function isMulticastIpv4(ip: Ipv4): boolean {
  return ip >>> 28 === 14;
}

/** Parses `aa:bb:cc:dd:ee:ff` or with dashes, any case; undefined when it is none. */
export function parseMac(text: string): Mac | undefined {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) return undefined;
  return text.toLowerCase().replaceAll('-', ':') as Mac;
}

const hex = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

/** The MAC at an offset of a frame. */
export function readMac(bytes: Uint8Array, offset: number): Mac {
  let text = hex[bytes[offset] ?? 0]!;
  for (let i = 1; i < 6; i++) text += `:${hex[bytes[offset + i] ?? 0]!}`;
  return text as Mac;
}

export function writeMac(bytes: Uint8Array, offset: number, mac: Mac): void {
  for (let i = 0; i < 6; i++) bytes[offset + i] = Number.parseInt(mac.slice(i * 3, i * 3 + 2), 16);
}

/** Upper 16 bits of a MAC, for comparison with `view.getUint16(offset)`. */
export function macHigh(mac: Mac): number {
  return Number.parseInt(mac.slice(0, 2) + mac.slice(3, 5), 16);
}

/** Lower 32 bits of a MAC, for comparison with `view.getUint32(offset + 2)`. */
export function macLow(mac: Mac): number {
  return Number.parseInt(mac.slice(6, 8) + mac.slice(9, 11) + mac.slice(12, 14) + mac.slice(15, 17), 16);
}

/** The MAC of its two numbers. */
export function macFrom(high: number, low: number): Mac {
  const parts = [high >>> 8, high & 255, low >>> 24, (low >>> 16) & 255, (low >>> 8) & 255, low & 255];
  return parts.map((part) => hex[part & 255]!).join(':') as Mac;
}

/** Group bit of the first octet (IEEE 802): multicast or broadcast. */
export function isGroupMac(mac: Mac): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
}
