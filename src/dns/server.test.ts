import { describe, expect, it } from 'vitest';
import {
  FakeResolver,
  FakeUpstream,
  GUEST,
  address,
  ask,
  decode,
  extendedError,
  query,
  records,
  respond,
  serverWith,
} from './dns.testutil.js';
import { DnsUpstreamError, type DnsConfig, type DnsServer } from './index.js';

const never = (): Promise<never> => new Promise(() => undefined);

describe('what is refused', () => {
  it('drops and counts what must not be answered', () => {
    const server = serverWith();
    expect(server.handle(new Uint8Array(5), 'udp', GUEST, 0)).toBeUndefined();
    expect(server.handle(respond(query('a', 'A'), []), 'udp', GUEST, 0)).toBeUndefined();
    expect(server.counters.drops).toEqual({ tooShort: 1, notAQuery: 1 });
  });

  it('FORMERR keeps the id and what was read of the question', async () => {
    const broken = query('www.example', 'A', { edns: 1232 }).slice(0, -1);
    const answer = await ask(serverWith(), broken);
    expect(answer.rcode).toBe('FORMERR');
    expect(answer.decoded).toMatchObject({ id: 0x1234, questions: [{ name: 'www.example' }] });
    const cut = await ask(serverWith(), query('www.example', 'A').slice(0, 15));
    expect(cut.decoded).toMatchObject({ rcode: 'FORMERR', questions: [] });
  });

  it('NOTIMP for other opcodes, with the opcode kept', async () => {
    const update = query('a.example', 'SOA', { flags: 0x2800 });
    const answer = await ask(serverWith(), update);
    expect(answer.rcode).toBe('NOTIMP');
    expect(answer.bytes[2]! & 0x78).toBe(0x28);
  });

  it('BADVERS for EDNS from the future', async () => {
    const raw = query('a.example', 'A', { edns: 1232 });
    raw[raw.length - 5] = 1;
    const answer = await ask(serverWith(), raw);
    expect(answer.bytes[3]! & 15).toBe(0);
    expect((answer.decoded.additionals![0] as { extendedRcode?: number }).extendedRcode).toBe(1);
    const { counters } = serverWith();
    expect(counters.answered).toEqual({});
  });

  it('zone transfers', async () => {
    const answer = await ask(serverWith(), query('example.com', 'AXFR', { edns: 1232 }), 'tcp');
    expect(answer.rcode).toBe('NOTIMP');
    expect(extendedError(answer.bytes)?.code).toBe(21);
  });

  it('names that the policy denies, also built-in ones', async () => {
    const server = serverWith({
      decide: (name, guest) =>
        name.endsWith('docker.internal') && guest.id === 1 ? { id: 7, rule: 'deny x' } : undefined,
    });
    const answer = await ask(server, query('host.docker.internal', 'A', { edns: 1232 }));
    expect(answer.rcode).toBe('REFUSED');
    expect(extendedError(answer.bytes)).toMatchObject({ code: 18 });
    expect(server.counters.sources.policy).toBe(1);
  });
});

