/**
 * One intercepted connection, on its way to a port where a web server is thought to be. First the next hop is reached, and only then
 * the guest's SYN is answered; the first bytes say what it is: requests go to the HTTP engine, everything else becomes a tunnel, to the
 * name that a ClientHello says or to the address.
 */
import type { Duplex } from 'node:stream';
import { answerRaw } from './answer.js';
import { Refused, type Standing, standingFor } from './connector.js';
import { type FirstWord, type InterceptedScheme, readFirst } from './first-bytes.js';
import { type Host, formatHost } from './host.js';
import { join } from './join.js';
import type { Plan } from './planner.js';
import { Answered, type Problem, problemOf } from './problem.js';
import type { ProxyParts } from './server.js';
import type { Original } from './session.js';
import { findRoute } from './settings.js';
import { refusal } from './tunnel.js';
import type { Client } from './types.js';

/** Takes what turned out to be requests. */
export type TakeRequests = (stream: Duplex, standing: Standing | undefined) => void;

export class Intercepted {
  private readonly parts: ProxyParts;
  private readonly client: Client;
  private readonly original: Original;
  private readonly scheme: InterceptedScheme;
  private standing: Standing | undefined;
  private dropped = false;

  constructor(parts: ProxyParts, client: Client, original: Original, scheme: InterceptedScheme) {
    this.parts = parts;
    this.client = client;
    this.original = original;
    this.scheme = scheme;
  }

  /** Reaches the next hop, as far as it is known before the guest has said anything. Rejects with Problem. */
  async reach(): Promise<void> {
    const { parts, scheme, original } = this;
    const { host, port } = original;
    // Whether it is allowed at all, its name may say.
    const settings = { ...parts.deps.settings(), allow: undefined };
    try {
      const { upstreams } = await findRoute(settings, { scheme, host, port });
      this.standing = await parts.connector.stand(upstreams, { host, port, final: original });
    } catch (error) {
      throw this.failed(error, formatOriginal(original));
    }
    if (this.dropped) this.drop();
  }

  /** The guest gave up. */
  drop(): void {
    this.dropped = true;
    this.standing?.stream.destroy();
    this.standing = undefined;
  }

  /** The guest's connection stands. Resolves when somebody else has it, or it ended. */
  async serve(stream: Duplex, takeRequests: TakeRequests): Promise<void> {
    const { parts, scheme } = this;
    let first;
    try {
      first = await readFirst(stream, scheme, parts.deps.scheduler);
    } catch {
      this.drop();
      stream.destroy();
      return;
    }
    const { word, bytes } = first;
    if (word.kind === 'http') {
      const { standing } = this;
      this.standing = undefined;
      takeRequests(stream, standing);
      return;
    }
    const target = this.targetOf(word);
    try {
      await this.tunnel(stream, target, bytes);
    } catch (error) {
      this.drop();
      const problem = this.refused(error, target);
      // Only who may speak HTTP is told in HTTP.
      if (scheme === 'http') answerRaw(problem, undefined, stream);
      else stream.destroy();
    }
  }

  private targetOf(word: FirstWord): Host {
    const { counters } = this.parts;
    if (word.kind === 'tls' && word.name !== undefined) {
      counters.tunnelsByName++;
      return { kind: 'name', name: word.name };
    }
    if (word.kind === 'silent') counters.silent++;
    counters.tunnelsByAddress++;
    return this.original.host;
  }

  private async tunnel(stream: Duplex, host: Host, bytes: Buffer): Promise<void> {
    const { parts, client, original, scheme } = this;
    const { port } = original;
    const plan = await parts.planner.plan(client, { scheme, host, port }, original);
    const outside = await this.open(plan);
    const target = `${formatHost(host)}:${port}`;
    parts.deps.logger.debug(`HTTP proxy: intercepted ${target}: 200`, {
      guest: client.name,
      address: formatOriginal(original),
      upstream: outside.upstream.name,
      status: 200,
    });
    if (stream.destroyed) {
      outside.stream.destroy();
      return;
    }
    const name = host.kind === 'name' ? host.name : undefined;
    const peer = formatOriginal(original);
    await join(stream, outside.stream, (guest, far) => parts.deps.splice(guest, far, peer, name), bytes);
  }

  /** The tunnel: on the connection that stands where it leads there, and has not ended since. */
  private async open({ upstreams, destination }: Plan): Promise<Standing> {
    const { connector } = this.parts;
    return connector.withTunnel(upstreams, async (upstream) => {
      const { standing } = this;
      this.standing = undefined;
      const stream = standing && standingFor(standing, upstream, destination, this.original);
      if (stream !== undefined) {
        try {
          return { upstream, stream: await connector.forTunnel(upstream, destination, undefined, stream) };
        } catch (error) {
          if (error instanceof Refused || error instanceof Answered) throw error;
        }
      }
      return { upstream, stream: await connector.forTunnel(upstream, destination, undefined) };
    });
  }

  private refused(error: unknown, host: Host): Problem {
    const target = `${formatHost(host)}:${this.original.port}`;
    if (!(error instanceof Refused)) return this.failed(error, target);
    this.parts.counters.refusedTunnels++;
    error.stream.destroy();
    return this.failed(refusal(error, target), target);
  }

  /** Counts and tells. */
  private failed(error: unknown, target: string): Problem {
    const { counters, deps } = this.parts;
    const problem = problemOf(error, target);
    const denied = problem.status === 403 && problem.details.nextHop === undefined;
    if (denied) counters.denied++;
    else counters.failed++;
    const { receivedStatus, nextHop } = problem.details;
    const fields = {
      guest: this.client.name,
      address: formatOriginal(this.original),
      upstream: nextHop,
      status: receivedStatus ?? problem.status,
    };
    const message = `HTTP proxy: intercepted ${target}: ${problem.message}`;
    if (denied) deps.logger.debug(message, fields);
    else deps.logger.warn(message, { ...fields, every: 10_000 });
    return problem;
  }
}

function formatOriginal({ host, port }: Original): string {
  return `${formatHost(host)}:${port}`;
}
