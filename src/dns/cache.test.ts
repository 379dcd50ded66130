/** The cache by itself, and in the server. */
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DnsCache, type DnsCacheOptions } from './cache.js';
import {
  FakeUpstream,
  GUEST,
  address,
  decode,
  extendedError,
  query,
  records,
  respond,
  serverWith,
  type Ask,
} from './dns.testutil.js';
import { DnsUpstreamError, parseQuery, type DnsConfig, type DnsQuery } from './index.js';

const OUT = new Uint8Array(65_600);
const SECOND = 1000;

function parsed(bytes: Uint8Array): DnsQuery {
  const result = parseQuery(bytes);
  if (result.kind !== 'query') throw new Error(result.kind);
  return result.query;
}

/** A message with records of any section, as a name server would send it. */
function message(asked: Uint8Array, sections: Partial<dnsPacket.Packet>, flags = 0): Uint8Array {
  const { id, questions } = dnsPacket.decode(Buffer.from(asked));
  const packet = { type: 'response', id, flags: 0x180 | flags, questions, ...sections } as dnsPacket.Packet;
  return Uint8Array.from(dnsPacket.encode(packet));
}

const soa = (ttl: number, minimum: number) =>
  ({
    type: 'SOA',
    name: 'example',
    ttl,
    data: { mname: 'a.example', rname: 'b.example', serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
  }) as const;
const cname = { type: 'CNAME', name: 'x.example', ttl: 20, data: 'y.example' } as const;
const opt = (options: unknown[] = []) =>
  ({ type: 'OPT', name: '.', udpPayloadSize: 1232, flags: 0, options }) as never;

function filled(asked: Uint8Array, answer: Uint8Array, options: DnsCacheOptions = {}): DnsCache {
  const cache = new DnsCache(options);
  cache.store(parsed(asked), answer, 0);
  return cache;
}

/** What the cache says to a query; undefined when it has nothing. */
function hit(cache: DnsCache, asked: Uint8Array, now: number): Uint8Array | undefined {
  const entry = cache.find(parsed(asked), now);
  return entry && OUT.slice(0, cache.write(entry, parsed(asked), now, OUT));
}

const A = query('x.example', 'A');
const ANSWER = respond(A, [address('x.example', '10.0.0.1'), { ...cname, ttl: 100 }]);

describe('a hit', () => {
  it('has the client’s id and spelling, and TTLs counted down in whole seconds', () => {
    const cache = filled(A, ANSWER);
    const asked = query('X.eXample', 'A', { id: 0xbeef });
    const found = decode(hit(cache, asked, 30 * SECOND - 1));
    expect(found).toMatchObject({ id: 0xbeef, questions: [{ name: 'X.eXample' }], flag_qr: true });
    expect(found.answers!.map((record) => (record as { ttl: number }).ttl)).toEqual([271, 71]);
    expect(records(found.answers)).toEqual(records(decode(ANSWER).answers));
    expect(hit(cache, asked, 99_999)).toBeDefined();
    expect(hit(cache, asked, 100_000)).toBeUndefined();
    expect(cache.counters).toMatchObject({ entries: 0, bytes: 0, hits: 2, misses: 1, stored: 1 });
  });

  it('equals what the server said, at once and without EDNS', () => {
    expect(hit(filled(A, ANSWER), A, 0)).toEqual(ANSWER);
  });

  it('has an OPT record of ours exactly when the client sent one', () => {
    const asked = query('x.example', 'A', { edns: 4096 });
    const cookie = [{ code: 10, data: Buffer.from('0123456789abcdef', 'hex') }];
    const answer = message(asked, {
      answers: [address('x.example', '10.0.0.1')],
      additionals: [opt(cookie)],
    });
    const cache = filled(asked, answer);
    expect(decode(hit(cache, A, 0)).additionals).toEqual([]);
    const withOpt = decode(hit(cache, asked, 0));
    expect(withOpt.additionals).toMatchObject([{ type: 'OPT', udpPayloadSize: 1232, options: [] }]);
  });

  it.each<[string, Ask, Ask]>([
    ['DO', { dnssec: true }, {}],
    ['CD', { flags: 0x0110 }, {}],
    ['AD', { flags: 0x0120 }, {}],
  ])('is not shared between queries with %s and without', (_name, one, other) => {
    const cache = filled(query('x.example', 'A', one), ANSWER);
    expect(hit(cache, query('x.example', 'A', other), 0)).toBeUndefined();
    expect(hit(cache, query('x.example', 'A', one), 0)).toBeDefined();
  });

  it('is by name, type and class', () => {
    const cache = filled(A, ANSWER);
    expect(hit(cache, query('x.example', 'AAAA'), 0)).toBeUndefined();
    expect(hit(cache, query('y.example', 'A'), 0)).toBeUndefined();
    const chaos = A.slice();
    chaos[chaos.length - 1] = 3;
    expect(hit(cache, chaos, 0)).toBeUndefined();
  });

  it('never serves what was asked without RD, with options or signed', () => {
    const cache = filled(A, ANSWER);
    expect(hit(cache, query('x.example', 'A', { flags: 0 }), 0)).toBeUndefined();
    const subnet = Uint8Array.from(
      dnsPacket.encode({
        type: 'query',
        id: 1,
        flags: 0x100,
        questions: [{ type: 'A', name: 'x.example' }],
        additionals: [opt([{ code: 8, data: Buffer.from('00011800c00002', 'hex') }])],
      }),
    );
    expect(parsed(subnet).edns?.options).toBe(true);
    expect(hit(cache, subnet, 0)).toBeUndefined();
    cache.flush();
    cache.store(parsed(subnet), ANSWER, 0);
    expect(cache.counters.entries).toBe(0);
  });
});

describe('how long (RFC 2308, RFC 9520)', () => {
  const lasts = (answer: Uint8Array, options?: DnsCacheOptions): number => {
    const cache = filled(A, answer, options);
    let seconds = 0;
    while (seconds < 100_000 && hit(cache, A, seconds * SECOND)) seconds += seconds < 2000 ? 1 : 1000;
    return seconds;
  };

  it.each<[string, number, Uint8Array]>([
    ['the least TTL of a positive answer', 100, ANSWER],
    ['NXDOMAIN for the SOA’s minimum', 60, message(A, { authorities: [soa(300, 60)] }, 3)],
    ['NXDOMAIN for the SOA’s TTL', 50, message(A, { authorities: [soa(50, 600)] }, 3)],
    ['NODATA', 60, message(A, { authorities: [soa(300, 60)] })],
    ['NODATA at the end of a CNAME', 20, message(A, { answers: [cname], authorities: [soa(300, 60)] })],
    ['NXDOMAIN without SOA', 0, message(A, {}, 3)],
    ['NODATA without SOA', 0, message(A, {})],
    ['a CNAME that leads nowhere', 0, message(A, { answers: [cname] })],
    [
      'a referral',
      0,
      message(A, { authorities: [{ type: 'NS', name: 'example', ttl: 60, data: 'ns.example' }] }),
    ],
    ['SERVFAIL for a second', 1, message(A, {}, 2)],
    ['REFUSED', 0, message(A, {}, 5)],
    ['NOTIMP', 0, message(A, {}, 4)],
    ['TTL 0', 0, message(A, { answers: [{ ...address('x.example', '10.0.0.1'), ttl: 0 }] })],
    ['a truncated answer', 0, message(A, { answers: [address('x.example', '10.0.0.1')] }, 0x200)],
    ['an answer to something else', 0, respond(query('z.example', 'A'), [address('z.example', '10.0.0.1')])],
  ])('%s', (_name, seconds, answer) => {
    expect(lasts(answer)).toBe(seconds);
  });

  it('holds the caps', () => {
    expect(lasts(ANSWER, { maxTtl: 10 })).toBe(10);
    expect(lasts(message(A, { authorities: [soa(3000, 3000)] }, 3), { maxNegativeTtl: 5 })).toBe(5);
    expect(lasts(message(A, { authorities: [soa(3000, 3000)] }, 3))).toBe(900);
    expect(lasts(ANSWER, { maxBytes: 0 })).toBe(0);
  });

  it('a TTL of the upper half of the range is 0 (RFC 2181 section 8)', () => {
    const high = message(A, { answers: [{ ...address('x.example', '10.0.0.1'), ttl: 0x8000_0000 }] });
    expect(lasts(high)).toBe(0);
  });
});

describe('bounds', () => {
  it('the least recently used go first; bytes and entries are counted to nothing', () => {
    const cache = new DnsCache({ maxBytes: 16_384 });
    const name = (n: number): string => `n${n}.example`;
    const store = (n: number): void => {
      const asked = query(name(n), 'A');
      cache.store(parsed(asked), respond(asked, [address(name(n), '10.0.0.1')]), 0);
    };
    for (let n = 0; n < 1000; n++) {
      store(n);
      expect(cache.counters.bytes).toBeLessThanOrEqual(16_384);
      hit(cache, query(name(0), 'A'), 0);
    }
    expect(hit(cache, query(name(0), 'A'), 0)).toBeDefined();
    expect(hit(cache, query(name(999), 'A'), 0)).toBeDefined();
    expect(hit(cache, query(name(1), 'A'), 0)).toBeUndefined();
    const { entries, evicted, stored } = cache.counters;
    expect(entries + evicted).toBe(stored);
    cache.flush();
    expect(cache.counters).toMatchObject({ entries: 0, bytes: 0 });
  });

  it('thousands of entries are all found', () => {
    const cache = new DnsCache();
    for (let n = 0; n < 5000; n++) {
      const asked = query(`n${n}.example`, 'A');
      cache.store(parsed(asked), respond(asked, [address(`n${n}.example`, '10.0.0.1')]), 0);
    }
    for (let n = 0; n < 5000; n++) expect(hit(cache, query(`n${n}.example`, 'A'), 0)).toBeDefined();
  });

  it('flushes a domain and what is below it', () => {
    const cache = new DnsCache();
    for (const name of ['corp.example', 'a.corp.example', 'acorp.example', 'example']) {
      const asked = query(name, 'A');
      cache.store(parsed(asked), respond(asked, [address(name, '10.0.0.1')]), 0);
    }
    cache.flush('corp.example');
    const left = ['corp.example', 'a.corp.example', 'acorp.example', 'example'].filter((name) =>
      hit(cache, query(name, 'A'), 0),
    );
    expect(left).toEqual(['acorp.example', 'example']);
  });

  it('whatever bytes come, nothing throws, and what is kept can be given', () => {
    const seeds = [
      ANSWER,
      message(A, { authorities: [soa(300, 60)], additionals: [opt()] }, 3),
      message(A, { answers: [cname], authorities: [soa(9, 9)], additionals: [opt()] }),
    ];
    const cache = new DnsCache();
    fc.assert(
      fc.property(
        fc.nat(2),
        fc.array(fc.tuple(fc.nat(150), fc.nat(255)), { maxLength: 4 }),
        fc.nat(200),
        (which, changes, cut) => {
          const answer = seeds[which]!.slice(0, cut < 100 ? undefined : cut);
          for (const [at, value] of changes) if (at < answer.length) answer[at] = value;
          cache.flush();
          cache.store(parsed(A), answer, 0);
          const given = hit(cache, A, 500);
          if (given === undefined) return;
          expect(given.length).toBeLessThanOrEqual(answer.length);
          const asked = query('x.example', 'A', { edns: 1232, id: 77 });
          expect(hit(cache, asked, 500)![1]).toBe(77);
        },
      ),
    );
  });
});

describe('in the server', () => {
  const long = (asked: Uint8Array): Uint8Array =>
    respond(
      asked,
      Array.from({ length: 60 }, (_, i) => address('x.example', `10.0.0.${i}`)),
    );

  it('asks once, then answers at once, cut to the client’s size', async () => {
    const upstream = new FakeUpstream((asked) => long(asked));
    const server = serverWith({ upstream });
    await server.handle(A, 'udp', GUEST, 0);
    const whole = server.handle(A, 'tcp', GUEST, 0);
    expect(whole).toEqual(long(A));
    const cut = server.handle(A, 'udp', GUEST, 0) as Uint8Array;
    expect(cut.length).toBeLessThanOrEqual(512);
    expect(decode(cut).flag_tc).toBe(true);
    expect(upstream.asked).toHaveLength(1);
    expect(server.counters.sources).toMatchObject({ relay: 1, cache: 2 });
  });

  it('forgets everything when the host’s settings change, and what it is told to', async () => {
    let settings = 1;
    const upstream = new FakeUpstream((asked) => long(asked));
    const server = serverWith({ upstream, settings: () => settings });
    await server.handle(A, 'udp', GUEST, 0);
    settings = 2;
    await server.handle(A, 'udp', GUEST, 0);
    server.flush('example');
    await server.handle(A, 'udp', GUEST, 0);
    expect(server.handle(A, 'udp', GUEST, 0)).toBeInstanceOf(Uint8Array);
    expect(upstream.asked).toHaveLength(3);
  });

  describe('serves stale answers (RFC 8767)', () => {
    async function stale(config: Partial<DnsConfig>, reply: (asked: Uint8Array) => Promise<Uint8Array>) {
      let answers = true;
      const upstream = new FakeUpstream((asked) =>
        answers ? respond(asked, [address('x.example', '10.0.0.1')]) : reply(asked),
      );
      let now = 0;
      const server = serverWith({ upstream, clock: { now: () => now }, ...config });
      await server.handle(A, 'udp', GUEST, 0);
      answers = false;
      now = 400 * SECOND;
      return { server, upstream, now };
    }
    const asked = query('x.example', 'A', { edns: 1232 });
    const dead = (): Promise<never> => Promise.reject(new DnsUpstreamError('unreachable', 'gone'));

    it('only where wanted', async () => {
      const { server, now } = await stale({}, dead);
      expect(decode(await server.handle(asked, 'udp', GUEST, now)).rcode).toBe('SERVFAIL');
    });

    it('when nobody is reached, with a short TTL and the reason', async () => {
      const { server, upstream, now } = await stale({ cache: { staleSeconds: 3600 } }, dead);
      const answer = await server.handle(asked, 'udp', GUEST, now);
      expect(decode(answer).answers).toMatchObject([{ ttl: 30, data: '10.0.0.1' }]);
      expect(extendedError(answer!)?.code).toBe(3);
      expect(server.handle(asked, 'udp', GUEST, now)).toBeInstanceOf(Uint8Array);
      expect(upstream.asked).toHaveLength(2);
      expect(server.counters.sources.stale).toBe(2);
    });

    it('after 1.8 s when the servers are slow; their answer is kept for the next', async () => {
      let release: (bytes: Uint8Array) => void = () => undefined;
      const slow = (): Promise<Uint8Array> => new Promise((resolve) => (release = resolve));
      const { server, now } = await stale({ cache: { staleSeconds: 3600 } }, slow);
      const first = server.handle(asked, 'udp', GUEST, now);
      server.poll(now + 1799);
      expect(server.nextTimeout()).toBe(now + 1800);
      server.poll(now + 1800);
      expect(records(decode(await first).answers)).toEqual(['x.example A 10.0.0.1']);
      expect(server.pending).toBe(1);
      release(respond(asked, [address('x.example', '10.0.0.2')]));
      await new Promise((resolve) => setImmediate(resolve));
      expect(server.pending).toBe(0);
      const next = server.handle(asked, 'udp', GUEST, now + 2000) as Uint8Array;
      expect(records(decode(next).answers)).toEqual(['x.example A 10.0.0.2']);
    });

    it('not beyond the time given', async () => {
      const { server, now } = await stale({ cache: { staleSeconds: 10 } }, dead);
      expect(decode(await server.handle(asked, 'udp', GUEST, now)).rcode).toBe('SERVFAIL');
    });
  });

  it('a guest that asks too often is refused, others are not', () => {
    const server = serverWith({ maxRate: 3 });
    const ask = (id: number, now: number) =>
      decode(server.handle(query('host.docker.internal', 'A'), 'udp', { id }, now) as Uint8Array).rcode;
    expect([ask(1, 0), ask(1, 0), ask(1, 0), ask(1, 0), ask(2, 0)]).toEqual([
      'NOERROR',
      'NOERROR',
      'NOERROR',
      'REFUSED',
      'NOERROR',
    ]);
    expect(ask(1, 400)).toBe('NOERROR');
    for (let id = 10; id < 1000; id++) ask(id, 500);
    expect(server.counters.sources.limit).toBe(1);
  });
});
