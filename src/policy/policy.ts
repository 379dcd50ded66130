/**
 * The one decision about a destination. Every flow passes `decide`, and `netproxy explain` calls the same function, so that
 * what is explained is what happens.
 *
 * Order: the gateway's own services; the host alias; addresses that are nobody's (loopback, multicast, reserved); the
 * user's rules, first match; link-local metadata (denied); the default action. A rule about `host`, about the alias, one of
 * its names or about 127.0.0.0/8 holds for the host under all its names and addresses: the alias, loopback, and its own
 * interfaces.
 *
 * A rule by name holds for the addresses to which the guest was led by that name (names.ts). Where a flow says a name itself
 * (SNI, Host), a rule by name allows it only if that name leads to the address. No rule by name opens the host or
 * link-local addresses, wherever its owner lets it lead. A redirect decides where it stands; rules before it that deny hold
 * for where it leads, too.
 */
import { type Ipv4, cidrContains, formatIpv4, ipv4 } from '../core/index.js';
import type { AuditSubject } from './audit.js';
import { LINK_LOCAL, Matcher, type Tables } from './matcher.js';
import { type Grant, type PolicyRule, readRule } from './rules.js';
import { type DefaultAction, RuleTable, TableClock, type TableEntry } from './table.js';
import type { Decision, Destination, DialVerdict, PolicyConfig, PolicyWorld, Verdict } from './types.js';

/** `127.0.0.1`: where the alias leads. */
export const LOOPBACK = ipv4(0x7f000001);

/** What all guests' policies of one network have in common. */
interface Shared {
  readonly config: PolicyConfig;
  readonly world: PolicyWorld;
  readonly matcher: Matcher;
  readonly table: RuleTable;
  readonly clock: TableClock;
  readonly services: Map<number, string>;
  /** Ports of the gateway that lead elsewhere. */
  readonly forwards: Map<number, DialVerdict>;
  readonly hits: Map<string, number>;
  defaultAction: DefaultAction;
  decisions: number;
}

export class Policy {
  /** The rules of this guest alone, before those of all. */
  readonly own: RuleTable;
  private readonly shared: Shared;

  /** With `parent`: as that one, with rules in front, for one guest; everything else is shared. */
  constructor(config: PolicyConfig, world: PolicyWorld, parent?: Policy, own: readonly PolicyRule[] = []) {
    this.shared = parent?.shared ?? makeShared(config, world);
    this.own = new RuleTable(own, this.shared.clock);
  }

  /** The same policy with rules in front, for one guest; everything else is shared. */
  withRules(rules: readonly PolicyRule[]): Policy {
    return new Policy(this.shared.config, this.shared.world, this, rules);
  }

  /** The rules of all guests. */
  get table(): RuleTable {
    return this.shared.table;
  }

  get defaultAction(): DefaultAction {
    return this.shared.defaultAction;
  }

  set defaultAction(action: DefaultAction) {
    this.shared.defaultAction = action;
    this.shared.clock.changed();
  }

  /** Changes with every change of the rules. */
  get generation(): number {
    return this.shared.clock.generation;
  }

  /** Calls after every change. */
  onChange(listener: () => void): void {
    this.shared.clock.onChange(listener);
  }

  /** Makes a service of the gateway known. */
  addService(protocol: 'tcp' | 'udp', ip: Ipv4, port: number, name: string): void {
    this.shared.services.set(portKey(protocol, ip, port), name);
  }

  removeService(protocol: 'tcp' | 'udp', ip: Ipv4, port: number): void {
    this.shared.services.delete(portKey(protocol, ip, port));
  }

  /** Leads a port of the gateway to an address that the host dials; false where a service, or another one, has it. */
  addForward(protocol: 'tcp' | 'udp', port: number, ip: Ipv4, toPort: number): boolean {
    const { services, forwards, config, clock } = this.shared;
    const key = portKey(protocol, config.gatewayIp, port);
    if (services.has(key) || forwards.has(key)) return false;
    forwards.set(key, { kind: 'dial', ip, port: toPort, via: 'redirect' });
    clock.changed();
    return true;
  }

  /** How often each rule decided. */
  counts(): ReadonlyMap<string, number> {
    return this.shared.hits;
  }

  /** Decides, counts and writes the audit log. */
  decide(to: Destination): Decision {
    const { matcher } = this.shared;
    const decision = this.explain(to);
    const name = to.name ?? matcher.nameOf(to, this.find(decision.ruleId)?.rule);
    return name === undefined
      ? this.settle(decision, to)
      : this.settle({ ...decision, name }, { ...to, name });
  }

