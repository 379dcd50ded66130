/** Fields that go along and fields that do not (RFC 9110 section 7.6). Lists hold name and value in turn, as node:http gives them. */
import { type Host, formatHost, parseAuthority } from './host.js';
import { type Problem, badRequest } from './problem.js';

/** Fields of one message: more is refused, 431. */
export const MAX_FIELDS = 256;
/** Bytes of a head: more is refused, 431. */
export const MAX_HEAD = 64 * 1024;

/** Of one connection only, whatever Connection says. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-authentication-info',
]);

export function* fieldsOf(raw: readonly string[]): Generator<readonly [name: string, value: string]> {
  for (let i = 0; i + 1 < raw.length; i += 2) yield [raw[i]!, raw[i + 1]!];
}

/** All values of a field; `name` in lower case. */
export function valuesOf(raw: readonly string[], name: string): string[] {
  return [...fieldsOf(raw)].filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}

/** The members of a field that is a list, in lower case. */
export function tokensOf(raw: readonly string[], name: string): string[] {
  return valuesOf(raw, name)
    .flatMap((value) => value.split(','))
    .map((token) => token.trim().toLowerCase())
    .filter((token) => token !== '');
}

/** The fields that go to the next one: without those of this connection and those that Connection names. `drop` in lower case. */
export function endToEnd(raw: readonly string[], drop: readonly string[] = []): string[] {
  const named = new Set([...tokensOf(raw, 'connection'), ...drop]);
  const kept: string[] = [];
  for (const [name, value] of fieldsOf(raw)) {
    const lower = name.toLowerCase();
    // Connection must not take away what frames a message (RFC 9110 section 7.6.1).
    const framing = lower === 'content-length' || lower === 'host';
    if (!HOP_BY_HOP.has(lower) && (framing ? !drop.includes(lower) : !named.has(lower)))
      kept.push(name, value);
  }
  return kept;
}

/** Via with us at its end (RFC 9110 section 7.6.3). */
export function via(raw: readonly string[], version: string): string {
  return [...valuesOf(raw, 'via'), `${version} netproxy`].join(', ');
}

/** How often we are in Via: a request that comes back goes round and round. */
export function timesVia(raw: readonly string[]): number {
  return tokensOf(raw, 'via').filter((token) => /^\S+\s+netproxy$/.test(token)).length;
}

export interface Target {
  readonly scheme: 'http';
  readonly host: Host;
  readonly port: number;
  /** Path and query. */
  readonly path: string;
}

/** The target of a request in absolute form (RFC 9112 section 3.2.2); Host is not looked at, as that section says. Throws Problem. */
export function absoluteTarget(url: string): Target {
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^#]*)$/i.exec(url);
  if (match === null) throw badRequest('the request target is neither a URL nor a path');
  const scheme = match[1]!.toLowerCase();
  if (scheme !== 'http' && scheme !== 'ws')
    throw badRequest(`this proxy takes http: URLs and CONNECT, not ${scheme}:`, 501);
  if (match[2]!.includes('@'))
    throw badRequest('the URL of a request holds no user (RFC 9110 section 4.2.4)');
  return { ...authorityTarget(match[2]!, 80), path: pathOf(match[3]!) };
}

/** The target of a path, with the host of the Host field. Throws Problem. */
export function originTarget(url: string, hostField: string, port: number): Target {
  return { ...authorityTarget(hostField, port), path: url };
}

/** `HOST:PORT` of CONNECT (RFC 9112 section 3.2.3). Throws Problem. */
export function connectTarget(url: string): { readonly host: Host; readonly port: number } {
  const parsed = parseAuthority(url);
  if (parsed?.port === undefined) throw badRequest('CONNECT needs HOST:PORT');
  return { host: parsed.host, port: parsed.port };
}

function authorityTarget(text: string, port: number): Omit<Target, 'path'> {
  const parsed = parseAuthority(text);
  if (parsed === undefined) throw badRequest('the request names no host that could be one');
  return { scheme: 'http', host: parsed.host, port: parsed.port ?? port };
}

function pathOf(rest: string): string {
  if (rest === '') return '/';
  return rest.startsWith('/') ? rest : `/${rest}`;
}

/** The host as Host and absolute URLs name it. */
export function formatAuthority(host: Host, port: number, defaultPort: number): string {
  return port === defaultPort ? formatHost(host) : `${formatHost(host)}:${port}`;
}

/**
 * What node's parser lets pass and two parsers could read in two ways (RFC 9112 sections 6.1, 11.2): a transfer coding other than
 * chunked alone, chunked in HTTP/1.0, several hosts, versions that are none. Undefined: sound.
 */
export function ambiguity(raw: readonly string[], version: string): Problem | undefined {
  if (version !== '1.1' && version !== '1.0') return badRequest(`HTTP/${version} is not spoken here`, 505);
  if (raw.length / 2 > MAX_FIELDS) return badRequest(`more than ${MAX_FIELDS} header fields`, 431);
  if (valuesOf(raw, 'host').length > 1) return badRequest('more than one Host field');
  const coding = valuesOf(raw, 'transfer-encoding');
  const lengths = valuesOf(raw, 'content-length');
  if (coding.length > 0) {
    if (version === '1.0') return badRequest('HTTP/1.0 has no Transfer-Encoding');
    if (coding.length > 1 || coding[0]!.trim().toLowerCase() !== 'chunked')
      return badRequest('the only transfer coding taken here is chunked');
    if (lengths.length > 0) return badRequest('both Content-Length and Transfer-Encoding');
  }
  if (lengths.length > 1 || lengths.some((value) => !/^\d{1,15}$/.test(value)))
    return badRequest('the Content-Length is not one number');
  return undefined;
}
