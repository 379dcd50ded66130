/**
 * The gateway's DNS server (RFC 1035), for UDP and TCP.
 *
 * Theory of operation. A query is read strictly (message.ts) and answered by the first that knows: policy, the names
 * that are known here (`local`: builtin.ts, hosts.ts), and then, depending on how the host finds addresses, the host's
 * resolver (system.ts) or the name servers that are responsible for the name (`route`), to which the query goes and from
 * which the answer comes byte for byte, the id aside. Queries that ask for DNSSEC or for anything but addresses and
 * pointers always go to the name servers.
 *
 * Each query gets one answer: at the latest SERVFAIL at the deadline, which `poll(now)` keeps; it is due at
 * `nextTimeout()`. Identical queries on the way share one lookup. A guest has at most `maxPerGuest` on the way, all
 * guests together `maxInFlight` different ones; what is more is REFUSED at once. With EDNS, an extended error says
 * why (RFC 8914).
 *
 * Not supported: zone transfers and opcodes other than QUERY (NOTIMP), TSIG of our own, cookies (RFC 7873).
 */
import { Timer, Timers, type Millis } from '../core/index.js';
import { buildAnswer, fitAnswer, type AnswerParts } from './answer.js';
import { CLASS_IN, ExtendedError, Flag, Rcode, RecordType } from './codes.js';
import { HEADER, PLAIN_UDP_SIZE, parseQuery, setWord, word, type DnsQuery } from './message.js';
import { reverseAddress } from './names.js';
import { SystemNames, isSystemName } from './system.js';
import { DnsTally } from './tally.js';
import {
  type DnsConfig,
  type DnsCounters,
  type DnsGuest,
  type DnsReply,
  type DnsSource,
  type DnsTransport,
  type DnsUpstream,
  type DnsUpstreamError,
  type SystemMode,
} from './types.js';

/** The largest message that TCP carries. */
const MAX_MESSAGE = 65_535;

/** Who gets an answer that comes later; the bytes are lent for the call. */
export type DnsTaker = (answer: Uint8Array) => void;

type Answerable = Omit<DnsQuery, 'question'> & Partial<Pick<DnsQuery, 'question'>>;

/** What a lookup came to: bytes from a name server, or parts of an answer of ours. */
type Outcome =
  | { readonly source: DnsSource; readonly bytes: Uint8Array; readonly server: string | undefined }
  | { readonly source: DnsSource; readonly parts: AnswerParts };

/** A lookup on the way, and who waits for it. */
interface InFlight {
  readonly waiting: Set<Waiting>;
}

interface Waiting {
  readonly timer: Timer;
  settle(outcome: Outcome): void;
}

export class DnsServer {
  private readonly config: DnsConfig;
  private readonly system: SystemNames | undefined;
  private readonly deadline: Millis;
  /** What the name servers get of it, so that what they had to say still comes in time. */
  private readonly patience: Millis;
  private readonly maxPerGuest: number;
  private readonly maxInFlight: number;
  private readonly timers = new Timers();
  private readonly inFlight = new Map<string, InFlight>();
  private readonly perGuest = new Map<DnsGuest['id'], number>();
  private readonly tally = new DnsTally();

  constructor(config: DnsConfig) {
    this.config = config;
    this.system = config.resolver && new SystemNames(config.resolver);
    this.deadline = config.deadline ?? 5000;
    this.patience = Math.max(this.deadline / 2, this.deadline - 250);
    this.maxPerGuest = config.maxPerGuest ?? 256;
    this.maxInFlight = config.maxInFlight ?? 4096;
  }

  get counters(): DnsCounters {
    return this.tally;
  }

  /** Different queries on the way. */
  get pending(): number {
    return this.inFlight.size;
  }

  /** As `receive`, with a copy of the answer, or a promise of it; the promise never rejects. */
  handle(
    bytes: Uint8Array,
    transport: DnsTransport,
    guest: DnsGuest,
    now: Millis,
  ): Promise<Uint8Array | undefined> | Uint8Array | undefined {
    let promise: Promise<Uint8Array> | undefined;
    const answer = this.receive(bytes, transport, guest, now, () => {
      let settle: (answer: Uint8Array) => void = () => undefined;
      promise = new Promise((resolve) => (settle = resolve));
      return (late) => {
        settle(late.slice());
      };
    });
    return promise ?? answer?.slice();
  }

