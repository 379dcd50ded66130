/**
 * What the policy decided, one entry a decision: those that denied or asked, and those that allowed where that is wanted.
 *
 * Limits: MAX_ENTRIES are kept, the oldest go. A guest has AUDIT_RATE entries a second, AUDIT_BURST at once; what is more is
 * counted, and the next entry that is told says how many were not.
 */
import { Bucket, type Ipv4, type Millis, formatIpv4 } from '../core/index.js';
import { Learned } from './learn.js';
import type { Decision } from './types.js';
import type { PolicyProtocol } from './rules.js';

export const MAX_ENTRIES = 4096;
export const AUDIT_RATE = 50;
export const AUDIT_BURST = 500;
/** Guests whose rate is kept; beyond, all begin anew. */
const MAX_GUESTS = 4096;

/** Who wanted to go where. */
export interface AuditSubject {
  readonly guest: string;
  readonly protocol: PolicyProtocol | 'dns' | 'api';
  /** 0: it has none. */
  readonly port: number;
  readonly ip?: Ipv4 | undefined;
  readonly source?: Ipv4 | undefined;
  readonly sourcePort?: number | undefined;
  /** By which it is known, or that was asked for. */
  readonly name?: string | undefined;
}

export interface AuditEntry {
  /** Of the decision: the same in the log, in DNS and HTTP answers. */
  readonly id: number;
  /** ms since 1970. */
  readonly time: number;
  readonly guest: string;
  readonly protocol: PolicyProtocol | 'dns' | 'api';
  readonly source?: string;
  readonly address?: string;
  readonly port?: number;
  readonly name?: string;
  readonly verdict: 'allow' | 'deny' | 'ask';
  readonly rule: string;
  readonly why: string;
  /** Decisions about this guest before this one that were too many to be told. */
  readonly suppressed?: number;
}

export interface AuditParts {
  /** For rates. */
  readonly now: () => Millis;
  /** ms since 1970, for people. */
  readonly date: () => number;
  readonly tell: (entry: AuditEntry) => void;
}

interface Guest {
  readonly bucket: Bucket;
  suppressed: number;
}

export class Audit {
  /** Also what is allowed. */
  all = false;
  readonly counters = { denied: 0, asked: 0, allowed: 0, suppressed: 0 };
  /** What would allow the flows that were allowed while `all` was set. */
  readonly learned = new Learned();
  private readonly parts: AuditParts;
  /** A ring: the oldest is at `next` once it is full. */
  private readonly ring: AuditEntry[] = [];
  private next = 0;
  private readonly guests = new Map<string, Guest>();

  constructor(parts: AuditParts) {
    this.parts = parts;
  }

  /** Takes a decision; which of them are told is said above. `always`: also one that allows. */
  take({ id, verdict, rule, why }: Decision, subject: AuditSubject, always = false): void {
    // The gateway's own services are always there.
    if (verdict.kind === 'service') return;
    const kind = verdict.kind === 'deny' || verdict.kind === 'ask' ? verdict.kind : 'allow';
    const { counters } = this;
    if (kind === 'deny') counters.denied++;
    else if (kind === 'ask') counters.asked++;
    else counters.allowed++;
    if (kind === 'allow' && this.all)
      this.learned.note(subject, verdict.kind === 'dial' && verdict.via === 'alias');
    if (kind === 'allow' && !this.all && !always) return;
    const guest = this.guest(subject.guest);
    if (!guest.bucket.take(this.parts.now())) {
      guest.suppressed++;
      counters.suppressed++;
      return;
    }
    const { suppressed } = guest;
    guest.suppressed = 0;
    const entry: AuditEntry = {
      id,
      time: this.parts.date(),
      ...about(subject),
      verdict: kind,
      rule,
      why,
      ...(suppressed === 0 ? {} : { suppressed }),
    };
    this.keep(entry);
    this.parts.tell(entry);
  }

  /** What is kept, the oldest first, of decisions behind an id. */
  *entries(after = 0): Generator<AuditEntry> {
    const { ring, next } = this;
    for (const entry of [...ring.slice(next), ...ring.slice(0, next)]) if (entry.id > after) yield entry;
  }

  private keep(entry: AuditEntry): void {
    if (this.ring.length < MAX_ENTRIES) {
      this.ring.push(entry);
      return;
    }
    this.ring[this.next] = entry;
    this.next = (this.next + 1) % MAX_ENTRIES;
  }

  private guest(name: string): Guest {
    let guest = this.guests.get(name);
    if (guest === undefined) {
      if (this.guests.size >= MAX_GUESTS) this.guests.clear();
      guest = { bucket: new Bucket(AUDIT_RATE, AUDIT_BURST), suppressed: 0 };
      this.guests.set(name, guest);
    }
    return guest;
  }
}

function about({ guest, protocol, ip, port, source, sourcePort, name }: AuditSubject) {
  return {
    guest,
    protocol,
    ...(source === undefined ? {} : { source: place(source, sourcePort ?? 0) }),
    ...(ip === undefined ? {} : { address: formatIpv4(ip) }),
    ...(port === 0 ? {} : { port }),
    ...(name === undefined ? {} : { name }),
  };
}

function place(ip: Ipv4, port: number): string {
  return port === 0 ? formatIpv4(ip) : `${formatIpv4(ip)}:${port}`;
}

/** An entry in a line for people. */
export function formatAudit(entry: Omit<AuditEntry, 'time'>): string {
  const { id, guest, protocol, source, address, port, name, verdict, rule, suppressed } = entry;
  const words = { allow: 'allowed', deny: 'denied', ask: 'asked about' } as const;
  const target = address === undefined ? (name ?? '') : `${address}${port === undefined ? '' : `:${port}`}`;
  const known = address === undefined || name === undefined ? '' : ` (${name})`;
  const from = source === undefined ? '' : `${source} to `;
  const more = suppressed === undefined ? '' : `; ${suppressed} decisions before it were not told`;
  return `${words[verdict]} ${protocol} ${from}${target}${known} of ${guest} by "${rule}" (decision ${id})${more}`;
}
