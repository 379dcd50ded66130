/** The policy of a running network in the hands of its program: rules come and go, decisions are told. */
import { NetproxyError, parseIpv4 } from '../core/index.js';
import { TcpFlow, UdpMapping } from '../forwarder/index.js';
import {
  type AuditEntry,
  type Decision,
  type DefaultAction,
  type Grant,
  LOOPBACK,
  type TableEntry,
  readRule,
} from '../policy/index.js';
import type { Parts } from './assemble.js';
import type { Guest } from './guest.js';
import type { AnswerOptions, AskQuestion } from './types.js';
import { flowsAfter } from './views.js';

/** A rule in its place. */
export interface RuleInfo {
  /** Unique in its network, never used again. */
  readonly id: number;
  /** As it was written, with its action. */
  readonly rule: string;
  /** How often it decided. */
  readonly decided: number;
}

/** What a change of the policy does to flows that run. */
export interface ChangeOptions {
  /** true: flows that are not allowed any more are ended, TCP with RST on both sides. Default false: they go on. */
  readonly end?: boolean | undefined;
}

export interface AddOptions extends ChangeOptions {
  /** The id of the rule before which it is put. Default: behind all. */
  readonly before?: number | undefined;
}

/** A whole policy; what is left out stays as it is. */
export interface PolicyChange {
  readonly default?: DefaultAction | undefined;
  /** Those that were there already, by their text, keep their id and their count. */
  readonly rules?: readonly string[] | undefined;
  /** What the audit log tells. */
  readonly log?: 'denied' | 'all' | undefined;
}

export class PolicyControl {
  private readonly parts: Parts;

  constructor(parts: Parts) {
    this.parts = parts;
  }

  /**
   * Leads a port of the gateway to an IPv4 address that the host dials, as the first rule that fits it allows. Throws
   * ERR_NETPROXY_CONFIG, or ERR_NETPROXY_STATE where the port is taken.
   */
  forwardGateway(protocol: 'tcp' | 'udp', port: number, ip: string, toPort: number): void {
    const address = parseIpv4(ip);
    if (address === undefined)
      throw new NetproxyError('ERR_NETPROXY_CONFIG', `"${ip}" is no IPv4 address that a port could lead to`);
    if (!this.parts.policy.addForward(protocol, port, address, toPort))
      throw new NetproxyError(
        'ERR_NETPROXY_STATE',
        `${protocol} port ${port} of the gateway is taken already`,
      );
  }

  get default(): DefaultAction {
    return this.parts.policy.defaultAction;
  }

  /** What the audit log tells: what was denied, or all decisions. */
  get log(): 'denied' | 'all' {
    return this.parts.audit.all ? 'all' : 'denied';
  }

  /** The rules of all guests, in the order in which they are tried. */
  rules(): RuleInfo[] {
    return this.parts.policy.table.all.map(infoOf);
  }

  /** Adds a rule such as `allow tcp:*.example.com:443`; it holds for new flows at once. Throws ERR_NETPROXY_CONFIG. */
  add(rule: string, { before, end }: AddOptions = {}): RuleInfo {
    const entry = this.parts.policy.table.add(readRule(rule), before);
    this.changed(`rule ${entry.id} added: ${entry.rule.text}`, end);
    return infoOf(entry);
  }

  /** Takes a rule away; undefined when there is none of that `id`. */
  remove(id: number, { end }: ChangeOptions = {}): RuleInfo | undefined {
    const entry = this.parts.policy.table.remove(id);
    if (entry === undefined) return undefined;
    this.changed(`rule ${id} removed: ${entry.rule.text}`, end);
    return infoOf(entry);
  }

  /** Changes all that is given at once, or nothing. Throws ERR_NETPROXY_CONFIG. */
  set(change: PolicyChange, { end }: ChangeOptions = {}): void {
    const { policy, audit } = this.parts;
    const rules = change.rules?.map(readRule);
    if (rules !== undefined) policy.table.replace(rules);
    if (change.default !== undefined) policy.defaultAction = change.default;
    if (change.log !== undefined) audit.all = change.log === 'all';
    this.parts.state.policy.note();
    this.changed(`${policy.table.all.length} rules, default ${policy.defaultAction}`, end);
  }

  /** How often each rule decided, built-in ones and those of single guests included. */
  counts(): ReadonlyMap<string, number> {
    return this.parts.policy.counts();
  }

  /** The audit log, the oldest first, behind a decision's id. */
  decisions(after = 0): Iterable<AuditEntry> {
    return this.parts.audit.entries(after);
  }

  /** Questions that wait for an answer, the oldest first. */
  asks(): AskQuestion[] {
    return this.parts.asking.questions();
  }

  /** Answers a question; false when there is none of that `id`, or it was answered. */
  answer(id: number, verdict: 'allow' | 'deny', options: AnswerOptions = {}): boolean {
    return this.parts.asking.answer(id, verdict, options);
  }

  /** The rules that allow what was allowed while the log told all: by name where the guest was led there by one. */
  learned(): string[] {
    return this.parts.audit.learned.rules;
  }

  /** Whether a guest may ask this of the control API; audited. `port`: of the host, to be published. */
  grants(guest: string, grant: Grant, port?: number): Decision {
    const policy = this.parts.roster.byName(guest)?.policy ?? this.parts.policy;
    return policy.grants(grant, guest, port);
  }

  /** Ends the flows that guests began and that are not allowed any more; how many. */
  endDenied(): number {
    let ended = 0;
    for (const flow of flowsAfter(this.parts, 0)) {
      if (!this.isDenied(flow)) continue;
      flow.kill();
      ended++;
    }
    return ended;
  }

  private changed(what: string, end: boolean | undefined): void {
    this.parts.logger.info(`policy: ${what}`);
    if (end !== true) return;
    const ended = this.endDenied();
    if (ended > 0) this.parts.logger.info(`policy: ${ended} flows ended that are not allowed any more`);
  }

  private isDenied(flow: unknown): boolean {
    if (flow instanceof TcpFlow) {
      if (flow.direction !== 'out' || flow.phase === 'closed') return false;
      const { port, localIp, localPort } = flow.endpoint;
      const { verdict } = judge(port.user as Guest, 'tcp', localIp, localPort, flow.name);
      // Led elsewhere by now: not to where this one leads.
      return verdict.kind === 'deny' || (verdict.kind === 'dial' && !flow.leadsTo(verdict.ip, verdict.port));
    }
    if (!(flow instanceof UdpMapping)) return false;
    const { stack } = this.parts;
    const guest = stack.port(flow.owner)?.user as Guest | undefined;
    if (guest === undefined) return false;
    const ip = flow.lastIp === LOOPBACK ? (stack.config.hostAlias ?? LOOPBACK) : flow.lastIp;
    return judge(guest, 'udp', ip, flow.lastPort, undefined).verdict.kind === 'deny';
  }
}

function judge(
  guest: Guest,
  protocol: 'tcp' | 'udp',
  ip: Parameters<Guest['policy']['explain']>[0]['ip'],
  port: number,
  resolvedFrom: string | undefined,
) {
  return guest.policy.explain({ protocol, ip, port, guest: guest.name, resolvedFrom });
}

function infoOf({ id, rule, hits }: TableEntry): RuleInfo {
  return { id, rule: rule.text, decided: hits };
}
