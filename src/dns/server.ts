/**
 * The gateway's DNS server (RFC 1035), for UDP and TCP.
 *
 * Theory of operation. A query is read strictly (message.ts) and answered by the first that knows: policy, built-in
 * names (builtin.ts), and then, depending on how the host finds addresses, the hosts file, the host's resolver
 * (system.ts) or its name servers, to which the query goes and from which the answer comes byte for byte, the id
 * aside. Queries that ask for DNSSEC or for anything but addresses and pointers always go to the name servers.
 *
 * Each query gets one answer: at the latest SERVFAIL at the deadline, which `poll(now)` keeps; it is due at
 * `nextTimeout()`. Identical queries on the way share one lookup. A guest has at most `maxPerGuest` on the way, all
 * guests together `maxInFlight` different ones; what is more is REFUSED at once. With EDNS, an extended error says
 * why (RFC 8914).
 *
 * Not supported: zone transfers and opcodes other than QUERY (NOTIMP), TSIG of our own, cookies (RFC 7873).
 */
import { Timer, Timers, type Millis } from '../core/index.js';
import {
  addressRecord,
  buildAnswer,
  fitAnswer,
  pointerRecord,
  type AnswerParts,
  type DnsRecord,
} from './answer.js';
import { CLASS_IN, ExtendedError, Flag, Rcode, RecordType, type RcodeName } from './codes.js';
import { HEADER, PLAIN_UDP_SIZE, parseQuery, setWord, word, type DnsQuery } from './message.js';
import { reverseAddress } from './names.js';
import { SystemNames, isSystemName } from './system.js';
import {
  DnsUpstreamError,
  type DnsConfig,
  type DnsCounters,
  type DnsDrop,
  type DnsGuest,
  type DnsSource,
  type DnsTransport,
  type SystemMode,
} from './types.js';

/** Seconds that an entry of the hosts file may be kept. */
const HOSTS_TTL = 10;
/** The largest message that TCP carries. */
const MAX_MESSAGE = 65_535;

