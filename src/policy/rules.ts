/** Rules as people write them: `tcp:10.0.0.0/8:443`, `*.example.com`, `udp:any:53@build`, `host`, `dns:any`. */
import {
  type Cidr,
  type Ipv4,
  NetproxyError,
  formatCidr,
  formatIpv4,
  parseCidr,
  parseIpv4,
} from '../core/index.js';

export type PolicyProtocol = 'tcp' | 'udp' | 'icmp';

/** What a rule may speak of: flows, the question for a name alone, or what a guest may ask the control API. */
export type RuleProtocol = PolicyProtocol | 'dns' | 'api';

/** What a guest may be allowed at the control API: version and health; itself and its flows; to publish its ports. */
export const GRANTS = ['status', 'self', 'publish'] as const;
export type Grant = (typeof GRANTS)[number];

export const ACTIONS = ['allow', 'deny', 'ask', 'redirect'] as const;
export type PolicyAction = (typeof ACTIONS)[number];

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** What a rule is about: a network, the host in all its addresses, a name, or everything. */
export type RuleTarget =
  | { readonly kind: 'cidr'; readonly cidr: Cidr }
  | { readonly kind: 'host' }
  /** `below`: the names below it (`*.example.com`), not it itself. In lower case. */
  | { readonly kind: 'name'; readonly name: string; readonly below: boolean }
  | { readonly kind: 'grant'; readonly grant: Grant }
  | { readonly kind: 'any' };

/** Where a redirected flow goes; `host` is the host's loopback. */
export interface Redirect {
  readonly ip: Ipv4 | 'host';
  /** Undefined: the port that was asked for. */
  readonly port: number | undefined;
}

export interface PolicyRule {
  readonly action: PolicyAction;
  /** Undefined: all. */
  readonly protocol: RuleProtocol | undefined;
  readonly target: RuleTarget;
  /** Empty: all. ICMP and names have no ports. */
  readonly ports: readonly PortRange[];
  /** The guest's name; undefined: all guests. */
  readonly guest: string | undefined;
  /** Of `redirect` rules. */
  readonly to?: Redirect | undefined;
  /** As written; it names the rule in logs and explanations. */
  readonly text: string;
}

const ALLOWED =
  'allowed is [tcp:|udp:|icmp:|dns:|api:]TARGET[:PORTS][@GUEST] with TARGET an IPv4 address, a CIDR, a name such as example.com or *.example.com, "host" or "any", e.g. tcp:10.0.0.0/8:80,8000-8100@build; a redirect goes on with " to ADDRESS[:PORT]"';

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

function bad(text: string, why: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', `bad policy rule "${text}": ${why}`, { remedy: ALLOWED });
}

/** A rule with its action before it: `allow tcp:10.0.0.0/8:443`. Throws ERR_NETPROXY_CONFIG. */
export function readRule(text: string): PolicyRule {
  const match = /^\s*(allow|deny|ask|redirect)\s+(\S.*)$/.exec(text);
  if (match === null) {
    throw new NetproxyError(
      'ERR_NETPROXY_CONFIG',
      `"${text}" does not begin with "allow ", "deny ", "ask " or "redirect "`,
    );
  }
  return parseRule(match[1] as PolicyAction, match[2]!);
}

/** Parses one rule; throws ERR_NETPROXY_CONFIG naming what is wrong. */
export function parseRule(action: PolicyAction, text: string): PolicyRule {
  const { about, to } = splitRedirect(action, text);
  let rest = about;
  let guest: string | undefined;
  const at = rest.lastIndexOf('@');
  if (at >= 0) {
    guest = rest.slice(at + 1);
    rest = rest.slice(0, at);
    if (!/^[\w.-]+$/.test(guest)) throw bad(text, `"${guest}" is not a guest's name`);
  }
  let protocol: RuleProtocol | undefined;
  const prefix = /^(tcp|udp|icmp|dns|api):/.exec(rest);
  if (prefix !== null) {
    protocol = prefix[1] as RuleProtocol;
    rest = rest.slice(prefix[0].length);
  }
  const colon = rest.indexOf(':');
  const place = colon < 0 ? rest : rest.slice(0, colon);
  const target = protocol === 'api' ? parseGrant(action, text, place) : parseTarget(text, place);
  const ports = colon < 0 ? [] : parsePorts(text, rest.slice(colon + 1));
  if (protocol === 'icmp' && ports.length > 0) throw bad(text, 'icmp has no ports');
  if (protocol === 'dns') checkDns(action, text, target, ports);
  if (to !== undefined && protocol === 'icmp') throw bad(text, 'only tcp and udp are redirected');
  return {
    action,
    protocol,
    target,
    ports,
    guest,
    text: `${action} ${text.trim()}`,
    ...(to === undefined ? {} : { to }),
  };
}

