/**
 * Routes by a proxy auto-config file. It is asked with the scheme, host and port of a request and never with its path, which is nobody's
 * business but the guest's; so an answer holds for all requests to that place, for a while.
 *
 * Limits: MAX_ANSWERS answers are kept for ANSWER_MILLIS, failures for FAILURE_MILLIS.
 */
import type { Millis } from '../core/index.js';
import { formatAuthority } from './headers.js';
import { formatHost } from './host.js';
import { parsePacResult } from './pac-result.js';
import { Problem } from './problem.js';
import type { Route, RouteQuery } from './settings.js';
import { DIRECT, type Upstream } from './upstream.js';

export const MAX_ANSWERS = 4096;
export const ANSWER_MILLIS: Millis = 60_000;
export const FAILURE_MILLIS: Millis = 5000;

/** What happens to requests while the file cannot be had, or does not work. */
export type PacFailure = 'direct' | 'deny';

export interface PacDeps {
  now(): Millis;
  /** The file's answer. Rejects with an error whose message says why there is none. */
  evaluate(url: string, host: string): Promise<string>;
  /** Gets what is wrong with the file, as a sentence. */
  complain(message: string): void;
}

interface Kept {
  readonly answer: Promise<readonly Upstream[] | Error>;
  until: Millis;
}

export class PacRoutes {
  /** Answers that were looked for, those that were kept, and those that could not be had. */
  readonly counters = { asked: 0, kept: 0, failed: 0 };
  private readonly name: string;
  private readonly failure: PacFailure;
  private readonly deps: PacDeps;
  private readonly answers = new Map<string, Kept>();

  /** `name`: the file, for people. */
  constructor(name: string, failure: PacFailure, deps: PacDeps) {
    this.name = name;
    this.failure = failure;
    this.deps = deps;
  }

  /** Forgets all answers: the file is another one. */
  clear(): void {
    this.answers.clear();
  }

  /** `behind`: what holds when the file does not work. Rejects with Problem 503 where nothing does. */
  async find(query: RouteQuery, behind: readonly Upstream[]): Promise<Route> {
    const found = await this.answerFor(query);
    if (!(found instanceof Error)) return { upstreams: found, why: `${this.name} says so` };
    const why = `${this.name} does not work: ${found.message}`;
    if (behind.length > 0) return { upstreams: behind, why };
    if (this.failure === 'direct') return { upstreams: [DIRECT], why };
    throw new Problem({
      status: 503,
      error: 'proxy_configuration_error',
      message: why,
      check: 'Check the proxy auto-config file; netproxy proxy explain tells what it says of a URL.',
    });
  }

  private answerFor({ scheme, host, port }: RouteQuery): Promise<readonly Upstream[] | Error> {
    const url = `${scheme}://${formatAuthority(host, port, scheme === 'http' ? 80 : 443)}/`;
    const now = this.deps.now();
    const there = this.answers.get(url);
    if (there !== undefined && there.until > now) {
      this.counters.kept++;
      return there.answer;
    }
    this.counters.asked++;
    this.answers.delete(url);
    if (this.answers.size >= MAX_ANSWERS) this.answers.delete(this.answers.keys().next().value!);
    const kept: Kept = {
      answer: this.evaluate(url, host.kind === 'ipv6' ? host.text : formatHost(host)),
      until: now + ANSWER_MILLIS,
    };
    this.answers.set(url, kept);
    void kept.answer.then((found) => {
      if (found instanceof Error) kept.until = this.deps.now() + FAILURE_MILLIS;
    });
    return kept.answer;
  }

  private async evaluate(url: string, host: string): Promise<readonly Upstream[] | Error> {
    try {
      const text = await this.deps.evaluate(url, host);
      const result = parsePacResult(text);
      if (result === undefined) throw new Error(`it answers "${text.slice(0, 80)}"`);
      for (const part of result.unknown)
        this.deps.complain(`${this.name} names "${part.slice(0, 80)}", which is left out`);
      return result.upstreams;
    } catch (error) {
      this.counters.failed++;
      this.deps.complain(`${this.name} does not work: ${(error as Error).message}`);
      return error as Error;
    }
  }
}