/** What a lookup came to: bytes from a name server, or parts of an answer of ours. */
type Outcome =
  | { readonly source: DnsSource; readonly bytes: Uint8Array }
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
  private readonly tally = {
    received: { udp: 0, tcp: 0 },
    answered: {} as Partial<Record<RcodeName | 'other', number>>,
    sources: { builtin: 0, hosts: 0, resolver: 0, relay: 0, policy: 0, limit: 0, deadline: 0, error: 0 },
    drops: { tooShort: 0, notAQuery: 0 } as Record<DnsDrop, number>,
    merged: 0,
    truncated: 0,
  };

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

  /**
   * Answers a message of a guest; undefined when it gets no answer. The bytes are lent for the call. The answer
   * fits the transport. Never throws, the promise never rejects.
   */
  handle(
    bytes: Uint8Array,
    transport: DnsTransport,
    guest: DnsGuest,
    now: Millis,
  ): Promise<Uint8Array | undefined> | Uint8Array | undefined {
    this.tally.received[transport]++;
    this.timers.run(now);
    const parsed = parseQuery(bytes);
    switch (parsed.kind) {
      case 'drop':
        this.tally.drops[parsed.reason]++;
        return undefined;
      case 'refuse':
        return this.finish(parsed.query, transport, { source: 'error', parts: { rcode: parsed.rcode } });
      case 'query': {
        const { query } = parsed;
        const known = this.immediate(query, guest);
        if (known) return this.finish(query, transport, known);
        // The caller's buffer is lent for this call only.
        return this.wait({ ...query, bytes: bytes.slice() }, transport, guest, now);
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
    const parts = this.config.builtin.resolve(question);
    if (parts) return { source: 'builtin', parts };
    if (question.type === RecordType.AXFR || question.type === RecordType.IXFR) {
      const error = { code: ExtendedError.notSupported, text: 'no zone transfers here' };
      return { source: 'error', parts: { rcode: Rcode.notImp, error } };
    }
    return this.mode() === 'relay' ? this.fromHosts(query) : undefined;
  }

  private mode(): SystemMode {
    if (!this.system) return 'relay';
    return this.config.mode?.() ?? 'resolver';
  }

  private fromHosts(query: DnsQuery): Outcome | undefined {
    const { hosts } = this.config;
    const { name, type } = query.question;
    if (!hosts || query.question.class !== CLASS_IN) return undefined;
    let answers: readonly DnsRecord[];
    if (type === RecordType.A || type === RecordType.AAAA) {
      const found = hosts.addresses(name);
      if (!found) return undefined;
      const family = type === RecordType.A ? 4 : 6;
      answers = found.flatMap((address) => addressRecord(address, family, HOSTS_TTL) ?? []);
    } else if (type === RecordType.PTR) {
      const address = reverseAddress(name);
      const found = address === undefined ? undefined : hosts.names(address);
      if (!found) return undefined;
      answers = found.flatMap((target) => pointerRecord(target, HOSTS_TTL) ?? []);
    } else return undefined;
    // The C library goes on to DNS when the file has the name for the other family only.
    return answers.length > 0 ? { source: 'hosts', parts: { rcode: Rcode.noError, answers } } : undefined;
  }

  private wait(
    query: DnsQuery,
    transport: DnsTransport,
    guest: DnsGuest,
    now: Millis,
  ): Promise<Uint8Array | undefined> | Uint8Array | undefined {
    const bySystem = this.isForSystem(query);
    const key = bySystem ? `${query.question.type} ${query.question.name}` : relayKey(query, transport);
    const running = this.inFlight.get(key);
    const mine = this.perGuest.get(guest.id) ?? 0;
    if (mine >= this.maxPerGuest || (!running && this.inFlight.size >= this.maxInFlight)) {
      const error = { code: ExtendedError.other, text: 'too many queries on the way' };
      return this.finish(query, transport, { source: 'limit', parts: { rcode: Rcode.refused, error } });
    }
    this.perGuest.set(guest.id, mine + 1);
    return new Promise((resolve) => {
      const settle = (outcome: Outcome): void => {
        this.timers.cancel(waiting.timer);
        entry.waiting.delete(waiting);
        const left = (this.perGuest.get(guest.id) ?? 1) - 1;
        if (left > 0) this.perGuest.set(guest.id, left);
        else this.perGuest.delete(guest.id);
        resolve(this.finish(query, transport, outcome));
      };
      const waiting: Waiting = {
        settle,
        timer: new Timer(() => {
          settle(TOO_LATE);
          // A lookup that hangs must not hold its place; should it end after all, nobody waits for it.
          if (entry.waiting.size === 0) this.leave(key, entry);
        }),
      };
      const entry: InFlight = running ?? { waiting: new Set() };
      entry.waiting.add(waiting);
      this.timers.set(waiting.timer, now + this.deadline);
      if (running) this.tally.merged++;
      else this.start(key, entry, bySystem ? this.ask(query) : this.relay(query, transport));
    });
  }

  /** Whether the host's resolver shall answer: addresses and pointers, unless the client wants DNSSEC. */
  private isForSystem({ question, flags, edns }: DnsQuery): boolean {
    if (this.mode() === 'relay' || question.class !== CLASS_IN || !isSystemName(question.name)) return false;
    if (edns?.dnssecOk === true || (flags & Flag.checkingDisabled) !== 0) return false;
    if (question.type === RecordType.PTR) return reverseAddress(question.name) !== undefined;
    return question.type === RecordType.A || question.type === RecordType.AAAA;
  }

  private start(key: string, entry: InFlight, outcome: Promise<Outcome>): void {
    this.inFlight.set(key, entry);
    const done = (result: Outcome): void => {
      this.leave(key, entry);
      for (const waiting of [...entry.waiting]) waiting.settle(result);
    };
    outcome.then(done, () => done(BROKEN));
  }

  private leave(key: string, entry: InFlight): void {
    if (this.inFlight.get(key) === entry) this.inFlight.delete(key);
  }

  private async ask(query: DnsQuery): Promise<Outcome> {
    const parts = await this.system?.resolve(query.question.name, query.question.type);
    return parts ? { source: 'resolver', parts } : BROKEN;
  }

  private async relay(query: DnsQuery, transport: DnsTransport): Promise<Outcome> {
    try {
      const bytes = await this.config.upstream.query(query.bytes, transport, this.patience);
      return bytes.length >= HEADER && bytes.length <= MAX_MESSAGE ? { source: 'relay', bytes } : BROKEN;
    } catch (error) {
      return failure(error);
    }
  }

  /** The answer's bytes for one client: its id, its size. */
  private finish(
    query: Parameters<typeof buildAnswer>[0],
    transport: DnsTransport,
    outcome: Outcome,
  ): Uint8Array {
    const whole = 'bytes' in outcome ? outcome.bytes.slice() : buildAnswer(query, outcome.parts);
    setWord(whole, 0, query.id);
    const limit = transport === 'tcp' ? MAX_MESSAGE : (query.edns?.udpSize ?? PLAIN_UDP_SIZE);
    const answer = fitAnswer(whole, limit);
    if (answer !== whole) this.tally.truncated++;
    const rcode = 'bytes' in outcome ? word(answer, 2) & Flag.rcode : outcome.parts.rcode;
    const name = RCODE_NAMES.get(rcode) ?? 'other';
    this.tally.answered[name] = (this.tally.answered[name] ?? 0) + 1;
    this.tally.sources[outcome.source]++;
    return answer;
  }
}

const RCODE_NAMES = new Map<number, RcodeName>(
  Object.entries(Rcode).map(([name, rcode]) => [rcode, name as RcodeName]),
);

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

function failure(error: unknown): Outcome {
  if (!(error instanceof DnsUpstreamError)) return BROKEN;
  const code = error.code === 'timeout' ? ExtendedError.noReachableAuthority : ExtendedError.networkError;
  return { source: 'error', parts: { rcode: Rcode.servFail, error: { code, text: error.message } } };
}

/** All of a query but its id; two queries with one key get the same answer. */
function relayKey(query: DnsQuery, transport: DnsTransport): string {
  return `${transport} ${Buffer.from(query.bytes).toString('latin1', 2)}`;
}
