/** Addresses of both families as bytes, and the one text by which they are compared. */
import { parseIpv4 } from './address.js';

/** The 4 or 16 bytes of an address in text; undefined when it is none, or has a zone (`fe80::1%eth0`). */
export function addressBytes(text: string): Uint8Array | undefined {
  return text.includes(':') ? ipv6Bytes(text) : ipv4Bytes(text);
}

/** Dotted quad, or eight groups of four hexadecimal digits; undefined when the text is no address. */
export function canonicalAddress(text: string): string | undefined {
  const bytes = addressBytes(text);
  if (bytes === undefined || bytes.length === 4) return bytes?.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!);
  return groups.map((group) => group.toString(16).padStart(4, '0')).join(':');
}

function ipv4Bytes(text: string): Uint8Array | undefined {
  const ip = parseIpv4(text);
  return ip === undefined ? undefined : Uint8Array.of(ip >>> 24, ip >>> 16, ip >>> 8, ip);
}

/** RFC 4291 section 2.2: groups, one `::`, and IPv4 at the end. */
function ipv6Bytes(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = groupBytes(halves[0]!, halves.length === 1);
  const tail = groupBytes(halves[1] ?? '', true);
  if (head === undefined || tail === undefined) return undefined;
  const length = head.length + tail.length;
  // `::` stands for at least one group.
  if (halves.length === 2 ? length > 14 : length !== 16) return undefined;
  const bytes = new Uint8Array(16);
  bytes.set(head);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

function groupBytes(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const groups = text.split(':');
  for (const [i, group] of groups.entries()) {
    if (mayEndInIpv4 && i === groups.length - 1 && group.includes('.')) {
      const ipv4 = ipv4Bytes(group);
      if (ipv4 === undefined) return undefined;
      bytes.push(...ipv4);
    } else {
      if (!/^[0-9a-f]{1,4}$/i.test(group)) return undefined;
      const value = Number.parseInt(group, 16);
      bytes.push(value >>> 8, value & 255);
    }
  }
  return bytes;
}
