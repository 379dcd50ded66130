/** Rules as people write them: `tcp:10.0.0.0/8:443`, `udp:any:53@build`, `host`, `169.254.0.0/16`. */
import { type Cidr, NetproxyError, cidrContains, formatCidr, type Ipv4, parseCidr } from '../core/index.js';

export type PolicyProtocol = 'tcp' | 'udp' | 'icmp';

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** What a rule is about: a network, the host in all its addresses, or everything. */
export type RuleTarget =
  { readonly kind: 'cidr'; readonly cidr: Cidr } | { readonly kind: 'host' } | { readonly kind: 'any' };

export interface PolicyRule {
  readonly action: 'allow' | 'deny';
  /** Undefined: all. */
  readonly protocol: PolicyProtocol | undefined;
  readonly target: RuleTarget;
  /** Empty: all. ICMP has no ports. */
  readonly ports: readonly PortRange[];
  /** The guest's name; undefined: all guests. */
  readonly guest: string | undefined;
  /** As written; it names the rule in logs and explanations. */
  readonly text: string;
}

const ALLOWED =
  'allowed is [tcp:|udp:|icmp:]TARGET[:PORTS][@GUEST] with TARGET an IPv4 address, a CIDR, "host" or "any", e.g. tcp:10.0.0.0/8:80,8000-8100@build';

function bad(text: string, why: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', `bad policy rule "${text}": ${why}`, { remedy: ALLOWED });
}

/** Parses one rule; throws ERR_NETPROXY_CONFIG naming what is wrong. */
export function parseRule(action: 'allow' | 'deny', text: string): PolicyRule {
  let rest = text.trim();
  let guest: string | undefined;
  const at = rest.lastIndexOf('@');
  if (at >= 0) {
    guest = rest.slice(at + 1);
    rest = rest.slice(0, at);
    if (!/^[\w.-]+$/.test(guest)) throw bad(text, `"${guest}" is not a guest's name`);
  }
  let protocol: PolicyProtocol | undefined;
  const prefix = /^(tcp|udp|icmp):/.exec(rest);
  if (prefix !== null) {
    protocol = prefix[1] as PolicyProtocol;
    rest = rest.slice(prefix[0].length);
  }
  const colon = rest.indexOf(':');
  const target = parseTarget(text, colon < 0 ? rest : rest.slice(0, colon));
  const ports = colon < 0 ? [] : parsePorts(text, rest.slice(colon + 1));
  if (protocol === 'icmp' && ports.length > 0) throw bad(text, 'icmp has no ports');
  return { action, protocol, target, ports, guest, text: `${action} ${text.trim()}` };
}

function parseTarget(text: string, target: string): RuleTarget {
  if (target === 'host') return { kind: 'host' };
  if (target === 'any' || target === '*') return { kind: 'any' };
  const cidr = parseCidr(target);
  if (cidr === undefined)
    throw bad(text, `"${target}" is no IPv4 address, no CIDR, not "host" and not "any"`);
  return { kind: 'cidr', cidr };
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

/** Whether the rule speaks of this destination. `isHost`: the address is one of the host's own. */
export function ruleMatches(
  rule: PolicyRule,
  protocol: PolicyProtocol,
  ip: Ipv4,
  port: number,
  guest: string,
  isHost: boolean,
): boolean {
  if (rule.protocol !== undefined && rule.protocol !== protocol) return false;
  if (rule.guest !== undefined && rule.guest !== guest) return false;
  if (rule.target.kind === 'host' && !isHost) return false;
  if (rule.target.kind === 'cidr' && !cidrContains(rule.target.cidr, ip)) return false;
  if (rule.ports.length === 0) return true;
  return protocol !== 'icmp' && rule.ports.some((range) => port >= range.first && port <= range.last);
}

export function formatTarget(target: RuleTarget): string {
  return target.kind === 'cidr' ? formatCidr(target.cidr) : target.kind;
}
