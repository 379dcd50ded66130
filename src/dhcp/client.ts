/** Who a client is: its key, ids and name, from a message. */
import type { Mac } from '../core/index.js';
import { Option } from './codes.js';
import { readText } from './options.js';
import type { DhcpClient, GuestKey } from './pool.js';
import type { DhcpMessage } from './wire.js';

/** The client that sent a message, as seen on the port of a guest. */
export function clientOf(message: DhcpMessage, guest: GuestKey | undefined): DhcpClient {
  const id = message.options.get(Option.clientId);
  // RFC 2132 section 9.14: at least a type and one more octet; a shorter one identifies nobody.
  const clientId = id !== undefined && id.length >= 2 ? hex(id) : undefined;
  const hostname = cleanHostname(readText(message.options.get(Option.hostName)));
  return { key: clientKey(message.chaddr, clientId), mac: message.chaddr, clientId, hostname, guest };
}

/**
 * The key of a client: its client id, or else its MAC (RFC 2131 section 4.2). A client id of type Ethernet that
 * repeats the MAC is the same as none: clients differ in whether they send it, also within one boot.
 */
export function clientKey(mac: Mac, clientId: string | undefined): string {
  return clientId === undefined || clientId === `01${mac.replaceAll(':', '')}` ? mac : `id ${clientId}`;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * The first label of a host name in lower case, when it is one of letters, digits and inner hyphens, up to 63 of
 * them (RFC 1123 section 2.1). Anything else that a guest calls itself is nothing.
 */
export function cleanHostname(name: string | undefined): string | undefined {
  const label = name?.split('.', 1)[0]?.toLowerCase();
  return label !== undefined && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(label) ? label : undefined;
}

/** A client id (option 61) as people write it: hexadecimal, with or without colons. Undefined when it is none. */
export function parseClientId(text: string): string | undefined {
  const hex = text.toLowerCase().replaceAll(':', '');
  return /^([0-9a-f]{2}){2,255}$/.test(hex) ? hex : undefined;
}
