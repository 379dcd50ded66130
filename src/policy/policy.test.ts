import { describe, expect, it } from 'vitest';
import { formatIpv4, parseCidr, parseIpv4 } from '../core/index.js';
import { type Destination, Policy, parseRule } from './index.js';

const ip = (text: string) => parseIpv4(text)!;
const own = ip('203.0.113.7');

function policy(
  rules: readonly string[] = [],
  defaultAction: 'allow' | 'deny' = 'allow',
  alias = true,
): Policy {
  return new Policy(
    {
      subnet: parseCidr('192.168.127.0/24')!,
      gatewayIp: ip('192.168.127.1'),
      hostAlias: alias ? ip('192.168.127.254') : undefined,
      rules: rules.map((text) => {
        const [action, spec] = text.split(' ');
        return parseRule(action as 'allow' | 'deny', spec!);
      }),
      defaultAction,
    },
    { isOwnAddress: (address) => address === own },
  );
}

function to(
  host: string,
  port = 80,
  protocol: Destination['protocol'] = 'tcp',
  guest = 'guest1',
): Destination {
  return { protocol, ip: ip(host), port, guest };
}

/** `dial 1.2.3.4:80 direct`, `deny reset`, `service dns`. */
function outcome(p: Policy, destination: Destination): string {
  const { verdict } = p.explain(destination);
  if (verdict.kind === 'dial') return `dial ${formatIpv4(verdict.ip)}:${verdict.port} ${verdict.via}`;
  if (verdict.kind === 'ask') return 'ask';
  return verdict.kind === 'deny' ? `deny ${verdict.how}` : `service ${verdict.service}`;
}

describe('policy', () => {
  it('dials what no rule speaks of', () => {
    expect(outcome(policy(), to('1.2.3.4', 443))).toBe('dial 1.2.3.4:443 direct');
    expect(policy().explain(to('1.2.3.4')).rule).toBe('default');
  });

  it('answers services of the gateway and refuses its other ports', () => {
    const p = policy();
    p.addService('udp', ip('192.168.127.1'), 53, 'dns');
    expect(outcome(p, to('192.168.127.1', 53, 'udp'))).toBe('service dns');
    expect(outcome(p, to('192.168.127.1', 53, 'tcp'))).toBe('deny reset');
    p.removeService('udp', ip('192.168.127.1'), 53);
    expect(outcome(p, to('192.168.127.1', 53, 'udp'))).toBe('deny reset');
  });

  it('leads the host alias to the loopback, and nowhere when it is off', () => {
    expect(outcome(policy(), to('192.168.127.254', 8080))).toBe('dial 127.0.0.1:8080 alias');
    expect(outcome(policy([], 'allow', false), to('192.168.127.254', 8080))).toBe('deny unreachable');
  });

  it.each(['127.0.0.1', '127.8.8.8', '0.0.0.0', '0.1.2.3', '224.0.0.1', '240.0.0.1', '255.255.255.255'])(
    'never forwards %s',
    (host) => expect(outcome(policy(['allow any']), to(host))).toBe('deny silent'),
  );

  it('denies link-local metadata unless a rule allows it', () => {
    expect(outcome(policy(), to('169.254.169.254'))).toBe('deny prohibited');
    expect(policy().explain(to('169.254.169.254')).rule).toBe('link-local');
    expect(outcome(policy(['allow 169.254.169.254']), to('169.254.169.254'))).toBe(
      'dial 169.254.169.254:80 direct',
    );
  });

  it('takes the first rule that matches', () => {
    const p = policy(['allow 10.1.0.0/16', 'deny 10.0.0.0/8', 'deny tcp:any:25']);
    expect(outcome(p, to('10.1.2.3'))).toBe('dial 10.1.2.3:80 direct');
    expect(outcome(p, to('10.2.2.3'))).toBe('deny prohibited');
    expect(p.explain(to('10.2.2.3')).rule).toBe('deny 10.0.0.0/8');
    expect(outcome(p, to('1.1.1.1', 25))).toBe('deny prohibited');
    expect(outcome(p, to('1.1.1.1', 25, 'udp'))).toBe('dial 1.1.1.1:25 direct');
  });

  it('keeps rules of a guest to that guest', () => {
    const p = policy(['deny any@bad']);
    expect(outcome(p, to('1.1.1.1', 80, 'tcp', 'bad'))).toBe('deny prohibited');
    expect(outcome(p, to('1.1.1.1', 80, 'tcp', 'good'))).toBe('dial 1.1.1.1:80 direct');
  });

  it.each(['deny host', 'deny 192.168.127.254', 'deny 127.0.0.0/8', 'deny 127.0.0.1', 'deny 203.0.113.7'])(
    '"%s" holds for the host under all its addresses',
    (rule) => {
      const p = policy([rule]);
      expect(outcome(p, to('192.168.127.254'))).toBe('deny prohibited');
      expect(outcome(p, to('203.0.113.7'))).toBe('deny prohibited');
      expect(outcome(p, to('203.0.113.8'))).toBe('dial 203.0.113.8:80 direct');
    },
  );

  it('denies by default when told so, the alias too', () => {
    const p = policy(['allow 10.0.0.0/8'], 'deny');
    expect(outcome(p, to('10.0.0.1'))).toBe('dial 10.0.0.1:80 direct');
    expect(outcome(p, to('1.1.1.1'))).toBe('deny prohibited');
    expect(outcome(p, to('192.168.127.254'))).toBe('deny prohibited');
    expect(outcome(policy(['allow host'], 'deny'), to('192.168.127.254'))).toBe('dial 127.0.0.1:80 alias');
  });

  it('counts what decided', () => {
    const p = policy(['deny 10.0.0.0/8']);
    p.decide(to('10.0.0.1'));
    p.decide(to('10.0.0.2'));
    p.withRules([parseRule('deny', '1.1.1.1')]).decide(to('1.1.1.1'));
    p.explain(to('10.0.0.3'));
    expect(Object.fromEntries(p.counts())).toEqual({ 'deny 10.0.0.0/8': 2, 'deny 1.1.1.1': 1 });
  });
});

describe('rules', () => {
  it('parses every part', () => {
    expect(parseRule('deny', 'udp:10.0.0.0/8:53,8000-8100@build')).toMatchObject({
      protocol: 'udp',
      target: { kind: 'cidr', cidr: { prefix: 8 } },
      ports: [
        { first: 53, last: 53 },
        { first: 8000, last: 8100 },
      ],
      guest: 'build',
      text: 'deny udp:10.0.0.0/8:53,8000-8100@build',
    });
  });

  it.each([
    '',
    'exa!mple.com',
    '10.0.0.0/33',
    '1.2.3',
    'tcp:',
    'any:0',
    'any:70000',
    'any:9-8',
    'icmp:any:1',
    'any@',
    'any:80:90',
  ])('refuses "%s" and says what is allowed', (text) => {
    expect(() => parseRule('allow', text)).toThrow(
      expect.objectContaining({
        code: 'ERR_NETPROXY_CONFIG',
        remedy: expect.stringContaining('TARGET') as string,
      }) as Error,
    );
  });
});
