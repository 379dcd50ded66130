/**
 * The one decision about a destination. Every flow passes `decide`, and `netproxy explain` calls it too, so that
 * what is explained is what happens.
 *
 * Order: the gateway's own services; the host alias; addresses that are nobody's (loopback, multicast, reserved); the
 * user's rules, first match; link-local metadata (denied); the default action. A rule about `host`, about the alias or
 * about 127.0.0.0/8 holds for the host under all its addresses: the alias, loopback, and its own interfaces.
 */
import { type Cidr, type Ipv4, cidrContains, formatIpv4, ipv4, parseCidr } from '../core/index.js';
import { type PolicyProtocol, type PolicyRule, type RuleTarget, ruleMatches } from './rules.js';

/** What becomes of a flow. */
export type Verdict =
  /** A service of the gateway answers. */
  | { readonly kind: 'service'; readonly service: string }
  /** The host dials this address. */
  | { readonly kind: 'dial'; readonly ip: Ipv4; readonly port: number; readonly via: 'direct' | 'alias' }
  /** Refused: as a closed port, as a firewall says it, as a router that finds nobody, or without a word. */
  | { readonly kind: 'deny'; readonly how: 'reset' | 'prohibited' | 'unreachable' | 'silent' };

export interface Decision {
  readonly verdict: Verdict;
  /** Which rule decided: the user's text, or the name of a built-in one. */
  readonly rule: string;
  /** One sentence for people. */
  readonly why: string;
}

export interface Destination {
  readonly protocol: PolicyProtocol;
  readonly ip: Ipv4;
  /** 0 for ICMP. */
  readonly port: number;
  /** The guest's name. */
  readonly guest: string;
}

export interface PolicyConfig {
  readonly subnet: Cidr;
  readonly gatewayIp: Ipv4;
  readonly hostAlias: Ipv4 | undefined;
  readonly rules: readonly PolicyRule[];
  readonly defaultAction: 'allow' | 'deny';
}

/** `127.0.0.1`: where the alias leads. */
export const LOOPBACK = ipv4(0x7f000001);
const LINK_LOCAL = parseCidr('169.254.0.0/16')!;
const LOOPBACK_NET = parseCidr('127.0.0.0/8')!;

export class Policy {
  readonly config: PolicyConfig;
  private readonly services: Map<string, string>;
  private readonly isOwnAddress: (ip: Ipv4) => boolean;
  private readonly hits: Map<string, number>;

  /** `isOwnAddress`: whether the host has this address on an interface; asked per new flow. */
  constructor(config: PolicyConfig, isOwnAddress: (ip: Ipv4) => boolean, parent?: Policy) {
    this.config = config;
    this.isOwnAddress = isOwnAddress;
    this.services = parent?.services ?? new Map<string, string>();
    this.hits = parent?.hits ?? new Map<string, number>();
  }

  /** The same policy with rules in front, for one guest; services and counts are shared. */
  withRules(rules: readonly PolicyRule[]): Policy {
    return new Policy({ ...this.config, rules: [...rules, ...this.config.rules] }, this.isOwnAddress, this);
  }

  /** Makes a service of the gateway known. */
  addService(protocol: 'tcp' | 'udp', ip: Ipv4, port: number, name: string): void {
    this.services.set(`${protocol}/${ip}/${port}`, name);
  }

  removeService(protocol: 'tcp' | 'udp', ip: Ipv4, port: number): void {
    this.services.delete(`${protocol}/${ip}/${port}`);
  }

  /** How often each rule decided. */
  counts(): ReadonlyMap<string, number> {
    return this.hits;
  }

  /** Decides and counts. */
  decide(to: Destination): Decision {
    const decision = this.explain(to);
    this.hits.set(decision.rule, (this.hits.get(decision.rule) ?? 0) + 1);
    return decision;
  }