  /** Gives a decision its number, counts it and writes it down. */
  settle(decision: Decision, subject: AuditSubject, always = false): Decision {
    const { shared } = this;
    const { hits, world } = shared;
    const decided: Decision = { ...decision, id: ++shared.decisions };
    hits.set(decision.rule, (hits.get(decision.rule) ?? 0) + 1);
    const entry = this.find(decision.ruleId);
    if (entry !== undefined) entry.hits++;
    // A port or an address that is nobody's is no matter of policy.
    if (!isClosed(decided)) world.audit?.take(decided, subject, always);
    return decided;
  }

  /** Decides without counting. */
  explain(to: Destination): Decision {
    const { services, forwards, config } = this.shared;
    const { gatewayIp, hostAlias } = config;
    const { protocol, ip, port } = to;
    const key = protocol === 'icmp' ? NO_PORT : portKey(protocol, ip, port);
    const service = services.get(key);
    if (service !== undefined)
      return say(
        { kind: 'service', service },
        `service ${service}`,
        `the gateway's ${service} service answers`,
      );
    if (ip === gatewayIp) {
      if (protocol === 'icmp')
        return say({ kind: 'service', service: 'echo' }, 'gateway', 'the gateway answers pings itself');
      const forward = forwards.get(key);
      if (forward !== undefined) return this.byRules(to, forward);
      return say(
        { kind: 'deny', how: 'reset' },
        'gateway',
        `the gateway has no service on ${protocol} port ${port}`,
      );
    }
    if (ip === hostAlias) return this.alias(to);
    return this.nobody(ip) ?? this.byRules(to, { kind: 'dial', ip, port, via: 'direct' });
  }

  /**
   * Decides about a name that a guest wants resolved, without counting. A rule about flows to a name is a rule about the name,
   * too, unless it denies some ports only. `own`: netproxy answers it itself.
   */
  explainName(name: string, guest: string, own: boolean): Decision {
    const { matcher, defaultAction } = this.shared;
    const entry = matcher.name(this.tables, name, guest, own);
    if (entry?.rule.action === 'deny') return this.denied(entry);
    if (entry !== undefined) return resolved(`allowed by the rule "${entry.rule.text}"`, entry);
    if (own && !matcher.isHostName(name)) return resolved('the gateway answers it itself');
    return defaultAction === 'deny' ? this.byDefault() : resolved('no rule speaks of it');
  }

  /** Whether a guest may ask this of the control API: only a rule that says so allows it. Decides, and writes the audit log. */
  grants(grant: Grant, guest: string, port?: number): Decision {
    const entry = this.shared.matcher.grant(this.tables, grant, guest, port);
    const decision =
      entry === undefined
        ? say(
            { kind: 'deny', how: 'prohibited' },
            'default',
            'no rule allows guests to ask the control API for it',
          )
        : entry.rule.action === 'deny'
          ? this.denied(entry)
          : say(
              { kind: 'service', service: 'api' },
              entry.rule.text,
              `allowed by "${entry.rule.text}"`,
              entry,
            );
    return this.settle(decision, { guest, protocol: 'api', port: port ?? 0, name: grant });
  }

  private alias(to: Destination): Decision {
    if (to.protocol === 'icmp')
      return say({ kind: 'service', service: 'echo' }, 'host alias', 'the host alias answers pings itself');
    return this.byRules(to, { kind: 'dial', ip: LOOPBACK, port: to.port, via: 'alias' });
  }

  /** Destinations that are no host's, whatever the rules say. */
  private nobody(ip: Ipv4): Decision | undefined {
    if (ip >>> 24 === 127 || ip >>> 24 === 0)
      return say(
        { kind: 'deny', how: 'silent' },
        'loopback',
        'loopback addresses never leave a machine; use the host alias',
      );
    if (ip >>> 28 >= 14)
      return say(
        { kind: 'deny', how: 'silent' },
        'multicast',
        'multicast, broadcast and reserved addresses are not forwarded',
      );
    if (cidrContains(this.shared.config.subnet, ip))
      return say(
        { kind: 'deny', how: 'unreachable' },
        'subnet',
        'the address belongs to the virtual network: guests reach each other over the switch',
      );
    return undefined;
  }

