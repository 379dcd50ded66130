import { describe, expect, it } from 'vitest';
import { hashKey, parseCidr, parseIpv4 } from '../core/index.js';
import {
  AUDIT_BURST,
  AUDIT_RATE,
  Audit,
  type AuditEntry,
  type Decision,
  DecisionCache,
  MAX_ENTRIES,
  Policy,
  formatAudit,
  readRule,
} from './index.js';

const ip = (text: string) => parseIpv4(text)!;

function audited() {
  const clock = { now: 0 };
  const told: AuditEntry[] = [];
  const audit = new Audit({ now: () => clock.now, date: () => 1_000_000, tell: (entry) => told.push(entry) });
  return { clock, told, audit };
}

const denial = (id: number): Decision => ({
  id,
  verdict: { kind: 'deny', how: 'prohibited' },
  rule: 'deny any',
  why: 'because',
});
const subject = { guest: 'g', protocol: 'tcp' as const, port: 443, ip: ip('1.2.3.4') };

describe('audit log', () => {
  it('tells what was denied, and the rest when asked to', () => {
    const { audit, told } = audited();
    const policy = new Policy(
      {
        subnet: parseCidr('192.168.127.0/24')!,
        gatewayIp: ip('192.168.127.1'),
        hostAlias: undefined,
        rules: [readRule('deny tcp:any:25')],
        defaultAction: 'allow',
      },
      { isOwnAddress: () => false, audit },
    );
    const flow = { protocol: 'tcp', ip: ip('1.2.3.4'), guest: 'g', source: ip('192.168.127.2') } as const;
    policy.decide({ ...flow, port: 80, sourcePort: 1 });
    policy.decide({ ...flow, port: 25, sourcePort: 2 });
    // A closed port of the gateway is no decision of the policy.
    policy.decide({ ...flow, ip: ip('192.168.127.1'), port: 81 });
    expect(told.map(formatAudit)).toEqual([
      'denied tcp 192.168.127.2:2 to 1.2.3.4:25 of g by "deny tcp:any:25" (decision 2)',
    ]);
    audit.all = true;
    policy.decide({ ...flow, port: 80, name: 'a.example' });
    expect(told.slice(1).map(formatAudit)).toEqual([
      'allowed tcp 192.168.127.2 to 1.2.3.4:80 (a.example) of g by "default" (decision 4)',
    ]);
    expect(audit.counters).toEqual({ denied: 1, asked: 0, allowed: 2, suppressed: 0 });
    expect([...audit.entries(2)].map(({ id }) => id)).toEqual([4]);
  });

  it('keeps the last ones, the oldest first', () => {
    const { audit, clock } = audited();
    for (let id = 1; id <= MAX_ENTRIES + 3; id++) {
      clock.now += 1000;
      audit.take(denial(id), subject);
    }
    const ids = [...audit.entries()].map(({ id }) => id);
    expect(ids).toHaveLength(MAX_ENTRIES);
    expect([ids[0], ids.at(-1)]).toEqual([4, MAX_ENTRIES + 3]);
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
  });

  it('limits each guest, and says how many it did not tell', () => {
    const { audit, told, clock } = audited();
    for (let id = 1; id <= AUDIT_BURST + 5; id++) audit.take(denial(id), subject);
    expect(told).toHaveLength(AUDIT_BURST);
    audit.take(denial(9000), { ...subject, guest: 'other' });
    expect(told.at(-1)).toMatchObject({ guest: 'other' });
    clock.now += Math.ceil(1000 / AUDIT_RATE);
    audit.take(denial(9001), subject);
    expect(told.at(-1)).toMatchObject({ id: 9001, suppressed: 5 });
    expect(formatAudit(told.at(-1)!)).toContain('; 5 decisions before it were not told');
    expect(audit.counters.suppressed).toBe(5);
  });
});

describe('decisions about flows of now', () => {
  const allowed: Decision = { ...denial(1), verdict: { kind: 'service', service: 'x' } };

  function cache() {
    return new DecisionCache(hashKey({ u32: () => 7 }));
  }

  it('hold for the same flow under the same rules', () => {
    const c = cache();
    c.set(1, 2, 3, 4, 5, 6, 0, allowed);
    expect(c.find(1, 2, 3, 4, 5, 0)).toBe(allowed);
    expect(c.version).toBe(6);
    expect(c.find(1, 2, 3, 5, 5, 0)).toBeUndefined();
    expect(c.find(1, 2, 3, 4, 6, 0)).toBeUndefined();
    // Words beyond 2^31 are the same as signed ones.
    c.set(-1, 2, 0xc0a87f02, 4, 5, 6, 0, allowed);
    expect(c.find(0xffffffff, 2, 0xc0a87f02 | 0, 4, 5, 0)).toBe(allowed);
  });

  it('end with the flow; what was denied ends by itself', () => {
    const c = cache();
    c.set(1, 2, 3, 4, 5, 6, 0, allowed);
    for (let now = 50_000; now <= 500_000; now += 50_000) expect(c.find(1, 2, 3, 4, 5, now)).toBe(allowed);
    expect(c.find(1, 2, 3, 4, 5, 560_000)).toBeUndefined();
    c.set(1, 2, 3, 4, 5, 6, 0, denial(2));
    expect(c.find(1, 2, 3, 4, 5, 6000)).toMatchObject({ id: 2 });
    expect(c.find(1, 2, 3, 4, 5, 10_000)).toBeUndefined();
  });
});
