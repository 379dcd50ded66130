/** Servers in tiers: those of the next one are asked when those of one failed, or had no answer in their time. */
import type { Millis } from '../core/index.js';
import {
  Rcode,
  questionName,
  type DnsUpstreamError,
  type DnsReply,
  type DnsTransport,
  type DnsUpstream,
} from '../dns/index.js';

export interface Tier {
  readonly upstream: DnsUpstream;
  /** Undefined: an even share of what is left. */
  readonly timeout: Millis | undefined;
}

export class TieredUpstream implements DnsUpstream {
  private readonly tiers: readonly Tier[];
  private readonly now: () => Millis;

  /** At least one tier. */
  constructor(tiers: readonly Tier[], now: () => Millis = () => performance.now()) {
    this.tiers = tiers;
    this.now = now;
  }

  query(bytes: Uint8Array, transport: DnsTransport, timeout: Millis, reply: DnsReply): void {
    const until = this.now() + timeout;
    let poor: { readonly answer: Uint8Array; readonly server: string | undefined } | undefined;
    const ask = (i: number): void => {
      const tier = this.tiers[i]!;
      const isLast = i === this.tiers.length - 1;
      const left = Math.max(1, until - this.now());
      const share = Math.min(left, tier.timeout ?? left / (this.tiers.length - i));
      tier.upstream.query(isLast ? bytes : bytes.slice(), transport, isLast ? left : share, {
        answered: (answer, server) => {
          if (!isPoor(answer)) reply.answered(answer, server);
          else if (isLast) reply.answered(poor?.answer ?? answer, poor?.server ?? server);
          else {
            poor ??= { answer: answer.slice(), server };
            ask(i + 1);
          }
        },
        failed: (error: DnsUpstreamError) => {
          if (!isLast && error.code !== 'closed') ask(i + 1);
          else if (poor !== undefined) reply.answered(poor.answer, poor.server);
          else reply.failed(error);
        },
      });
    };
    ask(0);
  }

  close(): void {
    for (const { upstream } of this.tiers) upstream.close();
  }
}

/** Several servers at once: the first good answer counts, else the first one that came, else why there is none. */
export class RacingUpstream implements DnsUpstream {
  private readonly upstreams: readonly DnsUpstream[];

  /** At least one. */
  constructor(upstreams: readonly DnsUpstream[]) {
    this.upstreams = upstreams;
  }

  query(bytes: Uint8Array, transport: DnsTransport, timeout: Millis, reply: DnsReply): void {
    let left = this.upstreams.length;
    let done = false;
    let poor: { readonly answer: Uint8Array; readonly server: string | undefined } | undefined;
    const answered = (answer: Uint8Array, server: string | undefined): void => {
      done = true;
      reply.answered(answer, server);
    };
    const ended = (error: DnsUpstreamError | undefined): void => {
      if (done || --left > 0) return;
      if (poor !== undefined) answered(poor.answer, poor.server);
      else if (error !== undefined) reply.failed(error);
    };
    for (const upstream of this.upstreams) {
      upstream.query(bytes.slice(), transport, timeout, {
        answered: (answer, server) => {
          if (done) return;
          if (!isPoor(answer)) {
            answered(answer, server);
            return;
          }
          poor ??= { answer: answer.slice(), server };
          ended(undefined);
        },
        failed: ended,
      });
    }
  }

  close(): void {
    for (const upstream of this.upstreams) upstream.close();
  }
}

/** Names that a table leads elsewhere, and one for the others. */
export class RoutingUpstream implements DnsUpstream {
  private readonly find: (name: string) => DnsUpstream | undefined;
  private readonly others: DnsUpstream;

  constructor(find: (name: string) => DnsUpstream | undefined, others: DnsUpstream) {
    this.find = find;
    this.others = others;
  }

  query(bytes: Uint8Array, transport: DnsTransport, timeout: Millis, reply: DnsReply): void {
    const upstream = this.find(questionName(bytes) ?? '') ?? this.others;
    upstream.query(bytes, transport, timeout, reply);
  }

  close(): void {
    this.others.close();
  }
}

/** Answers that say that the server cannot or will not. */
function isPoor(answer: Uint8Array): boolean {
  const rcode = answer[3]! & 15;
  return rcode === Rcode.servFail || rcode === Rcode.refused || rcode === Rcode.notImp;
}
