/** Which rule speaks of a flow, or of a name: the first that fits. */
import { type Cidr, type Ipv4, cidrContains, parseCidr } from '../core/index.js';
import { noNames } from './names.js';
import { type Grant, type PolicyRule, type RuleTarget, nameFits, ruleCovers } from './rules.js';
import type { TableEntry } from './table.js';
import type { Destination, PolicyConfig, PolicyWorld } from './types.js';

export const LINK_LOCAL: Cidr = parseCidr('169.254.0.0/16')!;
const LOOPBACK_NET = parseCidr('127.0.0.0/8')!;

type NameTarget = RuleTarget & { readonly kind: 'name' };
/** Tables, the one that is tried first before the others. */
export type Tables = readonly (readonly TableEntry[])[];

export class Matcher {
  private readonly config: PolicyConfig;
  private readonly world: PolicyWorld;
  private readonly hostNames: ReadonlySet<string>;

  constructor(config: PolicyConfig, world: PolicyWorld) {
    this.config = config;
    this.world = world;
    this.hostNames = new Set(config.hostNames);
  }

  /** The first rule that fits; with `before`, the first before that one that fits and denies. */
  flow(tables: Tables, to: Destination, isHost: boolean, before?: TableEntry): TableEntry | undefined {
    let names: readonly string[] | undefined;
    for (const entries of tables) {
      for (const entry of entries) {
        if (entry === before) return undefined;
        const { rule } = entry;
        if (before !== undefined && rule.action !== 'deny') continue;
        if (!ruleCovers(rule, to.protocol, to.port, to.guest)) continue;
        const { target } = rule;
        if (target.kind === 'name' && !this.speaksOfHost(target)) {
          names ??= this.namesOf(to);
          if (this.leads(rule, target, to, names, isHost)) return entry;
        } else if (this.speaksOf(target, to.ip, isHost)) return entry;
      }
    }
    return undefined;
  }

  /** The first rule that allows a name, or denies all of it. `own`: netproxy answers it itself. */
  name(tables: Tables, name: string, guest: string, own: boolean): TableEntry | undefined {
    for (const entries of tables) {
      for (const entry of entries) {
        const { rule } = entry;
        if (!this.speaksOfName(rule, name, guest, own)) continue;
        if (rule.action !== 'deny') return entry;
        if (rule.ports.length === 0 && (rule.protocol === undefined || rule.protocol === 'dns')) return entry;
      }
    }
    return undefined;
  }

  /** The first rule about what a guest wants of the control API. `port`: of the host, to be published; 0: any that is free. */
  grant(tables: Tables, grant: Grant, guest: string, port: number | undefined): TableEntry | undefined {
    for (const entries of tables) {
      for (const entry of entries) {
        const { action, protocol, target, guest: of, ports } = entry.rule;
        if (protocol !== 'api' || (of !== undefined && of !== guest)) continue;
        if (target.kind !== 'any' && !(target.kind === 'grant' && target.grant === grant)) continue;
        // Whether at all: some ports that are denied leave others.
        if (ports.length === 0 || (port === undefined && action !== 'deny')) return entry;
        if (port !== undefined && ports.some(({ first, last }) => port >= first && port <= last))
          return entry;
      }
    }
    return undefined;
  }

  isHostName(name: string): boolean {
    return this.hostNames.has(name);
  }

  /** The host under one of its addresses. */
  isHost(ip: Ipv4): boolean {
    return ip === this.config.hostAlias || ip >>> 24 === 127 || this.world.isOwnAddress(ip);
  }

  /** The names that led a guest there. */
  namesOf(to: Destination): readonly string[] {
    const names = (this.world.names?.(to.guest) ?? noNames).namesOf(to.ip);
    return to.resolvedFrom === undefined ? names : [to.resolvedFrom, ...names];
  }

  /** The name by which a destination is known: the one that a rule speaks of, else the last that led there. */
  nameOf(to: Destination, rule: PolicyRule | undefined): string | undefined {
    const names = this.namesOf(to);
    const target = rule?.target;
    return (target?.kind === 'name' && names.find((name) => nameFits(target, name))) || names[0];
  }

  private speaksOf(target: RuleTarget, ip: Ipv4, isHost: boolean): boolean {
    if (target.kind === 'any') return true;
    if (isHost && this.speaksOfHost(target)) return true;
    return target.kind === 'cidr' && cidrContains(target.cidr, ip);
  }

  /** Whether a rule by name speaks of a flow. */
  private leads(
    { action }: PolicyRule,
    target: NameTarget,
    to: Destination,
    names: readonly string[],
    isHost: boolean,
  ): boolean {
    if (action === 'deny')
      return to.name === undefined
        ? names.some((name) => nameFits(target, name)) || (isHost && this.aliasIsCalled(target, to))
        : nameFits(target, to.name);
    if (isHost || cidrContains(LINK_LOCAL, to.ip)) return false;
    if (to.name !== undefined) return nameFits(target, to.name) && names.includes(to.name);
    return names.some((name) => nameFits(target, name));
  }

  private aliasIsCalled(target: NameTarget, to: Destination): boolean {
    const { hostAlias } = this.config;
    if (hostAlias === undefined) return false;
    return this.namesOf({ ...to, ip: hostAlias, resolvedFrom: undefined }).some((name) =>
      nameFits(target, name),
    );
  }

  private speaksOfName(rule: PolicyRule, name: string, guest: string, own: boolean): boolean {
    const { target } = rule;
    if (rule.guest !== undefined && rule.guest !== guest) return false;
    if (rule.protocol === 'icmp' || rule.protocol === 'api') return false;
    if (this.isHostName(name)) return target.kind === 'any' || this.speaksOfHost(target);
    if (target.kind === 'name') return nameFits(target, name);
    return target.kind === 'any' && !own;
  }

  /** Rules that name the host by one of its names or addresses hold for all of them. */
  private speaksOfHost(target: RuleTarget): boolean {
    if (target.kind === 'name') {
      for (const name of this.hostNames) if (nameFits(target, name)) return true;
      return false;
    }
    if (target.kind !== 'cidr') return target.kind === 'host';
    const { cidr } = target;
    if (cidr.prefix >= 8 && cidrContains(LOOPBACK_NET, cidr.base)) return true;
    const { config, world } = this;
    return cidr.prefix === 32 && (cidr.base === config.hostAlias || world.isOwnAddress(cidr.base));
  }
}
