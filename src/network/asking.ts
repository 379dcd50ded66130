/**
 * Flows that wait for somebody's word: their SYN, first datagram or ping is kept until an answer comes, or the time is over,
 * which denies them. A change of the rules may answer, too: what waits is judged again.
 *
 * Limits: MAX_ASKS flows of a guest wait; what comes beyond is denied at once. A question is open for `timeout`.
 */
import { Timer, formatIpv4 } from '../core/index.js';
import type { HeldDial, OutboundTcp, PingNat, UdpNat } from '../forwarder/index.js';
import { type Decision, type Destination, type Policy, type Verdict, ruleFor } from '../policy/index.js';
import type { EchoIn, Stack, TcpSyn, UdpIn } from '../stack/index.js';
import type { Guest } from './guest.js';
import type { Judge } from './judge.js';
import type { AnswerOptions, AskQuestion, AskOutcome } from './types.js';

/** Flows of one guest that wait. */
export const MAX_ASKS = 64;
/** ms. */
export const ASK_TIMEOUT = 30_000;

export interface AskingParts {
  readonly stack: Stack;
  readonly policy: Policy;
  readonly judge: Judge;
  readonly outbound: OutboundTcp;
  readonly nat: UdpNat;
  readonly pings: PingNat;
  readonly refuseEcho: (echo: EchoIn, decision: Decision) => void;
}

export interface AskingTold {
  readonly asked: (question: AskQuestion) => void;
  readonly answered: (question: AskQuestion, outcome: AskOutcome) => void;
}

interface Held {
  readonly question: AskQuestion;
  readonly guest: Guest;
  readonly to: Destination;
  readonly decision: Decision;
  readonly timer: Timer;
  /** Does what was decided. */
  readonly conclude: (decision: Decision) => void;
}

export class Asking {
  readonly counters = { asked: 0, allowed: 0, denied: 0, timedOut: 0, gaveUp: 0, limit: 0, waiting: 0 };
  private readonly parts: AskingParts;
  private readonly told: AskingTold;
  private readonly timeout: number;
  private readonly held = new Map<number, Held>();
  private readonly perGuest = new Map<Guest, number>();

  constructor(parts: AskingParts, told: AskingTold, timeout = ASK_TIMEOUT) {
    this.parts = parts;
    this.told = told;
    this.timeout = timeout;
    parts.policy.onChange(() => {
      this.judgeAgain();
    });
  }

  /** The open questions, the oldest first. */
  questions(): AskQuestion[] {
    return [...this.held.values()].map(({ question }) => question);
  }

  tcp(syn: TcpSyn, guest: Guest, decision: Decision): void {
    const { judge, outbound } = this.parts;
    const ports = (syn.sourcePort << 16) | syn.destinationPort;
    const to: Destination = {
      protocol: 'tcp',
      ip: syn.destination,
      port: syn.destinationPort,
      guest: guest.name,
      source: syn.neighbour.ip,
      sourcePort: syn.sourcePort,
    };
    if (this.isFull(guest)) {
      outbound.syn(syn, this.tooMany(guest, to, decision));
      return;
    }
    const dial: HeldDial | undefined = outbound.hold(syn, decision, () => {
      this.gaveUp(decision.id);
    });
    if (dial !== undefined)
      this.ask(guest, to, decision, (final) => {
        judge.answered(guest, to, ports, final);
        dial.conclude(final);
      });
  }

  udp(datagram: UdpIn, guest: Guest, decision: Decision): void {
    // The first one waits; a resolver or a game sends the next by itself.
    if (this.held.has(decision.id)) {
      this.counters.waiting++;
      return;
    }
    const { bytes, offset, length } = datagram;
    const kept: UdpIn = { ...datagram, bytes: bytes.slice(offset, offset + length), offset: 0 };
    const { judge, nat } = this.parts;
    const to: Destination = {
      protocol: 'udp',
      ip: datagram.destination,
      port: datagram.destinationPort,
      guest: guest.name,
      source: datagram.source,
      sourcePort: datagram.sourcePort,
    };
    const ports = (kept.sourcePort << 16) | kept.destinationPort;
    const conclude = (final: Decision): void => {
      judge.answered(guest, to, ports, final);
      if (!kept.port.closed) nat.send(kept, final);
    };
    if (this.isFull(guest)) conclude(this.tooMany(guest, to, decision));
    else this.ask(guest, to, decision, conclude);
  }

  echo(echo: EchoIn, guest: Guest, decision: Decision): void {
    if (this.held.has(decision.id)) {
      this.counters.waiting++;
      return;
    }
    const { bytes, offset, length } = echo;
    const kept: EchoIn = { ...echo, bytes: bytes.slice(offset, offset + length), offset: 0 };
    const { judge, pings, refuseEcho } = this.parts;
    const id = (bytes[offset + 4]! << 8) | bytes[offset + 5]!;
    const source = echo.neighbour.ip;
    const to: Destination = { protocol: 'icmp', ip: echo.destination, port: 0, guest: guest.name, source };
    const conclude = (final: Decision): void => {
      judge.answered(guest, to, id, final);
      if (guest.port.closed) return;
      if (final.verdict.kind === 'dial') pings.send(kept, final.verdict.ip);
      else refuseEcho(kept, final);
    };
    if (this.isFull(guest)) conclude(this.tooMany(guest, to, decision));
    else this.ask(guest, to, decision, conclude);
  }

