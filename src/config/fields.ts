/**
 * The leaves of the configuration: each checks one value by the function that will use it, and says in words what is
 * allowed. A message given to zod here is that sentence; `errors.ts` puts file, key and value before it.
 */
import * as z from 'zod';
import { NetproxyError, isGroupMac, parseCidr, parseIpv4, parseMac } from '../core/index.js';
import { cleanHostname, parseClientId } from '../dhcp/index.js';
import { parseSecureServer } from '../dns/index.js';
import { MAX_CONNECTIONS, PROXY_PROTOCOLS, expandPublish, parsePublish } from '../forwarder/index.js';
import { checkPac } from '../host/index.js';
import { NoProxy, parseUpstream } from '../httpproxy/index.js';
import {
  type ListenKind,
  parseDoor,
  parseEnginePlace,
  parseFaults,
  parseLinkSpec,
  parseRate,
  parseSshForward,
  SSH_FORWARD_FORM,
} from '../link/index.js';
import { readRule } from '../policy/index.js';

/** What a guest's rate may be, bits per second. */
const MIN_RATE = 64_000;
const MAX_RATE = 1_000_000_000_000;

/** A whole number within limits, both included. */
export function whole(unit: string, min: number, max: number): z.ZodInt {
  const allowed = `a whole number${unit === '' ? '' : ` of ${unit}`}, ${group(min)} to ${group(max)}`;
  return z.int({ error: allowed }).min(min, { error: allowed }).max(max, { error: allowed });
}

function group(value: number): string {
  return value.toString().replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

/** One of some words. */
export function oneOf<const T extends readonly string[]>(...words: T) {
  return z.literal(words, { error: words.join(', ') });
}

/** A text that a predicate accepts. */
export function matching(allowed: string, fits: (text: string) => boolean): z.ZodString {
  return z.string({ error: allowed }).refine(fits, { error: allowed });
}

/** A text that a parser of another part accepts; what that one says about it is kept. */
export function parsedBy(allowed: string, parse: (text: string) => unknown): z.ZodString {
  return z.string({ error: allowed }).superRefine((text, context) => {
    try {
      parse(text);
    } catch (error) {
      if (!(error instanceof NetproxyError)) throw error;
      const { message, remedy } = error;
      context.addIssue({ code: 'custom', message, params: { allowed: remedy ?? allowed }, input: text });
    }
  });
}

export const ipv4 = matching(
  'an IPv4 address such as 192.168.127.2',
  (text) => parseIpv4(text) !== undefined,
);

export const subnet = matching('an IPv4 network of /8 to /29 such as 192.168.127.0/24', (text) => {
  const cidr = text.includes('/') ? parseCidr(text) : undefined;
  return cidr !== undefined && cidr.prefix >= 8 && cidr.prefix <= 29;
});

/** Any IPv4 network, /0 to /32. */
export const network = matching(
  'an IPv4 network such as 10.1.0.0/16',
  (text) => text.includes('/') && parseCidr(text) !== undefined,
);

/** DHCP option 61 in hexadecimal. */
export const clientId = matching(
  '2 to 255 bytes in hexadecimal such as 01:52:54:00:12:34:56',
  (text) => parseClientId(text) !== undefined,
);

export const hostname = matching(
  'a host name of up to 63 letters, digits and inner hyphens',
  (text) => cleanHostname(text) === text.toLowerCase(),
);

export const mac = matching('a unicast MAC address such as 5a:94:ef:e4:0c:ee', (text) => {
  const parsed = parseMac(text);
  return parsed !== undefined && !isGroupMac(parsed);
});

const HOST_ALIAS = 'on, off, or an IPv4 address of the subnet';
export const hostAlias = z.union(
  [
    z.boolean(),
    z.literal(['on', 'off']),
    z.string().refine((text) => parseIpv4(text) !== undefined, { error: HOST_ALIAS }),
  ],
  { error: HOST_ALIAS },
);

/** A guest's name as rules and published ports can say it. */
export const guestName = matching('a name of letters, digits, "_", "." and "-"', (text) =>
  /^[\w.-]{1,64}$/.test(text),
);

/** A DNS name; labels of 1 to 63 bytes, 253 in all (RFC 1035 section 2.3.4). */
export const dnsName = matching('a DNS name such as build.example', (text) => {
  const name = text.replace(/\.$/, '');
  return (
    name.length <= 253 &&
    name.split('.').every((label) => /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label))
  );
});

