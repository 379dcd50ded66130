/**
 * Connections to origins and upstream proxies. Several upstreams are tried in their order; one that failed goes to the end of the line
 * for a while (1 s, then twice as long each time, 10 s at most), and is tried nevertheless when there is no other: so it is back
 * as soon as it is.
 */
import type { Duplex } from 'node:stream';
import type { Millis } from '../core/index.js';
import { type ConnectAnswer, connectThrough } from './connect-handshake.js';
import { type Host, formatHost } from './host.js';
import { Answered, Problem, problemOf } from './problem.js';
import { socksConnect, socksGreet } from './socks5.js';
import type { ProxyDeps } from './types.js';
import { type ProxyUpstream, type Upstream, basicAuthorization } from './upstream.js';

/** Upstreams that are remembered; beyond it the oldest is forgotten. */
export const MAX_UPSTREAMS = 64;
const FIRST_PAUSE: Millis = 1000;
const LONGEST_PAUSE: Millis = 10_000;

/** What is known of an upstream. */
export interface UpstreamStats {
  connections: number;
  failures: number;
  /** Time for its connections to stand, ms, summed up. */
  connectMillis: number;
  requests: number;
  /** Its answers, and the time until their heads, ms, summed up. */
  answers: number;
  answerMillis: number;
  /** Failed last, and not tried first until then; 0: works. */
  downUntil: Millis;
  pause: Millis;
}

/** Where a connection goes in the end. `final`: what the policy judged; undefined when only the upstream knows the name. */
export interface Destination {
  readonly host: Host;
  readonly port: number;
  readonly final: { readonly host: Host; readonly port: number } | undefined;
}

/** A connection to the next hop that waits for what is to be asked of it. */
export interface Standing {
  readonly upstream: Upstream;
  readonly stream: Duplex;
}

/** The standing connection, where it is one to that upstream, or straight to the `original` address; else it ends. */
export function standingFor(
  { upstream: { name, kind }, stream }: Standing,
  upstream: Upstream,
  { final }: Destination,
  original: Destination['final'],
): Duplex | undefined {
  if (stream.destroyed) return undefined;
  if (name === upstream.name && (kind !== 'direct' || final === original)) return stream;
  stream.destroy();
  return undefined;
}

/** A tunnel that an upstream refused; its answer. */
export class Refused extends Error {
  readonly answer: ConnectAnswer;
  readonly upstream: ProxyUpstream;
  readonly stream: Duplex;

  constructor(answer: ConnectAnswer, upstream: ProxyUpstream, stream: Duplex) {
    super(`${upstream.name} answered ${answer.head.status}`);
    this.answer = answer;
    this.upstream = upstream;
    this.stream = stream;
  }
}

export class Connector {
  private readonly deps: ProxyDeps;
  private readonly timeout: Millis;
  private readonly known = new Map<string, UpstreamStats>();

  constructor(deps: ProxyDeps, timeout: Millis) {
    this.deps = deps;
    this.timeout = timeout;
  }

  /** What is known of each upstream, by name. */
  stats(): ReadonlyMap<string, UpstreamStats> {
    return this.known;
  }

  of(upstream: Upstream): UpstreamStats {
    const there = this.known.get(upstream.name);
    if (there !== undefined) return there;
    if (this.known.size >= MAX_UPSTREAMS) this.known.delete(this.known.keys().next().value!);
    const stats: UpstreamStats = {
      connections: 0,
      failures: 0,
      connectMillis: 0,
      requests: 0,
      answers: 0,
      answerMillis: 0,
      downUntil: 0,
      pause: 0,
    };
    this.known.set(upstream.name, stats);
    return stats;
  }

  /** Those that work first. */
  order(upstreams: readonly Upstream[]): readonly Upstream[] {
    const now = this.deps.scheduler.now();
    const down = (upstream: Upstream): boolean => (this.known.get(upstream.name)?.downUntil ?? 0) > now;
    return [...upstreams.filter((one) => !down(one)), ...upstreams.filter(down)];
  }

  /** Tries `attempt` with one upstream after the other; rejects with the last Problem. `Refused` and `Answered` end it. */
  async withFallback<T>(
    upstreams: readonly Upstream[],
    attempt: (upstream: Upstream) => Promise<T>,
  ): Promise<T> {
    let last: Problem | undefined;
    for (const upstream of this.order(upstreams)) {
      try {
        return await attempt(await this.withCredentials(upstream));
      } catch (error) {
        if (error instanceof Refused || error instanceof Answered) throw error;
        last = problemOf(error, upstream.name);
      }
    }
    throw last ?? new TypeError('no upstream was given');
  }

  /** The same for tunnels; where credentials were refused and there are others now, once more. */
  async withTunnel<T>(
    upstreams: readonly Upstream[],
    attempt: (upstream: Upstream) => Promise<T>,
  ): Promise<T> {
    try {
      return await this.withFallback(upstreams, attempt);
    } catch (error) {
      if (!(error instanceof Refused) || error.answer.head.status !== 407) throw error;
      if (!(await this.otherCredentials(error.upstream))) throw error;
      error.stream.destroy();
      return this.withFallback(upstreams, attempt);
    }
  }

  /** Of its own, or those that somebody else knows. */
  private async withCredentials(upstream: Upstream): Promise<Upstream> {
    if (upstream.kind === 'direct' || upstream.credentials !== undefined) return upstream;
    const credentials = await this.deps.credentials(upstream).catch((error: unknown) => {
      throw new Problem({
        status: 502,
        error: 'proxy_configuration_error',
        message: `no credentials for ${upstream.name}: ${(error as Error).message}`,
        check: 'Run the command for credentials by hand.',
        nextHop: upstream.name,
      });
    });
    return credentials === undefined ? upstream : { ...upstream, credentials, lent: true };
  }

