/** Where a request goes: the settings say by whom, the policy says whether. */
import { type Host, formatHost } from './host.js';
import { Problem, problemOf } from './problem.js';
import type { Destination } from './connector.js';
import { type RouteQuery, findRoute } from './settings.js';
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
    const route = await findRoute(this.deps.settings(), { ...query, address: original?.host });
    if (route.refused !== undefined) throw denied(route.refused, route.why, host, port);
    const byOthers = route.upstreams.some(({ kind }) => kind !== 'direct');
    if (original !== undefined && this.isThere(client, query, original, byOthers))
      return { upstreams: route.upstreams, destination: { host, port, final: original } };
    const judged = await this.judge(client, query, byOthers, original);
    const direct = judged?.direct === true || !byOthers;
    const final =
      judged === undefined ? original : { host: { kind: 'ipv4', ip: judged.ip } as const, port: judged.port };
    return { upstreams: direct ? [DIRECT] : route.upstreams, destination: { host, port, final } };
  }

  /**
   * Whether an intercepted connection goes where its address says, which the policy has judged; an upstream that is asked for a name
   * may lead elsewhere, and so may a name that only a list of names allows. Throws Problem when the policy denies the name.
   */
  private isThere(
    client: Client,
    { host, port }: RouteQuery,
    original: Original,
    byOthers: boolean,
  ): boolean {
    const { ip } = original.host;
    const samePort = port === original.port;
    if (host.kind === 'ipv4' && host.ip === ip && samePort) return true;
    let led = false;
    if (host.kind === 'name') {
      const denial = client.judgeName(host.name) ?? client.judgeSaid(ip, original.port, host.name);
      if (denial !== undefined) throw denied(denial.why, denial.rule, host, port, denial.decision);
      led = client.wasLed(host.name, ip);
    }
    if (byOthers) return led && samePort;
    const { allow } = this.deps.settings();
    return led || allow === undefined || allow.matches(original.host, original.port);
  }

  /** Undefined: the name has no address here, and the policy has nothing against unknown ones. */
  private async judge(
    client: Client,
    { host, port }: RouteQuery,
    mayBeUnknown: boolean,
    original: Original | undefined,
  ): Promise<(Judgement & { readonly kind: 'dial' }) | undefined> {
    if (host.kind === 'ipv6')
      throw denied('IPv6 destinations are not served: the policy knows IPv4 addresses', 'ipv6', host, port);
    const judged =
      host.kind === 'ipv4'
        ? client.judge(host.ip, port, undefined)
        : await this.judgeName(client, host.name, port, mayBeUnknown, original);
    if (judged?.kind === 'deny') throw denied(judged.why, judged.rule, host, port, judged.decision);
    return judged;
  }

  private async judgeName(
    client: Client,
    name: string,
    port: number,
    mayBeUnknown: boolean,
    original: Original | undefined,
  ) {
    // An intercepted connection's was judged where it said it.
    const denial = original === undefined ? client.judgeName(name) : undefined;
    if (denial !== undefined) return denial;
    const ip = await this.resolve(name, mayBeUnknown);
    if (ip === undefined) return client.judgeUnknown(name, port);
    if (ip === original?.host.ip && port === original.port)
      return { kind: 'dial', ip, port, direct: false } as const;
    return client.judge(ip, port, name);
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
