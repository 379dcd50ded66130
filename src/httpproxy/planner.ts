/** Where a request goes: the settings say by whom, the policy says whether. */
import { type Host, formatHost } from './host.js';
import { Problem, problemOf } from './problem.js';
import type { Destination } from './connector.js';
import { type RouteQuery, routeOf } from './settings.js';
import type { Original } from './session.js';
import type { Client, Judgement, ProxyDeps } from './types.js';
import { DIRECT, type Upstream } from './upstream.js';

/** Names without an address here are remembered for this long, ms, and so many of them: asking for them costs time. */
export const UNKNOWN_MILLIS = 30_000;
export const MAX_UNKNOWN = 1024;

export interface Plan {
  readonly upstreams: readonly Upstream[];
  readonly destination: Destination;
}

export class Planner {
  private readonly deps: ProxyDeps;
  /** Until when a name counts as unknown. */
  private readonly unknown = new Map<string, number>();

  constructor(deps: ProxyDeps) {
    this.deps = deps;
  }

  /**
   * Rejects with Problem: 403 where policy or settings say no, 502 or 504 where the name has no address and nobody else could know it.
   * `original`: an intercepted connection's address, which the policy let pass; straight means there.
   */
  async plan(client: Client, query: RouteQuery, original?: Original): Promise<Plan> {
    const { host, port } = query;
    const route = routeOf(this.deps.settings(), query);
    if (route.refused !== undefined) throw denied(route.refused, route.why, host, port);
    const byOthers = route.upstreams.some(({ kind }) => kind !== 'direct');
    const judged = await this.judge(client, host, port, byOthers || original !== undefined);
    const direct = judged?.direct === true || !byOthers;
    if (original !== undefined && direct)
      return { upstreams: [DIRECT], destination: { host, port, final: original } };
    const final =
      judged === undefined ? original : { host: { kind: 'ipv4', ip: judged.ip } as const, port: judged.port };
    return { upstreams: direct ? [DIRECT] : route.upstreams, destination: { host, port, final } };
  }

  /** Undefined: the name has no address here, and the policy has nothing against unknown ones. */
  private async judge(
    client: Client,
    host: Host,
    port: number,
    mayBeUnknown: boolean,
  ): Promise<(Judgement & { readonly kind: 'dial' }) | undefined> {
    if (host.kind === 'ipv6')
      throw denied('IPv6 destinations are not served: the policy knows IPv4 addresses', 'ipv6', host, port);
    const judged =
      host.kind === 'ipv4'
        ? client.judge(host.ip, port, undefined)
        : await this.judgeName(client, host.name, port, mayBeUnknown);
    if (judged?.kind === 'deny') throw denied(judged.why, judged.rule, host, port, judged.decision);
    return judged;
  }

  private async judgeName(client: Client, name: string, port: number, mayBeUnknown: boolean) {
    const denial = client.judgeName(name);
    if (denial !== undefined) return denial;
    const ip = await this.resolve(name, mayBeUnknown);
    return ip === undefined ? client.judgeUnknown(name, port) : client.judge(ip, port, name);
  }

  private async resolve(name: string, mayBeUnknown: boolean) {
    const now = this.deps.scheduler.now();
    if (mayBeUnknown && (this.unknown.get(name) ?? 0) > now) return undefined;
    try {
      const ip = await this.deps.resolve(name);
      this.unknown.delete(name);
      return ip;
    } catch (error) {
      if (!mayBeUnknown) throw problemOf(error, name);
      if (this.unknown.size >= MAX_UNKNOWN) this.unknown.delete(this.unknown.keys().next().value!);
      this.unknown.set(name, now + UNKNOWN_MILLIS);
      return undefined;
    }
  }
}

function denied(why: string, rule: string, host: Host, port: number, decision = 0): Problem {
  return new Problem({
    status: 403,
    error: 'http_request_denied',
    message: `${formatHost(host)}:${port} is denied: ${why}`,
    check: 'netproxy explain tells which rule decides about a destination.',
    rule,
    decision: decision === 0 ? undefined : decision,
  });
}
