import { describe, expect, it } from 'vitest';
import { buildAnswer, recordData, type AnswerParts } from './answer.js';
import { builtin, decode, ip, query, records } from './dns.testutil.js';
import type { BuiltinConfig } from './index.js';
import { parseQuery } from './message.js';

const guests = {
  addressOf: (name: string) => ({ web: ip('192.168.127.2'), wpad: ip('192.168.127.6') })[name],
  nameOf: (address: number) => (address === ip('192.168.127.2') ? 'web' : undefined),
};

function ask(name: string, type = 'A', config: Partial<BuiltinConfig> = {}) {
  const parsed = parseQuery(query(name, type));
  if (parsed.kind !== 'query') throw new Error(parsed.kind);
  const parts: AnswerParts | undefined = builtin({ guests, ...config }).resolve(parsed.query.question);
  if (!parts) return undefined;
  const answer = decode(buildAnswer(parsed.query, parts));
  expect(answer.flag_aa).toBe(true);
  return {
    rcode: answer.rcode,
    answers: records(answer.answers),
    authorities: records(answer.authorities),
    ttl: (answer.answers?.[0] as { ttl?: number } | undefined)?.ttl,
  };
}

const soa = (zone: string) => [`${zone} SOA gateway.netproxy.internal`];

describe('host and gateway', () => {
  it.each(['netproxy.internal', 'docker.internal', 'containers.internal'])('in %s', (zone) => {
    expect(ask(`host.${zone}`)).toMatchObject({
      rcode: 'NOERROR',
      answers: [`host.${zone} A 192.168.127.254`],
    });
    expect(ask(`gateway.${zone}`)?.answers).toEqual([`gateway.${zone} A 192.168.127.1`]);
  });

  it('whatever the case', () => {
    expect(ask('HOST.Docker.Internal')?.answers).toEqual(['HOST.Docker.Internal A 192.168.127.254']);
  });

  it('AAAA and every other type is NODATA with an SOA, never NXDOMAIN', () => {
    for (const type of ['AAAA', 'MX', 'TXT', 'SRV', 'HTTPS']) {
      expect(ask('host.docker.internal', type === 'HTTPS' ? 'UNKNOWN_65' : type)).toMatchObject({
        rcode: 'NOERROR',
        answers: [],
        authorities: soa('docker.internal'),
      });
    }
  });

  it('no host name without a host alias', () => {
    const config = { hostAlias: undefined };
    expect(ask('host.docker.internal', 'A', config)?.rcode).toBe('NXDOMAIN');
    expect(ask('gateway.docker.internal', 'A', config)?.rcode).toBe('NOERROR');
  });

  it('other names there do not exist', () => {
    for (const name of ['nobody.docker.internal', 'a.host.docker.internal']) {
      expect(ask(name)).toMatchObject({
        rcode: 'NXDOMAIN',
        answers: [],
        authorities: soa('docker.internal'),
      });
    }
  });

  it('the zones themselves exist', () => {
    expect(ask('docker.internal')).toMatchObject({ rcode: 'NOERROR', answers: [] });
    expect(ask('docker.internal', 'SOA')?.answers).toEqual(['docker.internal SOA gateway.netproxy.internal']);
    expect(ask('docker.internal', 'NS')?.answers).toEqual(['docker.internal NS gateway.docker.internal']);
  });

  it('leaves everything else to others', () => {
    for (const name of ['example.com', 'internal', 'mydocker.internal', '', 'com'])
      expect(ask(name)).toBeUndefined();
    expect(builtin().resolve({ name: 'host.docker.internal', type: 16, class: 3 })).toBeUndefined();
  });
});