describe('relay', () => {
  it('passes the bytes on and the answer back, with the client’s id', async () => {
    const upstream = new FakeUpstream((asked) => {
      const answer = respond(asked, [address('www.example', '10.0.0.1')]);
      answer[0] = 0x77;
      return answer;
    });
    const asked = query('www.EXAMPLE', 'TXT', { edns: 4096, dnssec: true });
    const answer = await ask(serverWith({ upstream }), asked, 'tcp');
    expect(upstream.asked).toEqual([{ bytes: asked, transport: 'tcp' }]);
    expect(answer.decoded.id).toBe(0x1234);
    const expected = respond(asked, [address('www.example', '10.0.0.1')]);
    expect(answer.bytes).toEqual(expected);
  });

  it('needs the query’s bytes for the call only', async () => {
    const buffer = query('www.example', 'A');
    const promise = serverWith({ upstream: new FakeUpstream(async (asked) => respond(asked, [])) }).handle(
      buffer,
      'udp',
      GUEST,
      0,
    );
    buffer.fill(0);
    expect(decode(await promise)).toMatchObject({ id: 0x1234, questions: [{ name: 'www.example' }] });
  });

  it('merges what differs by its id alone', async () => {
    const upstream = new FakeUpstream((asked) => respond(asked, [address('x.example', '10.0.0.1')]));
    const server = serverWith({ upstream });
    const answers = await Promise.all(
      [1, 2, 3].map(async (id) => server.handle(query('x.example', 'A', { id }), 'udp', { id }, 0)),
    );
    expect(answers.map((answer) => decode(answer).id)).toEqual([1, 2, 3]);
    await server.handle(query('x.example', 'AAAA'), 'udp', GUEST, 0);
    expect(upstream.asked).toHaveLength(2);
    expect(server.counters).toMatchObject({ merged: 2, received: { udp: 4 }, answered: { noError: 4 } });
    expect(server.pending).toBe(0);
  });

  it('cuts UDP answers to the client’s size, TCP answers never', async () => {
    const many = Array.from({ length: 60 }, (_, i) => address('x.example', `10.0.0.${i}`));
    const server = serverWith({ upstream: new FakeUpstream((asked) => respond(asked, many)) });
    for (const [edns, transport, most] of [
      [undefined, 'udp', 512],
      [1232, 'udp', 1232],
      [undefined, 'tcp', 65_535],
    ] as const) {
      const answer = await ask(
        server,
        query('x.example', 'A', edns === undefined ? {} : { edns }),
        transport,
      );
      expect(answer.bytes.length).toBeLessThanOrEqual(most);
      expect(answer.decoded.flag_tc).toBe(transport === 'udp');
    }
    expect(server.counters.truncated).toBe(2);
  });

  it.each([1, 20, 60, 200, 1000, 2500])(
    'gives %i records whole where they fit, and cut where not',
    async (count) => {
      const many = Array.from({ length: count }, (_, i) => address('x.example', `10.0.${i >> 8}.${i & 255}`));
      const upstream = new FakeUpstream((asked) => respond(asked, many));
      const server = serverWith({ upstream });
      const whole = await ask(server, query('x.example', 'A', { edns: 4096 }), 'tcp');
      expect(whole.decoded.answers).toHaveLength(count);
      expect(whole.decoded.flag_tc).toBe(false);
      for (const edns of [undefined, 512, 1232, 4096, 65_535]) {
        const plain = query('x.example', 'A', edns === undefined ? {} : { edns });
        const { bytes, decoded } = await ask(server, plain);
        // Without EDNS the OPT record of 11 bytes is not there.
        const fits = whole.bytes.length - (edns === undefined ? 11 : 0) <= (edns ?? 512);
        expect(bytes.length).toBeLessThanOrEqual(edns ?? 512);
        expect(decoded.flag_tc).toBe(!fits);
        if (fits) expect(decoded.answers).toEqual(whole.decoded.answers);
        expect(decoded.questions).toEqual(whole.decoded.questions);
      }
    },
  );

  it('SERVFAIL says why', async () => {
    const fail = (code: 'timeout' | 'unreachable'): DnsServer =>
      serverWith({
        upstream: new FakeUpstream(() => Promise.reject(new DnsUpstreamError(code, `it was ${code}`))),
      });
    const answer = await ask(fail('timeout'), query('x.example', 'A', { edns: 1232 }));
    expect(answer.rcode).toBe('SERVFAIL');
    expect(extendedError(answer.bytes)).toEqual({ code: 22, text: 'it was timeout' });
    const other = await ask(fail('unreachable'), query('x.example', 'A', { edns: 1232 }));
    expect(extendedError(other.bytes)).toEqual({ code: 23, text: 'it was unreachable' });
    expect((await ask(fail('timeout'), query('x.example', 'A'))).decoded.additionals).toEqual([]);
  });

  it('SERVFAIL for an upstream that breaks its contract', async () => {
    for (const reply of [new Uint8Array(3), new Uint8Array(70_000)]) {
      const answer = await ask(
        serverWith({ upstream: new FakeUpstream(() => reply) }),
        query('x.example', 'A'),
      );
      expect(answer.rcode).toBe('SERVFAIL');
    }
    const broken = new FakeUpstream(() => {
      throw new Error('no');
    });
    expect((await ask(serverWith({ upstream: broken }), query('x.example', 'A'))).rcode).toBe('SERVFAIL');
  });
});