  /**
   * Answers a message of a guest. The bytes are lent for the call; the answer, which fits the transport, is lent until
   * the next one. Undefined: there is no answer, now or ever. When one is to come later, `later` was called meanwhile
   * for who takes it, once. Never throws.
   */
  receive(
    bytes: Uint8Array,
    transport: DnsTransport,
    guest: DnsGuest,
    now: Millis,
    later: () => DnsTaker,
  ): Uint8Array | undefined {
    this.tally.received[transport]++;
    this.timers.run(now);
    const parsed = parseQuery(bytes);
    switch (parsed.kind) {
      case 'drop':
        this.tally.drops[parsed.reason]++;
        return undefined;
      case 'refuse': {
        const outcome: Outcome = { source: 'error', parts: { rcode: parsed.rcode } };
        return this.finish(parsed.query, transport, guest, outcome, 0);
      }
      case 'query': {
        const { query } = parsed;
        const known = this.immediate(query, guest);
        if (known) return this.finish(query, transport, guest, known, 0);
        return this.wait(query, transport, guest, now, later);
      }
    }
  }

  /** When `poll` has something to do next; Infinity when never. */
  nextTimeout(): Millis {
    return this.timers.next();
  }

  /** Gives SERVFAIL to whoever waited too long. */
  poll(now: Millis): void {
    this.timers.run(now);
  }

  /** What is known without asking anybody. */
  private immediate(query: DnsQuery, guest: DnsGuest): Outcome | undefined {
    const { question } = query;
    if (this.config.decide?.(question.name, guest) === 'deny') {
      const error = { code: ExtendedError.prohibited, text: 'denied by the policy of this network' };
      return { source: 'policy', parts: { rcode: Rcode.refused, error } };
    }
    for (const names of this.config.local) {
      const parts = names.resolve(question, guest);
      if (parts) return { source: names.source, parts };
    }
    if (question.type === RecordType.AXFR || question.type === RecordType.IXFR) {
      const error = { code: ExtendedError.notSupported, text: 'no zone transfers here' };
      return { source: 'error', parts: { rcode: Rcode.notImp, error } };
    }
    return undefined;
  }

  private mode(): SystemMode {
    if (!this.system) return 'relay';
    return this.config.mode?.() ?? 'resolver';
  }

  private wait(
    query: DnsQuery,
    transport: DnsTransport,
    guest: DnsGuest,
    now: Millis,
    later: () => DnsTaker,
  ): Uint8Array | undefined {
    const route = this.config.route?.(query.question.name);
    const bySystem = route === undefined && this.isForSystem(query);
    const key = bySystem ? `${query.question.type} ${query.question.name}` : relayKey(query, transport);
    const running = this.inFlight.get(key);
    const mine = this.perGuest.get(guest.id) ?? 0;
    if (mine >= this.maxPerGuest || (!running && this.inFlight.size >= this.maxInFlight)) {
      return this.finish(query, transport, guest, TOO_MANY, 0);
    }
    this.perGuest.set(guest.id, mine + 1);
    const entry: InFlight = running ?? { waiting: new Set() };
    // The caller's buffer is lent for this call only.
    const kept = { ...query, bytes: query.bytes.slice() };
    const taker = later();
    const waiting: Waiting = {
      settle: (outcome) => {
        this.timers.cancel(waiting.timer);
        entry.waiting.delete(waiting);
        const left = (this.perGuest.get(guest.id) ?? 1) - 1;
        if (left > 0) this.perGuest.set(guest.id, left);
        else this.perGuest.delete(guest.id);
        const took = (this.config.clock?.now() ?? now) - now;
        taker(this.finish(kept, transport, guest, outcome, took));
      },
      timer: new Timer(() => {
        waiting.settle(TOO_LATE);
        // A lookup that hangs must not hold its place; should it end after all, nobody waits for it.
        if (entry.waiting.size === 0) this.leave(key, entry);
      }),
    };
    entry.waiting.add(waiting);
    this.timers.set(waiting.timer, now + this.deadline);
    if (running) {
      this.tally.merged++;
      return undefined;
    }
    this.inFlight.set(key, entry);
    if (bySystem) this.ask(kept, key, entry);
    else this.relay(kept, transport, route ?? this.config.upstream, key, entry);
    return undefined;
  }

