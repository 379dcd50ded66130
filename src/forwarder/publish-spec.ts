/**
 * Published ports as people write them, in Docker's syntax: `[GUEST@][HOSTIP:]HOSTPORT:[GUESTIP:]PORT[/tcp|udp]`, or
 * `[GUEST@]unix:/PATH:[GUESTIP:]PORT` for a unix socket of the host; options follow (publish-options.ts).
 */
import { NetproxyError, isGroupMac, parseIpv4, parseMac } from '../core/index.js';
import { type PublishOptions, formatOptions, parseOptions } from './publish-options.js';

export interface PublishSpec extends PublishOptions {
  readonly protocol: 'tcp' | 'udp';
  /** Where the host listens; `127.0.0.1` unless said. `localhost` and `*`: on IPv4 and IPv6. Empty with `hostPath`. */
  readonly hostIp: string;
  /** 0: the host chooses. */
  readonly hostPort: number;
  /** A unix socket instead: its absolute path. TCP only. */
  readonly hostPath?: string | undefined;
  /** Which guest: its name or host name, its MAC address, or its address; none: the first one. */
  readonly guest?: string | undefined;
  readonly guestMac?: string | undefined;
  readonly guestIp?: string | undefined;
  readonly guestPort: number;
}

const SYNTAX =
  '[GUEST@][HOSTIP:]HOSTPORT:[GUESTIP:]PORT[/tcp|udp][,OPTION…], e.g. 127.0.0.1:8080:80, build@5300:53/udp, 8000-8009:8000-8009, [::1]:8080:192.168.127.3:80, *:8080:80,preserve-source, unix:/run/web.sock:80; GUEST is a name or a MAC address';
/** Options at the end. */
const OPTIONS = /(?:,[a-z-]+(?:=\w+)?)+$/;

function bad(text: string, why: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', `bad port to publish "${text}": ${why}`, {
    remedy: `allowed is ${SYNTAX}`,
  });
}

/** Parses one; throws ERR_NETPROXY_CONFIG naming what is wrong. */
export function parsePublish(text: string): PublishSpec {
  const found = OPTIONS.exec(text.trim())?.[0] ?? '';
  let rest = text.trim().slice(0, text.trim().length - found.length);
  const options = (protocol: 'tcp' | 'udp') => parseOptions(found, protocol, (why) => bad(text, why));
  const [, who, unixRest] = /^(?:([^@/]*)@)?unix:(.*)$/.exec(rest) ?? [];
  if (unixRest !== undefined) return { ...parseUnix(text, guestOf(text, who), unixRest), ...options('tcp') };
  let protocol: 'tcp' | 'udp' = 'tcp';
  const slash = /\/(\w+)$/.exec(rest);
  if (slash !== null) {
    if (slash[1] !== 'tcp' && slash[1] !== 'udp') throw bad(text, `"${slash[1]!}" is neither tcp nor udp`);
    protocol = slash[1];
    rest = rest.slice(0, -slash[0].length);
  }
  const at = rest.indexOf('@');
  const guest = guestOf(text, at < 0 ? undefined : rest.slice(0, at));
  const match = /^(?:(\[[0-9a-fA-F:.%]+\]|[\d.]+|localhost|\*):)?(\d+):(?:([\d.]+):)?(\d+)$/.exec(
    rest.slice(at + 1),
  );
  if (match === null) throw bad(text, 'it does not have that form');
  const [, host, hostPortText, guestIp, guestPortText] = match;
  const hostIp = host === undefined ? '127.0.0.1' : host.replace(/^\[|\]$/g, '');
  if (/^[\d.]+$/.test(hostIp) && parseIpv4(hostIp) === undefined)
    throw bad(text, `"${hostIp}" is no IP address of the host`);
  const hostPort = Number(hostPortText);
  if (hostPort > 65535) throw bad(text, `${hostPort} is no port (0 to 65535)`);
  const guestPort = portOf(text, guestPortText);
  checkGuestIp(text, guestIp, guest);
  return { protocol, hostIp, hostPort, ...guest, guestIp, guestPort, ...options(protocol) };
}