describe('deadline and limits', () => {
  it('SERVFAIL at the deadline, and the place is free again', async () => {
    const server = serverWith({ upstream: new FakeUpstream(never), deadline: 5000 });
    const first = server.handle(query('x.example', 'A', { edns: 1232 }), 'udp', GUEST, 100);
    const second = server.handle(query('x.example', 'A', { edns: 1232 }), 'udp', GUEST, 1100);
    expect(server.nextTimeout()).toBe(5100);
    server.poll(5099);
    server.poll(5100);
    expect(decode(await first).rcode).toBe('SERVFAIL');
    expect(server.pending).toBe(1);
    server.poll(6100);
    expect(extendedError((await second)!)).toMatchObject({ code: 22 });
    expect(server.pending).toBe(0);
    expect(server.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
    expect(server.counters.sources.deadline).toBe(2);
  });

  it('an answer that comes after the deadline changes nothing', async () => {
    let release: (bytes: Uint8Array) => void = () => undefined;
    const upstream = new FakeUpstream(() => new Promise((resolve) => (release = resolve)));
    const server = serverWith({ upstream });
    const asked = query('x.example', 'A');
    const first = server.handle(asked, 'udp', GUEST, 0);
    const late = release;
    server.poll(5000);
    await first;
    const second = server.handle(asked, 'udp', GUEST, 5001);
    late(respond(asked, []));
    await Promise.resolve();
    expect(server.pending).toBe(1);
    release(respond(asked, [address('x.example', '10.0.0.9')]));
    expect(records(decode(await second).answers)).toHaveLength(1);
  });

  it('of one guest: REFUSED at limit + 1, other guests are served', async () => {
    const server = serverWith({ upstream: new FakeUpstream(never), maxPerGuest: 3 });
    const send = (n: number, guest: number) =>
      server.handle(query(`x${n}.example`, 'A', { edns: 1232 }), 'udp', { id: guest }, 0);
    const waiting = [1, 2, 3].map((n) => send(n, 1));
    const refused = send(4, 1);
    expect(decode(refused as Uint8Array).rcode).toBe('REFUSED');
    expect(decode(await server.handle(query('host.docker.internal', 'A'), 'udp', GUEST, 0)).rcode).toBe(
      'NOERROR',
    );
    const other = send(5, 2);
    expect(other).toBeInstanceOf(Promise);
    server.poll(5000);
    await Promise.all(waiting.map(async (answer) => answer));
    expect(send(6, 1)).toBeInstanceOf(Promise);
    expect(server.counters.sources.limit).toBe(1);
  });

  it('of all: REFUSED at limit + 1, but who asks the same waits with the others', () => {
    const server = serverWith({ upstream: new FakeUpstream(never), maxInFlight: 2 });
    const send = (n: number) => server.handle(query(`x${n}.example`, 'A'), 'udp', { id: n }, 0);
    expect(send(1)).toBeInstanceOf(Promise);
    expect(send(2)).toBeInstanceOf(Promise);
    expect(decode(send(3) as Uint8Array).rcode).toBe('REFUSED');
    expect(server.handle(query('x1.example', 'A'), 'udp', { id: 9 }, 0)).toBeInstanceOf(Promise);
  });
});

describe('the host’s resolver', () => {
  const resolver = new FakeResolver({
    'both.example/4': ['10.0.0.1', '10.0.0.2', '10.0.0.1'],
    'both.example/6': ['fd00::1', 'fe80::1%eth0'],
    'four.example/4': ['10.0.0.4'],
    'nodata.example/4': 'ENODATA',
    'again.example/4': 'EAI_AGAIN',
    'half.example/6': 'ETIMEDOUT',
    '10.0.0.1': ['a.example', 'a.example', 'bad..name'],
  });
  const upstream = new FakeUpstream((asked) => respond(asked, [address('relayed', '9.9.9.9')]));
  const config: Partial<DnsConfig> = { resolver, upstream };

  it.each([
    ['both.example', 'A', 'NOERROR', ['both.example A 10.0.0.1', 'both.example A 10.0.0.2']],
    ['both.example', 'AAAA', 'NOERROR', ['both.example AAAA fd00::1']],
    ['four.example', 'AAAA', 'NOERROR', []],
    ['nodata.example', 'A', 'NOERROR', []],
    ['nobody.example', 'A', 'NXDOMAIN', []],
    ['nobody.example', 'AAAA', 'NXDOMAIN', []],
    ['again.example', 'A', 'SERVFAIL', []],
    ['half.example', 'A', 'SERVFAIL', []],
    ['1.0.0.10.in-addr.arpa', 'PTR', 'NOERROR', ['1.0.0.10.in-addr.arpa PTR a.example']],
    ['2.0.0.10.in-addr.arpa', 'PTR', 'NXDOMAIN', []],
  ])('%s %s is %s', async (name, type, rcode, expected) => {
    const answer = await ask(serverWith(config), query(name, type));
    expect(answer.rcode).toBe(rcode);
    expect(answer.answers).toEqual(expected);
    expect(answer.decoded.flag_aa).toBe(false);
    for (const record of answer.decoded.answers!) expect((record as { ttl: number }).ttl).toBe(10);
  });

  it.each(['127.1', '10.0.0.1', '0x7f000001', 'a.0x1', '1'])('never reads %s as an address', async (name) => {
    resolver.asked.length = 0;
    expect((await ask(serverWith(config), query(name, 'A'))).rcode).toBe('NXDOMAIN');
    expect(resolver.asked).toEqual([]);
  });

  it('relays other types, DNSSEC, CD, odd names and parts of reverse names', async () => {
    const server = serverWith(config);
    for (const asked of [
      query('both.example', 'MX'),
      query('both.example', 'A', { dnssec: true }),
      query('both.example', 'A', { flags: 0x0110 }),
      query('with space.example', 'A'),
      query('0.10.in-addr.arpa', 'PTR'),
    ]) {
      expect((await ask(server, asked)).answers).toEqual(['relayed A 9.9.9.9']);
    }
    expect(server.counters.sources.relay).toBe(5);
  });

  it('shares one lookup by name, whatever the case, id and transport', async () => {
    resolver.asked.length = 0;
    const server = serverWith(config);
    const answers = await Promise.all([
      server.handle(query('four.example', 'A', { id: 1 }), 'udp', GUEST, 0),
      server.handle(query('FOUR.example', 'A', { id: 2, edns: 1232 }), 'tcp', GUEST, 0),
    ]);
    expect(answers.flatMap((answer) => records(decode(answer).answers))).toEqual([
      'four.example A 10.0.0.4',
      'FOUR.example A 10.0.0.4',
    ]);
    expect(resolver.asked).toEqual(['four.example/4']);
  });

  it('SERVFAIL tells the code', async () => {
    const answer = await ask(serverWith(config), query('again.example', 'A', { edns: 1232 }));
    expect(extendedError(answer.bytes)).toEqual({ code: 23, text: "the host's resolver failed (EAI_AGAIN)" });
  });
});

describe('whatever comes', () => {
  it('100,000 mutated queries: no throw, every answer readable and within its limit', async () => {
    const server = serverWith({
      resolver: new FakeResolver({ 'a.example/4': ['10.0.0.1'] }),
      maxPerGuest: 1e6,
      maxInFlight: 1e6,
    });
    const seeds = [
      query('host.docker.internal', 'A', { edns: 1232 }),
      query('a.example', 'A'),
      query('b.example', 'TXT', { edns: 4096, dnssec: true }),
      query('1.127.168.192.in-addr.arpa', 'PTR'),
    ];
    let seed = 4711;
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 0x100000000) * n);
    };
    for (let round = 0; round < 100_000; round++) {
      const raw = seeds[round & 3]!.slice(0, random(16) === 0 ? random(40) : undefined);
      for (let flips = random(4); flips > 0 && raw.length > 0; flips--) raw[random(raw.length)] = random(256);
      const answer = server.handle(raw, 'udp', GUEST, round);
      if (answer instanceof Uint8Array) {
        const fine = answer.length >= 12 && answer[0] === raw[0] && (answer[2]! & 0x80) !== 0;
        if (!fine) expect.fail(`round ${round}: ${Buffer.from(raw).toString('hex')}`);
      } else if (answer && round % 500 === 0) await answer;
    }
    await new Promise((resolve) => setImmediate(resolve));
    server.poll(1e9);
    expect(server.pending).toBe(0);
  });
});