  private byRules(to: Destination, dial: DialVerdict): Decision {
    const isHost = this.shared.matcher.isHost(to.ip);
    const entry = this.shared.matcher.flow(this.tables, to, isHost);
    if (entry !== undefined) return this.byEntry(entry, to, dial);
    if (cidrContains(LINK_LOCAL, to.ip))
      return say(
        { kind: 'deny', how: 'prohibited' },
        'link-local',
        'link-local addresses (cloud metadata) are denied unless a rule allows them',
      );
    const { defaultAction } = this.shared;
    if (defaultAction === 'deny') return this.byDefault();
    if (defaultAction === 'ask')
      return say(
        { kind: 'ask', then: dial },
        'default',
        'no rule speaks of it; the default action is to ask',
      );
    if (dial.via === 'alias')
      return say(
        dial,
        'host alias',
        `${formatIpv4(to.ip)} is the host alias: the host's loopback is dialled`,
      );
    return say(dial, 'default', 'no rule speaks of it; the default action is allow');
  }

  private byEntry(entry: TableEntry, to: Destination, dial: DialVerdict): Decision {
    const { rule } = entry;
    switch (rule.action) {
      case 'deny':
        return this.denied(entry);
      case 'redirect':
        return this.redirected(entry, to);
      case 'ask':
        return say(
          { kind: 'ask', then: dial },
          rule.text,
          `the rule "${rule.text}" wants somebody asked`,
          entry,
        );
      case 'allow':
        return say(
          dial,
          rule.text,
          dial.via === 'alias'
            ? `allowed by the rule "${rule.text}"; ${formatIpv4(to.ip)} is the host alias: the host's loopback is dialled`
            : `allowed by the rule "${rule.text}"`,
          entry,
        );
    }
  }

  /** Rules before it that deny hold for where it leads. */
  private redirected(entry: TableEntry, to: Destination): Decision {
    const { config, matcher } = this.shared;
    const { rule } = entry;
    const port = rule.to?.port ?? to.port;
    const host = rule.to?.ip === 'host' || rule.to?.ip === config.hostAlias;
    const ip = host ? LOOPBACK : (rule.to!.ip as Ipv4);
    if (!host) {
      const nobody = this.nobody(ip);
      if (nobody !== undefined) return nobody;
    }
    const final: Destination = { protocol: to.protocol, guest: to.guest, ip, port };
    const denier = matcher.flow(this.tables, final, host || matcher.isHost(ip), entry);
    if (denier !== undefined) return this.denied(denier);
    const where = `${host ? "the host's loopback" : formatIpv4(ip)}, port ${port}`;
    return say(
      { kind: 'dial', ip, port, via: 'redirect' },
      rule.text,
      `led to ${where} by the rule "${rule.text}"`,
      entry,
    );
  }

  /** Puts a rule before the one that asked, which may be one of `guest` alone; behind all where the default asked. */
  remember(text: string, guest: Policy, before: number | undefined): void {
    const own = before !== undefined && guest.own.find(before) !== undefined;
    (own ? guest.own : this.table).add(readRule(text), before);
  }

  private find(id: number | undefined): TableEntry | undefined {
    return id === undefined ? undefined : (this.own.find(id) ?? this.shared.table.find(id));
  }

  private get tables(): Tables {
    return [this.own.all, this.shared.table.all];
  }

  private denied(entry: TableEntry): Decision {
    const { text } = entry.rule;
    return say({ kind: 'deny', how: 'prohibited' }, text, `denied by the rule "${text}"`, entry);
  }

  private byDefault(): Decision {
    return say(
      { kind: 'deny', how: 'prohibited' },
      'default',
      'no rule allows it and the default action is deny',
    );
  }
}

/** The key of a port at an address: below 2^49. Text would be made, and hashed, for each flow. */
function portKey(protocol: 'tcp' | 'udp', ip: Ipv4, port: number): number {
  return ip * 0x20000 + port * 2 + (protocol === 'tcp' ? 1 : 0);
}

/** The key of nothing. */
const NO_PORT = -1;

/** Refused for want of anybody there. */
function isClosed({ verdict }: Decision): boolean {
  return verdict.kind === 'deny' && (verdict.how === 'reset' || verdict.how === 'unreachable');
}

function resolved(why: string, entry?: TableEntry): Decision {
  return say({ kind: 'service', service: 'dns' }, entry?.rule.text ?? 'default', why, entry);
}

function say(verdict: Verdict, rule: string, why: string, entry?: TableEntry): Decision {
  return { id: 0, verdict, rule, why, ...(entry === undefined ? {} : { ruleId: entry.id }) };
}

function makeShared(config: PolicyConfig, world: PolicyWorld): Shared {
  const clock = new TableClock();
  return {
    config,
    world,
    clock,
    matcher: new Matcher(config, world),
    table: new RuleTable(config.rules, clock),
    services: new Map(),
    forwards: new Map(),
    hits: new Map(),
    defaultAction: config.defaultAction,
    decisions: 0,
  };
}