/** What stands before the `@`. */
function guestOf(text: string, who: string | undefined): Pick<PublishSpec, 'guest' | 'guestMac'> {
  if (who === undefined) return { guest: undefined };
  const mac = parseMac(who);
  if (mac !== undefined && !isGroupMac(mac)) return { guest: undefined, guestMac: mac };
  if (!/^[\w.-]+$/.test(who) || mac !== undefined) throw bad(text, `"${who}" is not a guest's name`);
  return { guest: who };
}

function checkGuestIp(
  text: string,
  ip: string | undefined,
  { guestMac }: Pick<PublishSpec, 'guestMac'>,
): void {
  if (ip !== undefined && parseIpv4(ip) === undefined) throw bad(text, `"${ip}" is no IPv4 address`);
  if (ip !== undefined && guestMac !== undefined)
    throw bad(text, 'a MAC address and an IP address are one too many');
}

/** What stands behind `unix:`. The path ends before the last colons: it may hold some itself. */
function parseUnix(text: string, guest: ReturnType<typeof guestOf>, rest: string): PublishSpec {
  const match = /^(\/.*?)(?::((?:\d{1,3}\.){3}\d{1,3}))?:(\d+)$/.exec(rest);
  if (match === null) throw bad(text, 'a unix socket is unix:/PATH:PORT or unix:/PATH:GUESTIP:PORT');
  const [, hostPath, guestIp, port] = match;
  checkGuestIp(text, guestIp, guest);
  const guestPort = portOf(text, port);
  return { protocol: 'tcp', hostIp: '', hostPort: 0, hostPath, ...guest, guestIp, guestPort };
}

function portOf(text: string, digits: string | undefined): number {
  const port = Number(digits);
  if (port >= 1 && port <= 65_535) return port;
  throw bad(text, `${port} is no port (1 to 65535)`);
}

/**
 * The specs of single ports of which a text with ranges speaks: `8000-8002:9000-9002/udp` is three, port by port. A text without
 * ranges is itself. Throws ERR_NETPROXY_CONFIG.
 */
export function expandPublish(text: string): string[] {
  const match = /^(.*?)(\d+)-(\d+):((?:[\d.]+:)?)(\d+)-(\d+)((?:\/\w+)?(?:,[a-z-]+(?:=\w+)?)*)$/.exec(
    text.trim(),
  );
  if (match === null || match[1]?.includes('unix:') === true) {
    parsePublish(text);
    return [text];
  }
  const [, before = '', first, last, guest = '', guestFirst, guestLast, behind = ''] = match;
  const [low, high, guestLow, guestHigh] = [first, last, guestFirst, guestLast].map(Number) as [
    number,
    number,
    number,
    number,
  ];
  if (low < 1 || high > 65_535 || guestHigh > 65_535) throw bad(text, 'a range lies within 1 to 65535');
  if (high < low || high - low !== guestHigh - guestLow)
    throw bad(text, 'both ranges rise and are of one length');
  return Array.from({ length: high - low + 1 }, (_, i) => {
    const one = `${before}${low + i}:${guest}${guestLow + i}${behind}`;
    parsePublish(one);
    return one;
  });
}

/** The spec as `netproxy` shows it, which `parsePublish` reads. */
export function formatPublish(spec: PublishSpec): string {
  const host = spec.hostIp.includes(':') ? `[${spec.hostIp}]` : spec.hostIp;
  const to = `${spec.guestIp === undefined ? '' : `${spec.guestIp}:`}${spec.guestPort}`;
  const who = spec.guest ?? spec.guestMac;
  const name = who === undefined ? '' : `${who}@`;
  const options = formatOptions(spec);
  if (spec.hostPath !== undefined) return `${name}unix:${spec.hostPath}:${to}${options}`;
  return `${name}${host}:${spec.hostPort}:${to}/${spec.protocol}${options}`;
}