/** `IP`, `IP#PORT` (or IPv6 of the same forms), or a server behind TLS. */
export const dnsServer = matching(
  'a DNS server as IP or IP#PORT, such as 10.0.0.53 or 127.0.0.1#5353, or tls://IP#NAME, https://IP/PATH#NAME',
  (text) => {
    if (parseSecureServer(text) !== undefined) return true;
    const match = /^([^#]+)(?:#(\d{1,5}))?$/.exec(text);
    if (match === null) return false;
    const port = match[2] === undefined ? 53 : Number(match[2]);
    const ip = match[1] ?? '';
    const isIpv6 = ip.includes(':') && /^[0-9a-fA-F:.]+$/.test(ip);
    return (parseIpv4(ip) !== undefined || isIpv6) && port >= 1 && port <= 65_535;
  },
);

/** A rule with its action before it: `allow tcp:10.0.0.0/8:443`. */
export const rule = parsedBy('a rule such as "allow tcp:10.0.0.0/8:443" or "deny host"', readRule);

export const publish = parsedBy('ports such as 127.0.0.1:8080:80/tcp or 8000-8009:8000-8009', expandPublish);

/** The same of one port. */
export const publishOne = parsedBy('a port such as 127.0.0.1:8080:80/tcp', parsePublish);

/** What may be said about a published port beside its text. */
export const publishOptions = {
  preserveSource: z
    .boolean({ error: 'true or false' })
    .optional()
    .describe("true: the guest sees the client's own IPv4 address. Default false: it sees the gateway"),
  proxyProtocol: oneOf(...PROXY_PROTOCOLS)
    .optional()
    .describe('The PROXY protocol tells the guest who the client is (TCP). Default: off'),
  maxConnections: whole('connections', 1, MAX_CONNECTIONS)
    .optional()
    .describe('Connections, or UDP clients, at once. Default 16,384; of UDP clients 1,024'),
};

/** Whom HTTP requests go to. */
export const upstream = parsedBy('an HTTP proxy such as http://proxy.corp:3128, or direct', parseUpstream);

/** A command that the shell runs. */
export const command = matching('a command', (text) => text.trim() !== '');

/** A proxy auto-config file. */
export const pac = parsedBy(
  'a proxy auto-config file: a path, or a URL with http, https, file or data',
  checkPac,
);

/** What goes past the proxy: one entry or several. */
export const noProxy = matching(
  'names, addresses and networks such as .example.org, 10.0.0.0/8 or <local>',
  (text) => new NoProxy(text).invalid.length === 0,
);

const RATE = 'a rate such as 100mbit, 500kbit or 2gbit, or bits per second; 64kbit to 1000gbit';

/** Bits per second, as a number or as text with its unit. */
export const rate = z
  .union([z.number(), z.string().regex(/^\d+(\.\d+)?[kmg]?bit$/, { error: RATE })], { error: RATE })
  .refine((value) => isRate(bitsOf(value)), { error: RATE })
  .transform((value) => Math.round(bitsOf(value)));

function bitsOf(value: number | string): number {
  return typeof value === 'number' ? value : (parseRate(value) ?? 0);
}

function isRate(bits: number): boolean {
  return bits >= MIN_RATE && bits <= MAX_RATE;
}

export const faults = parsedBy('faults such as loss=2%,delay=20ms', parseFaults);

/** The address of a listener (or of a peer to dial) of one kind of link. */
export function linkAddress(kind: ListenKind): z.ZodString {
  const allowed =
    kind === 'vsock' ? 'a vsock address such as 1024 or 3:1024' : 'an address such as unix:/run/vm.sock';
  return parsedBy(allowed, (text) => parseLinkSpec(text, kind));
}

/** Where a control API is. */
export const apiAddress = parsedBy('an address such as unix:/run/netproxy.sock', parseDoor);

/** A socket of the host that leads to one of a guest. */
export const sshForward = parsedBy(`a forward such as ${SSH_FORWARD_FORM}`, parseSshForward);

/** Where a container engine is. */
export const enginePlace = parsedBy('a place such as unix:/run/vm/docker.sock', parseEnginePlace);

/** A unix socket of the host, `unix:/PATH` or `/PATH`. */
export const unixSocket = matching(
  'a unix socket such as unix:/run/docker.sock',
  (text) => /^(?:unix:)?\//.test(text) && !text.includes('\0'),
);

/** An address of the host. */
export const hostIp = matching(
  'an IP address such as 127.0.0.1 or ::1',
  (text) => parseIpv4(text) !== undefined || /^[\da-fA-F:.]*:[\da-fA-F:.]*$/.test(text),
);

/** Where the control API listens; `default` is where clients look. */
export const controlAddress = parsedBy('default, or an address such as unix:/run/netproxy.sock', (text) =>
  text === 'default' ? undefined : parseDoor(text),
);

/** Interface names: 1 to 15 bytes, no slash, no white space (dev_valid_name of Linux). */
export const interfaceName = matching('an interface name of 1 to 15 characters', (text) => {
  return /^[^\s/:]{1,15}$/.test(text) && text !== '.' && text !== '..' && Buffer.byteLength(text) <= 15;
});

export const path = matching('a path', (text) => text !== '' && !text.includes('\0'));

/** A descriptor that the parent left open; 0 to 2 are the standard streams. */
export const descriptor = whole('a descriptor', 0, 1_000_000);