describe('extra hosts', () => {
  const hosts = [
    { name: 'db.corp.test', addresses: ['10.1.2.3', 'fd00::5', 'junk', '10.1.2.3'] },
    { name: 'a.b.docker.internal', addresses: ['10.1.2.4'] },
    { name: 'not a name', addresses: ['10.1.2.5'] },
  ];

  it('both families, no doubles, no junk', () => {
    expect(ask('db.corp.test', 'A', { hosts })?.answers).toEqual(['db.corp.test A 10.1.2.3']);
    expect(ask('db.corp.test', 'AAAA', { hosts })?.answers).toEqual(['db.corp.test AAAA fd00::5']);
    expect(ask('db.corp.test', 'ANY', { hosts })?.answers).toHaveLength(2);
    expect(ask('db.corp.test', 'MX', { hosts })?.authorities).toEqual(soa('db.corp.test'));
  });

  it('an empty name between exists (RFC 8020)', () => {
    expect(ask('b.docker.internal', 'A', { hosts })).toMatchObject({ rcode: 'NOERROR', answers: [] });
  });

  it('have PTR records', () => {
    expect(ask('3.2.1.10.in-addr.arpa', 'PTR', { hosts })?.answers).toEqual([
      '3.2.1.10.in-addr.arpa PTR db.corp.test',
    ]);
    const six = `5.${'0.'.repeat(29)}d.f.ip6.arpa`;
    expect(ask(six, 'PTR', { hosts })?.answers).toEqual([`${six} PTR db.corp.test`]);
  });
});

describe('guests', () => {
  it('by their name, in the guest zone and alone', () => {
    expect(ask('web.netproxy.internal')).toMatchObject({
      answers: ['web.netproxy.internal A 192.168.127.2'],
      ttl: 10,
    });
    expect(ask('WEB')?.answers).toEqual(['WEB A 192.168.127.2']);
    expect(ask('web', 'AAAA')).toMatchObject({ rcode: 'NOERROR', answers: [], authorities: soa('web') });
    expect(ask('web.docker.internal')?.rcode).toBe('NXDOMAIN');
    expect(ask('x.web.netproxy.internal')?.rcode).toBe('NXDOMAIN');
  });

  it('never stand for a top-level domain or for names that clients trust', () => {
    expect(ask('web', 'NS')).toBeUndefined();
    expect(ask('wpad')).toBeUndefined();
    expect(ask('wpad.netproxy.internal')?.rcode).toBe('NXDOMAIN');
  });
});

describe('reverse names', () => {
  it.each([
    ['1', 'gateway.netproxy.internal'],
    ['254', 'host.netproxy.internal'],
    ['2', 'web.netproxy.internal'],
  ])('192.168.127.%s is %s', (last, name) => {
    const owner = `${last}.127.168.192.in-addr.arpa`;
    expect(ask(owner, 'PTR')?.answers).toEqual([`${owner} PTR ${name}`]);
  });

  it('an address without a guest does not exist, other types are NODATA', () => {
    const zone = soa('127.168.192.in-addr.arpa');
    expect(ask('9.127.168.192.in-addr.arpa', 'PTR')).toMatchObject({ rcode: 'NXDOMAIN', authorities: zone });
    expect(ask('2.127.168.192.in-addr.arpa', 'A')).toMatchObject({ rcode: 'NOERROR', authorities: zone });
  });

  it('other addresses are the host’s to name', () => {
    expect(ask('1.1.1.1.in-addr.arpa', 'PTR')).toBeUndefined();
    expect(ask('168.192.in-addr.arpa', 'SOA')).toBeUndefined();
  });
});

describe('special names', () => {
  it('localhost is the guest itself (RFC 6761 section 6.3)', () => {
    expect(ask('localhost')?.answers).toEqual(['localhost A 127.0.0.1']);
    expect(ask('a.localhost', 'AAAA')?.answers).toEqual(['a.localhost AAAA ::1']);
    expect(ask('localhost', 'MX')).toMatchObject({ rcode: 'NOERROR', authorities: soa('localhost') });
    expect(ask('1.0.0.127.in-addr.arpa', 'PTR')?.answers).toEqual(['1.0.0.127.in-addr.arpa PTR localhost']);
    expect(ask(`1.${'0.'.repeat(31)}ip6.arpa`, 'PTR')?.answers).toHaveLength(1);
  });

  it('invalid and onion do not exist', () => {
    expect(ask('x.invalid')).toMatchObject({ rcode: 'NXDOMAIN', authorities: soa('invalid') });
    expect(ask('x.onion')?.rcode).toBe('NXDOMAIN');
  });
});

describe('recordData', () => {
  it('never throws', () => {
    expect(recordData({ type: 'TXT', data: ['a'.repeat(70_000)] })).toBeUndefined();
    expect(recordData({ type: 'TXT', data: ['ab'] })).toEqual(Uint8Array.of(2, 97, 98));
  });
});
