/** Rules that come and go, and that the first that fits decides, as a naive model says. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatIpv4, ipv4, parseCidr, parseIpv4 } from '../core/index.js';
import { DnsMemory, Policy, type PolicyProtocol, RuleTable, TableClock, readRule } from './index.js';

const config = {
  subnet: parseCidr('192.168.127.0/24')!,
  gatewayIp: parseIpv4('192.168.127.1')!,
  hostAlias: undefined,
};

describe('tables of rules', () => {
  it('take rules in, anywhere, and let them go', () => {
    const clock = new TableClock();
    const table = new RuleTable([readRule('allow 10.0.0.1')], clock);
    const { generation } = clock;
    const last = table.add(readRule('deny any'));
    const first = table.add(readRule('deny 10.0.0.1'), table.all[0]!.id);
    expect(table.all.map(({ rule }) => rule.text)).toEqual(['deny 10.0.0.1', 'allow 10.0.0.1', 'deny any']);
    expect(table.remove(first.id)).toBe(first);
    expect(table.remove(first.id)).toBeUndefined();
    expect(() => table.add(readRule('deny any'), first.id)).toThrow(
      expect.objectContaining({ code: 'ERR_NETPROXY_CONFIG' }) as Error,
    );
    expect(clock.generation).toBe(generation + 3);
    expect(table.find(last.id)).toBe(last);
  });

  it('keep id and count of rules that stay when all are replaced', () => {
    const table = new RuleTable([readRule('allow 10.0.0.1'), readRule('deny any')], new TableClock());
    const [one, two] = table.all;
    one!.hits = 5;
    table.replace(['deny 10.0.0.2', 'allow 10.0.0.1', 'allow 10.0.0.1'].map(readRule));
    expect(table.all.map(({ hits }) => hits)).toEqual([0, 5, 0]);
    expect(table.all[1]).toBe(one);
    expect(new Set(table.all.map(({ id }) => id)).size).toBe(3);
    expect(table.find(two!.id)).toBeUndefined();
  });
});

const NAMES = ['a.example', 'b.example', 'x.a.example', 'other.test'];
const PATTERNS = ['a.example', '*.example', '*.a.example', 'other.test', '*.test'];
const NETS = ['10.0.0.0/8', '10.1.0.0/16', '10.1.1.1', '172.16.0.0/12', 'any'];
const PORTS = ['', ':80', ':80-90', ':1,443'];
const GUESTS = ['', '@g', '@h'];

interface Written {
  readonly action: 'allow' | 'deny';
  readonly protocol: '' | 'tcp:' | 'udp:';
  readonly target: string;
  readonly ports: string;
  readonly guest: string;
}

const written: fc.Arbitrary<Written> = fc.record({
  action: fc.constantFrom('allow' as const, 'deny' as const),
  protocol: fc.constantFrom('' as const, 'tcp:' as const, 'udp:' as const),
  target: fc.constantFrom(...PATTERNS, ...NETS),
  ports: fc.constantFrom(...PORTS),
  guest: fc.constantFrom(...GUESTS),
});

const text = (r: Written): string => `${r.action} ${r.protocol}${r.target}${r.ports}${r.guest}`;

/** Says by strings alone whether a rule fits: nothing of the real one is used. */
function naive(r: Written, protocol: string, address: string, port: number, guest: string, names: string[]) {
  if (r.protocol !== '' && r.protocol !== `${protocol}:`) return false;
  if (r.guest !== '' && r.guest !== `@${guest}`) return false;
  if (r.ports === ':80' && port !== 80) return false;
  if (r.ports === ':80-90' && !(port >= 80 && port <= 90)) return false;
  if (r.ports === ':1,443' && port !== 1 && port !== 443) return false;
  const [a, b] = address.split('.').map(Number);
  switch (r.target) {
    case 'any':
      return true;
    case '10.0.0.0/8':
      return a === 10;
    case '10.1.0.0/16':
      return a === 10 && b === 1;
    case '10.1.1.1':
      return address === r.target;
    case '172.16.0.0/12':
      return a === 172 && b! >= 16 && b! < 32;
    default:
      return names.some((name) =>
        r.target.startsWith('*') ? name.endsWith(r.target.slice(1)) : name === r.target,
      );
  }
}

describe('first match', () => {
  const destination = fc.record({
    protocol: fc.constantFrom<PolicyProtocol>('tcp', 'udp'),
    address: fc.constantFrom('10.1.1.1', '10.1.2.3', '10.200.0.1', '172.20.0.1', '172.32.0.1', '8.8.8.8'),
    port: fc.constantFrom(1, 79, 80, 85, 90, 91, 443),
    guest: fc.constantFrom('g', 'h', 'i'),
    names: fc.uniqueArray(fc.constantFrom(...NAMES)),
  });

  it('is what a naive model says, also while rules come and go', () => {
    fc.assert(
      fc.property(
        fc.array(written, { maxLength: 8 }),
        fc.array(fc.tuple(written, fc.nat(8), fc.boolean()), { maxLength: 6 }),
        fc.constantFrom('allow' as const, 'deny' as const),
        destination,
        (rules, changes, defaultAction, { protocol, address, port, guest, names }) => {
          const memory = new DnsMemory(() => 0);
          const ip = parseIpv4(address)!;
          for (const name of names) memory.learn(name, ip, 60);
          const policy = new Policy(
            { ...config, rules: rules.map((r) => readRule(text(r))), defaultAction },
            { isOwnAddress: () => false, names: () => memory },
          );
          const model = [...rules];
          const check = (): void => {
            const hit = model.find((r) => naive(r, protocol, address, port, guest, names));
            const expected = hit?.action ?? defaultAction;
            const { verdict, rule } = policy.explain({ protocol, ip, port, guest });
            expect({ kind: verdict.kind, rule }).toEqual({
              kind: expected === 'allow' ? 'dial' : 'deny',
              rule: hit === undefined ? 'default' : text(hit),
            });
          };
          check();
          for (const [r, at, remove] of changes) {
            const entry = policy.table.all[at];
            if (remove && entry !== undefined) {
              policy.table.remove(entry.id);
              model.splice(at, 1);
            } else {
              policy.table.add(readRule(text(r)), entry?.id);
              model.splice(entry === undefined ? model.length : at, 0, r);
            }
            check();
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('never lets a name open the host, link-local or loopback addresses', () => {
    fc.assert(
      fc.property(fc.nat(0xffffffff), fc.boolean(), (word, own) => {
        const ip = ipv4(word);
        const memory = new DnsMemory(() => 0);
        memory.learn('a.example', ip, 60);
        const policy = new Policy(
          { ...config, rules: [readRule('allow a.example')], defaultAction: 'deny' },
          { isOwnAddress: () => own, names: () => memory },
        );
        const { verdict } = policy.explain({ protocol: 'tcp', ip, port: 80, guest: 'g' });
        const special = own || /^(0|127|22[4-9]|2[3-5]\d|169\.254|192\.168\.127)\./.test(formatIpv4(ip));
        expect(verdict.kind).toBe(special ? 'deny' : 'dial');
      }),
      {
        numRuns: 500,
        examples: [
          [0xa9fea9fe, false],
          [0x7f000001, false],
          [0x01010101, true],
        ],
      },
    );
  });
});