  /** Decides without counting. */
  explain(to: Destination): Decision {
    const { gatewayIp, hostAlias } = this.config;
    const service =
      to.protocol === 'icmp' ? undefined : this.services.get(`${to.protocol}/${to.ip}/${to.port}`);
    if (service !== undefined)
      return decide(
        { kind: 'service', service },
        `service ${service}`,
        `the gateway's ${service} service answers`,
      );
    if (to.ip === gatewayIp) {
      if (to.protocol === 'icmp')
        return decide({ kind: 'service', service: 'echo' }, 'gateway', 'the gateway answers pings itself');
      return decide(
        { kind: 'deny', how: 'reset' },
        'gateway',
        `the gateway has no service on ${to.protocol} port ${to.port}`,
      );
    }
    if (to.ip === hostAlias) return this.alias(to);
    const nobody = this.nobody(to);
    if (nobody !== undefined) return nobody;
    return this.byRules(to, { kind: 'dial', ip: to.ip, port: to.port, via: 'direct' });
  }

  private alias(to: Destination): Decision {
    if (to.protocol === 'icmp')
      return decide(
        { kind: 'service', service: 'echo' },
        'host alias',
        'the host alias answers pings itself',
      );
    const denied = this.match(to, true);
    if (denied?.action === 'deny') return this.denied(denied);
    if (denied === undefined && this.config.defaultAction === 'deny') return this.byDefault();
    return decide(
      { kind: 'dial', ip: LOOPBACK, port: to.port, via: 'alias' },
      denied?.text ?? 'host alias',
      `${formatIpv4(to.ip)} is the host alias: the host's loopback is dialled`,
    );
  }

  /** Destinations that are no host's, whatever the rules say. */
  private nobody(to: Destination): Decision | undefined {
    const { ip } = to;
    if (ip >>> 24 === 127 || ip >>> 24 === 0)
      return decide(
        { kind: 'deny', how: 'silent' },
        'loopback',
        'loopback addresses never leave a machine; use the host alias',
      );
    if (ip >>> 28 >= 14)
      return decide(
        { kind: 'deny', how: 'silent' },
        'multicast',
        'multicast, broadcast and reserved addresses are not forwarded',
      );
    if (cidrContains(this.config.subnet, ip))
      return decide(
        { kind: 'deny', how: 'unreachable' },
        'subnet',
        'the address belongs to the virtual network: guests reach each other over the switch',
      );
    return undefined;
  }

  private byRules(to: Destination, verdict: Verdict): Decision {
    const rule = this.match(to, this.isHost(to.ip));
    if (rule?.action === 'deny') return this.denied(rule);
    if (rule !== undefined) return decide(verdict, rule.text, `allowed by the rule "${rule.text}"`);
    if (cidrContains(LINK_LOCAL, to.ip))
      return decide(
        { kind: 'deny', how: 'prohibited' },
        'link-local',
        'link-local addresses (cloud metadata) are denied unless a rule allows them',
      );
    if (this.config.defaultAction === 'deny') return this.byDefault();
    return decide(verdict, 'default', 'no rule speaks of it; the default action is allow');
  }

  private match(to: Destination, isHost: boolean): PolicyRule | undefined {
    return this.config.rules.find((rule) => {
      const target =
        isHost && this.speaksOfHost(rule.target) ? { ...rule, target: { kind: 'host' } as const } : rule;
      return ruleMatches(target, to.protocol, to.ip, to.port, to.guest, isHost);
    });
  }

  /** Rules that name the host by one of its names hold for all of them. */
  private speaksOfHost(target: RuleTarget): boolean {
    if (target.kind !== 'cidr') return target.kind === 'host';
    const { cidr } = target;
    if (cidr.prefix >= 8 && cidrContains(LOOPBACK_NET, cidr.base)) return true;
    return cidr.prefix === 32 && (cidr.base === this.config.hostAlias || this.isOwnAddress(cidr.base));
  }

  private isHost(ip: Ipv4): boolean {
    return ip === this.config.hostAlias || ip >>> 24 === 127 || this.isOwnAddress(ip);
  }

  private denied(rule: PolicyRule): Decision {
    return decide({ kind: 'deny', how: 'prohibited' }, rule.text, `denied by the rule "${rule.text}"`);
  }

  private byDefault(): Decision {
    return decide(
      { kind: 'deny', how: 'prohibited' },
      'default',
      'no rule allows it and the default action is deny',
    );
  }
}

function decide(verdict: Verdict, rule: string, why: string): Decision {
  return { verdict, rule, why };
}
