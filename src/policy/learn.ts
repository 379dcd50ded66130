/** The rules that flows needed: what a run was allowed, written so that nothing else is. */
import { type Ipv4, formatIpv4 } from '../core/index.js';
import type { AuditSubject } from './audit.js';

/** Different rules; what comes beyond is counted. */
export const MAX_LEARNED = 4096;

export class Learned {
  /** Flows that would have needed one rule more than MAX_LEARNED. */
  missed = 0;
  private readonly found = new Set<string>();

  /** A flow was allowed. `host`: it is one to the host. */
  note(subject: AuditSubject, host: boolean): void {
    if (subject.protocol === 'dns' || subject.protocol === 'api' || subject.ip === undefined) return;
    const rule = ruleFor('allow', subject, host);
    if (this.found.has(rule)) return;
    if (this.found.size >= MAX_LEARNED) this.missed++;
    else this.found.add(rule);
  }

  /** In an order for people: by protocol, target and port. */
  get rules(): string[] {
    return [...this.found].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  }
}

/** The rule that speaks of this flow and its like, and of nothing else. */
export function ruleFor(
  action: 'allow' | 'deny',
  { protocol, name, ip, port, guest }: AuditSubject,
  host: boolean,
  withGuest = false,
): string {
  const target = host ? 'host' : (name ?? formatIpv4(ip as Ipv4));
  return `${action} ${protocol}:${target}${port === 0 ? '' : `:${port}`}${withGuest ? `@${guest}` : ''}`;
}