function parseGrant(action: PolicyAction, text: string, target: string): RuleTarget {
  if (action !== 'allow' && action !== 'deny')
    throw bad(text, 'what guests may ask for is allowed or denied');
  if (target === 'any') return { kind: 'any' };
  const grant = GRANTS.find((one) => one === target);
  if (grant === undefined) throw bad(text, `api: speaks of ${GRANTS.join(', ')} or any`);
  return { kind: 'grant', grant };
}

function checkDns(action: PolicyAction, text: string, target: RuleTarget, ports: readonly PortRange[]): void {
  if (action !== 'allow' && action !== 'deny') throw bad(text, 'names are allowed or denied');
  if (ports.length > 0) throw bad(text, 'dns: speaks of names alone, without ports');
  if (target.kind !== 'name' && target.kind !== 'any') throw bad(text, 'dns: speaks of a name or of "any"');
}

function splitRedirect(action: PolicyAction, text: string): { about: string; to: Redirect | undefined } {
  const match = /^(\S+)\s+to\s+(\S+)$/.exec(text.trim());
  if (action !== 'redirect') {
    if (match !== null) throw bad(text, 'only a redirect has "to"');
    return { about: text.trim(), to: undefined };
  }
  const place = /^([^:]+)(?::(\d{1,5}))?$/.exec(match?.[2] ?? '');
  const ip = place?.[1] === 'host' ? 'host' : parseIpv4(place?.[1] ?? '');
  const port = place?.[2] === undefined ? undefined : Number(place[2]);
  if (match === null || ip === undefined || port === 0 || (port ?? 1) > 65_535)
    throw bad(text, 'a redirect ends with "to" and an IPv4 address or "host", with :PORT or without');
  return { about: match[1]!, to: { ip: ip !== 'host' && ip >>> 24 === 127 ? 'host' : ip, port } };
}

function parseTarget(text: string, target: string): RuleTarget {
  if (target === 'host') return { kind: 'host' };
  if (target === 'any' || target === '*') return { kind: 'any' };
  const cidr = parseCidr(target);
  if (cidr !== undefined) return { kind: 'cidr', cidr };
  const name = parseName(target);
  if (name !== undefined) return name;
  throw bad(text, `"${target}" is no IPv4 address, no CIDR, no name, not "host" and not "any"`);
}

function parseName(text: string): RuleTarget | undefined {
  const below = text.startsWith('*.');
  const name = (below ? text.slice(2) : text).toLowerCase().replace(/\.$/, '');
  const labels = name.split('.');
  // Nothing that could be meant as an address, and no word of a language.
  if (labels.length < 2 && !below) return undefined;
  if (name.length > 253 || /^\d*$/.test(labels.at(-1)!)) return undefined;
  return labels.every((label) => LABEL.test(label)) ? { kind: 'name', name, below } : undefined;
}

function parsePorts(text: string, ports: string): PortRange[] {
  return ports.split(',').map((part) => {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    const first = Number(match?.[1]);
    const last = match?.[2] === undefined ? first : Number(match[2]);
    if (match === null || first < 1 || last > 65535 || last < first)
      throw bad(text, `"${part}" is no port or range (1 to 65535)`);
    return { first, last };
  });
}

/** Whether a name (in lower case, without the dot at its end) is one that the target speaks of. */
export function nameFits(target: RuleTarget & { readonly kind: 'name' }, name: string): boolean {
  if (!target.below) return name === target.name;
  return (
    name.length > target.name.length + 1 &&
    name.endsWith(target.name) &&
    name.at(-target.name.length - 1) === '.'
  );
}

/** Whether a rule's protocol, guest and ports let it speak of a flow; its target is another question. */
export function ruleCovers(rule: PolicyRule, protocol: PolicyProtocol, port: number, guest: string): boolean {
  if (rule.protocol !== undefined && rule.protocol !== protocol) return false;
  if (rule.guest !== undefined && rule.guest !== guest) return false;
  if (rule.action === 'redirect' && protocol === 'icmp') return false;
  if (rule.ports.length === 0) return true;
  return protocol !== 'icmp' && rule.ports.some((range) => port >= range.first && port <= range.last);
}

export function formatTarget(target: RuleTarget): string {
  switch (target.kind) {
    case 'cidr':
      return target.cidr.prefix === 32 ? formatIpv4(target.cidr.base) : formatCidr(target.cidr);
    case 'name':
      return `${target.below ? '*.' : ''}${target.name}`;
    case 'grant':
      return target.grant;
    case 'host':
    case 'any':
      return target.kind;
  }
}