  /** The upstream did not want the credentials that it got. True: to ask again makes sense, there are others now. */
  async otherCredentials(upstream: Upstream): Promise<boolean> {
    return upstream.kind !== 'direct' && upstream.lent === true && (await this.deps.refused(upstream));
  }

  /** A connection to the first next hop that works, before anything is asked of it. Rejects with Problem. */
  stand(upstreams: readonly Upstream[], destination: Destination): Promise<Standing> {
    return this.withFallback(upstreams, async (upstream) => ({
      upstream,
      stream: await this.timed(upstream, destination, (signal) => this.reach(upstream, destination, signal)),
    }));
  }

  /** A connection for requests: to the proxy itself where it is an HTTP proxy, else to the destination. `standing`: to use. */
  async forRequest(upstream: Upstream, destination: Destination, standing?: Duplex): Promise<Duplex> {
    return this.timed(upstream, destination, async (signal) => {
      const stream = standing ?? (await this.reach(upstream, destination, signal));
      if (upstream.kind === 'socks5' || upstream.kind === 'socks5h')
        await this.abortable(stream, signal, () => this.socks(stream, upstream, destination));
      return stream;
    });
  }

  /** A tunnel to the destination. Rejects with `Refused` when the upstream said no. `authorization`: the guest's own. */
  async forTunnel(
    upstream: Upstream,
    destination: Destination,
    authorization: string | undefined,
    standing?: Duplex,
  ): Promise<Duplex> {
    return this.timed(upstream, destination, async (signal) => {
      const stream = standing ?? (await this.reach(upstream, destination, signal));
      await this.abortable(stream, signal, () => this.tunnel(stream, upstream, destination, authorization));
      return stream;
    });
  }

  /** The connection to the next hop, TLS to it and the greeting of SOCKS included. */
  async reach(upstream: Upstream, destination: Destination, signal: AbortSignal): Promise<Duplex> {
    if (upstream.kind === 'direct') {
      const { final } = destination;
      if (final === undefined)
        throw problemOf(Object.assign(new Error(), { code: 'ENOTFOUND' }), formatHost(destination.host));
      return this.deps.dial(final.host, final.port, signal);
    }
    const stream = await this.deps.dial(upstream.host, upstream.port, signal);
    if (upstream.kind === 'http') return stream;
    return this.abortable(stream, signal, async () => {
      if (upstream.kind === 'https') return this.deps.secure(stream, upstream);
      await socksGreet(stream, upstream);
      return stream;
    });
  }

  /** Work on a connection, which ends with it when it fails or takes too long; a refusal leaves it. */
  private async abortable<T>(stream: Duplex, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const end = (): void => void stream.destroy(signal.reason as Error);
    signal.addEventListener('abort', end);
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Refused)) stream.destroy();
      throw error;
    } finally {
      signal.removeEventListener('abort', end);
    }
  }

  /** Counts, and gives up in time. */
  async timed(
    upstream: Upstream,
    destination: Destination,
    work: (signal: AbortSignal) => Promise<Duplex>,
  ): Promise<Duplex> {
    const { scheduler } = this.deps;
    const stats = this.of(upstream);
    const began = scheduler.now();
    const controller = new AbortController();
    const cancel = scheduler.after(this.timeout, () => {
      controller.abort(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' }));
    });
    try {
      const stream = await work(controller.signal);
      stats.connections++;
      stats.connectMillis += scheduler.now() - began;
      stats.downUntil = 0;
      stats.pause = 0;
      return stream;
    } catch (error) {
      if (error instanceof Refused || error instanceof Answered) throw error;
      stats.failures++;
      // SOCKS: asked for the next request.
      if ((error as { code?: unknown }).code === 'EACCES') void this.otherCredentials(upstream);
      if (upstream.kind !== 'direct') {
        stats.pause = Math.min(Math.max(stats.pause * 2, FIRST_PAUSE), LONGEST_PAUSE);
        stats.downUntil = scheduler.now() + stats.pause;
      }
      const hop =
        upstream.kind === 'direct' ? `${formatHost(destination.host)}:${destination.port}` : upstream.name;
      const cause: unknown = controller.signal.aborted ? controller.signal.reason : error;
      throw problemOf(cause, hop);
    } finally {
      cancel();
    }
  }

  private async tunnel(
    stream: Duplex,
    upstream: Upstream,
    destination: Destination,
    authorization: string | undefined,
  ): Promise<void> {
    if (upstream.kind === 'direct') return;
    if (upstream.kind === 'socks5' || upstream.kind === 'socks5h') {
      await this.socks(stream, upstream, destination);
      return;
    }
    const own = upstream.credentials === undefined ? undefined : basicAuthorization(upstream.credentials);
    const authority = `${formatHost(destination.host)}:${destination.port}`;
    const answer = await connectThrough(stream, authority, own ?? authorization);
    if (answer.head.status >= 300) throw new Refused(answer, upstream, stream);
    if (answer.rest.length > 0) stream.unshift(answer.rest);
  }

  private async socks(stream: Duplex, upstream: ProxyUpstream, destination: Destination): Promise<void> {
    // socks5: names are resolved here, where they can be.
    const { host, port } = upstream.kind === 'socks5' ? (destination.final ?? destination) : destination;
    const rest = await socksConnect(stream, host, port, upstream);
    if (rest.length > 0) stream.unshift(rest);
  }
}