  /** Whether the host's resolver shall answer: addresses and pointers, unless the client wants DNSSEC. */
  private isForSystem({ question, flags, edns }: DnsQuery): boolean {
    if (this.mode() === 'relay' || question.class !== CLASS_IN || !isSystemName(question.name)) return false;
    if (edns?.dnssecOk === true || (flags & Flag.checkingDisabled) !== 0) return false;
    if (question.type === RecordType.PTR) return reverseAddress(question.name) !== undefined;
    return question.type === RecordType.A || question.type === RecordType.AAAA;
  }

  private settle(key: string, entry: InFlight, outcome: Outcome): void {
    this.leave(key, entry);
    for (const waiting of [...entry.waiting]) waiting.settle(outcome);
  }

  private leave(key: string, entry: InFlight): void {
    if (this.inFlight.get(key) === entry) this.inFlight.delete(key);
  }

  private ask({ question }: DnsQuery, key: string, entry: InFlight): void {
    const found = this.system?.resolve(question.name, question.type) ?? Promise.resolve(undefined);
    found.then(
      (parts) => {
        this.settle(key, entry, parts ? { source: 'resolver', parts } : BROKEN);
      },
      () => {
        this.settle(key, entry, BROKEN);
      },
    );
  }

  private relay(
    query: DnsQuery,
    transport: DnsTransport,
    upstream: DnsUpstream,
    key: string,
    entry: InFlight,
  ): void {
    const reply: DnsReply = {
      answered: (bytes, server) => {
        const valid = bytes.length >= HEADER && bytes.length <= MAX_MESSAGE;
        this.settle(key, entry, valid ? { source: 'relay', bytes, server } : BROKEN);
      },
      failed: (error) => {
        this.settle(key, entry, failure(error));
      },
    };
    upstream.query(query.bytes.slice(), transport, this.patience, reply);
  }

  /** The answer's bytes for one client: its id, its size. */
  private finish(
    query: Answerable,
    transport: DnsTransport,
    guest: DnsGuest,
    outcome: Outcome,
    took: Millis,
  ): Uint8Array {
    const relayed = 'bytes' in outcome;
    const whole = relayed ? outcome.bytes.slice() : buildAnswer(query, outcome.parts);
    setWord(whole, 0, query.id);
    const limit = transport === 'tcp' ? MAX_MESSAGE : (query.edns?.udpSize ?? PLAIN_UDP_SIZE);
    const answer = fitAnswer(whole, limit);
    if (answer !== whole) this.tally.truncated++;
    const rcode = relayed ? word(answer, 2) & Flag.rcode : outcome.parts.rcode;
    const { source } = outcome;
    this.tally.answer(rcode, source, took);
    this.config.observe?.({
      guest,
      question: query.question,
      source,
      rcode,
      millis: took,
      transport,
      server: relayed ? outcome.server : undefined,
      answer,
    });
    return answer;
  }
}

const TOO_MANY: Outcome = {
  source: 'limit',
  parts: {
    rcode: Rcode.refused,
    error: { code: ExtendedError.other, text: 'too many queries on the way' },
  },
};

const TOO_LATE: Outcome = {
  source: 'deadline',
  parts: {
    rcode: Rcode.servFail,
    error: { code: ExtendedError.noReachableAuthority, text: 'no answer in time' },
  },
};

const BROKEN: Outcome = {
  source: 'error',
  parts: { rcode: Rcode.servFail, error: { code: ExtendedError.other, text: 'the lookup failed' } },
};

function failure(error: DnsUpstreamError): Outcome {
  const code = error.code === 'timeout' ? ExtendedError.noReachableAuthority : ExtendedError.networkError;
  return { source: 'error', parts: { rcode: Rcode.servFail, error: { code, text: error.message } } };
}

/** All of a query but its id; two queries with one key get the same answer. */
function relayKey(query: DnsQuery, transport: DnsTransport): string {
  return `${transport} ${Buffer.from(query.bytes).toString('latin1', 2)}`;
}
