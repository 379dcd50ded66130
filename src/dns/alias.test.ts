import type dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AliasUpstream, joinAnswers } from './alias.js';
import { decode, query, records, respond, serverWith, type Decoded } from './dns.testutil.js';
import { DnsUpstreamError } from './types.js';
import { Zones } from './zones.js';

const zones = new Zones([
  {
    name: 'corp.example',
    records: [
      { name: 'far', type: 'CNAME', value: 'near.corp.example' },
      { name: 'near', type: 'CNAME', value: 'www.example.org' },
    ],
  },
]);

type Elsewhere = ConstructorParameters<typeof AliasUpstream>[1];

function follow(asked: Uint8Array, elsewhere: Elsewhere): Promise<Decoded | DnsUpstreamError> {
  return new Promise((resolve) => {
    new AliasUpstream(zones, elsewhere).query(asked, 'udp', 1000, {
      answered: (bytes) => {
        resolve(decode(bytes));
      },
      failed: resolve,
    });
  });
}

describe('aliases that lead out of own zones', () => {
  const answers: dnsPacket.Answer[] = [
    { name: 'www.example.org', type: 'CNAME', ttl: 9, data: 'cdn.example.org' },
    { name: 'cdn.example.org', type: 'A', ttl: 9, data: '192.0.2.1' },
    {
      name: 'mail.cdn.example.org',
      type: 'MX',
      ttl: 9,
      data: { preference: 5, exchange: 'a.cdn.example.org' },
    },
    {
      name: 'example.org',
      type: 'SOA',
      ttl: 9,
      data: { mname: 'ns.example.org', rname: 'x.cdn.example.org', serial: 1 },
    },
  ];

  it('end with what the other name has, under its own names', async () => {
    const seen: string[] = [];
    const answer = await follow(query('FAR.corp.example', 'A', { edns: 1232 }), (asked) => {
      const { questions, additionals } = decode(asked);
      seen.push(`${questions![0]!.type} ${questions![0]!.name} ${additionals![0]!.type}`);
      return respond(asked, answers);
    });
    expect(seen).toEqual(['A www.example.org OPT']);
    expect(records((answer as Decoded).answers)).toEqual([
      'FAR.corp.example CNAME near.corp.example',
      'near.corp.example CNAME www.example.org',
      'www.example.org CNAME cdn.example.org',
      'cdn.example.org A 192.0.2.1',
      'mail.cdn.example.org MX [object Object]',
      'example.org SOA ns.example.org',
    ]);
    expect((answer as Decoded).answers?.[4]).toMatchObject({ data: { exchange: 'a.cdn.example.org' } });
    expect((answer as Decoded).answers?.[5]).toMatchObject({ data: { rname: 'x.cdn.example.org' } });
    expect(answer).toMatchObject({ rcode: 'NOERROR', additionals: [{ type: 'OPT' }] });
  });

  it('move pointers into the question and into records', () => {
    const begin = respond(query('a.corp.example', 'A'), [
      { name: 'a.corp.example', type: 'CNAME', ttl: 1, data: 'www.example.org' },
    ]);
    const asked = query('www.example.org', 'A');
    // The answer's name points to the question, its target to the question's second label; the next name to that target.
    const compressed = Uint8Array.from([
      ...respond(asked, []),
      ...[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 6, 3, 0x63, 0x64, 0x6e, 0xc0, 16],
      ...[0xc0, asked.length + 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1],
    ]);
    compressed[7] = 2;
    expect(records(decode(joinAnswers(begin, compressed)).answers)).toEqual([
      'a.corp.example CNAME www.example.org',
      'www.example.org CNAME cdn.example.org',
      'cdn.example.org A 192.0.2.1',
    ]);
  });

  it('keep NXDOMAIN, SERVFAIL and truncation, and fail where there is nothing', async () => {
    const asked = query('far.corp.example', 'AAAA');
    const nx = (await follow(asked, (bytes) => respond(bytes, [], 3))) as Decoded;
    expect([nx.rcode, nx.answers?.length]).toEqual(['NXDOMAIN', 2]);
    const cut = (await follow(asked, (bytes) => respond(bytes, [], 0x0200))) as Decoded;
    expect(cut.flag_tc).toBe(true);
    expect(await follow(asked, () => undefined)).toBeInstanceOf(DnsUpstreamError);
    expect(await follow(asked, () => Promise.reject(new Error('no')))).toBeInstanceOf(DnsUpstreamError);
    expect(await follow(asked, () => Uint8Array.of(1, 2))).toBeInstanceOf(DnsUpstreamError);
    expect(await follow(query('other.example', 'A'), () => undefined)).toBeInstanceOf(DnsUpstreamError);
  });

  it('are answered by the server with what its other sources say', async () => {
    const server = serverWith({
      local: [zones],
      route: (name) => (zones.leadsOut(name) ? alias : undefined),
      upstream: {
        query: (bytes, _transport, _timeout, reply) => {
          queueMicrotask(() => {
            reply.answered(respond(bytes, answers.slice(0, 2)));
          });
        },
        close: () => undefined,
      },
    });
    const alias = new AliasUpstream(zones, (bytes, transport) =>
      server.handle(bytes, transport, { id: 'alias' }, 0),
    );
    const answer = decode(await server.handle(query('near.corp.example', 'A'), 'udp', { id: 1 }, 0));
    expect(records(answer.answers)).toEqual([
      'near.corp.example CNAME www.example.org',
      'www.example.org CNAME cdn.example.org',
      'cdn.example.org A 192.0.2.1',
    ]);
    const own = decode(await server.handle(query('near.corp.example', 'CNAME'), 'udp', { id: 1 }, 0));
    expect(records(own.answers)).toEqual(['near.corp.example CNAME www.example.org']);
  });

  it('take any bytes for an answer', () => {
    const begin = respond(query('a.corp.example', 'A'), [
      { name: 'a.corp.example', type: 'CNAME', ttl: 1, data: 'www.example.org' },
    ]);
    const good = respond(query('www.example.org', 'A'), answers);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(good.length), (noise, at) => {
        const bytes = good.slice();
        bytes.set(noise.subarray(0, Math.max(0, bytes.length - at)), at);
        joinAnswers(begin, bytes);
        joinAnswers(begin, bytes.subarray(0, at));
        joinAnswers(begin, noise);
      }),
    );
  });
});