  /** False: there is no such question, or it was answered. */
  answer(id: number, verdict: 'allow' | 'deny', { remember = false }: AnswerOptions = {}): boolean {
    const held = this.held.get(id);
    if (held === undefined) return false;
    if (remember) this.remember(held, verdict);
    // The rule has answered it, unless one before it asks.
    if (this.held.get(id) !== held) return true;
    const { decision } = held;
    const { rule } = decision;
    const allowed = verdict === 'allow' && decision.verdict.kind === 'ask';
    this.settle(held, allowed ? 'allowed' : 'denied', {
      ...decision,
      verdict: allowed ? decision.verdict.then : DENIED,
      why: `somebody was asked (decision ${id}) for "${rule}" and said ${verdict}`,
    });
    return true;
  }

  /** A guest left. */
  left(guest: Guest): void {
    for (const held of [...this.held.values()]) if (held.guest === guest) this.forget(held, 'gone');
  }

  stop(): void {
    for (const held of [...this.held.values()]) this.forget(held, 'gone');
  }

  private ask(guest: Guest, to: Destination, decision: Decision, conclude: Held['conclude']): void {
    const { stack } = this.parts;
    const { id } = decision;
    const question: AskQuestion = {
      id,
      guest: guest.name,
      protocol: to.protocol,
      source: `${formatIpv4(to.source!)}${to.sourcePort === undefined ? '' : `:${to.sourcePort}`}`,
      address: formatIpv4(to.ip),
      port: to.port === 0 ? undefined : to.port,
      name: decision.name,
      rule: decision.rule,
      timeout: this.timeout,
      allow: (options) => this.answer(id, 'allow', options),
      deny: (options) => this.answer(id, 'deny', options),
    };
    const timer = new Timer(() => {
      this.settle(held, 'timedOut', {
        ...decision,
        verdict: DENIED,
        why: `somebody was asked (decision ${id}) for "${decision.rule}" and nobody answered`,
      });
    });
    const held: Held = { question, guest, to, decision, timer, conclude };
    this.held.set(id, held);
    this.perGuest.set(guest, (this.perGuest.get(guest) ?? 0) + 1);
    this.counters.asked++;
    stack.timers.set(timer, stack.now() + this.timeout);
    stack.rearm();
    this.told.asked(question);
  }

  private judgeAgain(): void {
    for (const held of [...this.held.values()]) {
      const { name } = held.decision;
      const now = held.guest.policy.explain({ ...held.to, resolvedFrom: name });
      if (now.verdict.kind === 'ask') continue;
      this.settle(held, now.verdict.kind === 'deny' ? 'denied' : 'allowed', { ...now, name });
    }
  }

  /** Before the rule that asked, in its table. */
  private remember({ guest, to, decision }: Held, verdict: 'allow' | 'deny'): void {
    const { stack, policy } = this.parts;
    const host = to.ip === stack.config.hostAlias;
    const text = ruleFor(verdict, { ...to, name: decision.name }, host, true);
    policy.remember(text, guest.policy, decision.ruleId);
  }

  private isFull(guest: Guest): boolean {
    return (this.perGuest.get(guest) ?? 0) >= MAX_ASKS;
  }

  private tooMany(guest: Guest, to: Destination, decision: Decision): Decision {
    this.counters.limit++;
    const why = `${MAX_ASKS} flows of ${guest.name} wait for an answer; that is the limit`;
    return guest.policy.settle({ ...decision, verdict: DENIED, why }, { ...to, name: decision.name });
  }

  private settle(held: Held, outcome: AskOutcome, decision: Decision): void {
    if (!this.forget(held, outcome)) return;
    const { guest, to } = held;
    held.conclude(guest.policy.settle(decision, { ...to, name: decision.name }, true));
  }

  private gaveUp(id: number): void {
    const held = this.held.get(id);
    if (held !== undefined) this.forget(held, 'gone');
  }

  private forget(held: Held, outcome: AskOutcome): boolean {
    const { id } = held.question;
    if (!this.held.delete(id)) return false;
    this.parts.stack.timers.cancel(held.timer);
    const left = (this.perGuest.get(held.guest) ?? 1) - 1;
    if (left === 0) this.perGuest.delete(held.guest);
    else this.perGuest.set(held.guest, left);
    this.counters[outcome === 'gone' ? 'gaveUp' : outcome]++;
    this.told.answered(held.question, outcome);
    return true;
  }
}

const DENIED: Verdict = { kind: 'deny', how: 'prohibited' };
