import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ipv4 } from '../core/index.js';
import {
  type Ipv4Packet,
  FragmentIds,
  MAX_ALL,
  MAX_DATAGRAMS,
  REASSEMBLY_TIMEOUT,
  Reassembler,
  type Reassembled,
  emitIpv4Packet,
  optionsFault,
  parseIpv4Packet,
  writeIpv4Header,
} from './index.js';

const packet: Ipv4Packet = {
  source: ipv4(0xc0a87f02),
  destination: ipv4(0x01020304),
  protocol: 17,
  ttl: 64,
  tos: 0,
  id: 0x1234,
  dontFragment: false,
  moreFragments: false,
  fragmentOffset: 0,
  options: new Uint8Array(0),
  payload: new Uint8Array([1, 2, 3, 4]),
};

function add(r: Reassembler, fields: Partial<Ipv4Packet>, port = 1, now = 0): Reassembled | undefined {
  const bytes = emitIpv4Packet({ ...packet, ...fields });
  return r.add(bytes, new DataView(bytes.buffer), 0, port, now);
}

const piece = (length: number, from = 0) => Uint8Array.from({ length }, (_, i) => (from + i) & 255);

describe('IPv4 header', () => {
  it('survives a round trip, options included', () => {
    fc.assert(
      fc.property(
        fc.nat(0xffffffff),
        fc.nat(0xffffffff),
        fc.nat(255),
        fc.nat(255),
        fc.nat(0xffff),
        fc.nat(10),
        fc.uint8Array({ maxLength: 100 }),
        (source, destination, protocol, ttl, id, words, payload) => {
          const full = {
            ...packet,
            source: ipv4(source),
            destination: ipv4(destination),
            protocol,
            ttl,
            id,
            payload,
            options: new Uint8Array(words * 4).fill(1),
          };
          expect(parseIpv4Packet(emitIpv4Packet(full))).toEqual(full);
        },
      ),
    );
  });

  it('names the fault of every truncation and damage', () => {
    const whole = emitIpv4Packet(packet);
    for (let n = 0; n < whole.length; n++) expect(typeof parseIpv4Packet(whole.slice(0, n))).toBe('string');
    const damaged = (at: number, value: number) => {
      const bytes = whole.slice();
      bytes[at] = value;
      return parseIpv4Packet(bytes);
    };
    expect(damaged(0, 0x65)).toBe('version');
    expect(damaged(0, 0x44)).toBe('headerLength');
    expect(damaged(3, 200)).toBe('totalLength');
    expect(damaged(8, 1)).toBe('checksum');
  });

  it('writes the same header over memory that holds anything', () => {
    const bytes = new Uint8Array(64).fill(0xa5);
    writeIpv4Header(
      new DataView(bytes.buffer),
      8,
      24,
      0x1234,
      0,
      64,
      17,
      0,
      packet.source,
      packet.destination,
    );
    expect(bytes.slice(8, 28)).toEqual(emitIpv4Packet(packet).slice(0, 20));
  });
});

describe('reassembly', () => {
  it('puts pieces together in any order', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 5 }), (order) => {
        const r = new Reassembler();
        let whole: Reassembled | undefined;
        for (const i of order)
          whole =
            add(r, {
              payload: piece(i === 4 ? 5 : 16, i * 16),
              fragmentOffset: i * 16,
              moreFragments: i < 4,
            }) ?? whole;
        expect(whole?.payload).toEqual(piece(69));
        expect(r.size).toBe(0);
      }),
    );
  });

  it('ignores an exact duplicate and drops what overlaps', () => {
    const r = new Reassembler();
    add(r, { payload: piece(16), moreFragments: true });
    add(r, { payload: piece(16), moreFragments: true });
    expect(r.size).toBe(1);
    add(r, { payload: piece(16, 8), fragmentOffset: 8, moreFragments: true });
    expect(r.size).toBe(0);
    expect(r.counters.overlapping).toBe(1);
  });

  it('rejects pieces that are empty, odd in the middle, or reach beyond 65,535', () => {
    const r = new Reassembler();
    add(r, { payload: piece(0), moreFragments: true });
    add(r, { payload: piece(13), moreFragments: true });
    add(r, { payload: piece(64), fragmentOffset: 65_528, moreFragments: false });
    expect(r.counters.malformed).toBe(3);
    expect(r.size).toBe(0);
  });

  it('lets go of the oldest at the limit + 1, port by port', () => {
    const r = new Reassembler();
    for (let id = 0; id <= MAX_DATAGRAMS; id++) add(r, { id, payload: piece(8), moreFragments: true }, 1);
    add(r, { id: 9, payload: piece(8), moreFragments: true }, 2);
    expect(r.size).toBe(MAX_DATAGRAMS + 1);
    expect(r.counters.evicted).toBe(1);
  });

  it('has a bound for all ports: the one that has most gives one up', () => {
    const r = new Reassembler();
    const open = (id: number, port: number) => add(r, { id, payload: piece(8), moreFragments: true }, port);
    const ports = MAX_ALL / MAX_DATAGRAMS;
    open(1, 100);
    for (let port = 0; port < ports; port++)
      for (let id = 0; id < (port === 1 ? MAX_DATAGRAMS : MAX_DATAGRAMS - 1); id++) open(id, port);
    for (let n = 0; r.size < MAX_ALL; n++) open(n, 200 + (n % 7));
    open(2, 100);
    expect(r.size).toBe(MAX_ALL);
    expect(r.counters.evicted).toBe(1);
    // The full port lost its oldest: the second half of that one begins a new datagram.
    expect(add(r, { id: 0, payload: piece(8), fragmentOffset: 8 }, 1)).toBeUndefined();
    expect(add(r, { id: 1, payload: piece(8), fragmentOffset: 8 }, 100)?.payload).toHaveLength(16);
  });

  it('tells of the whole that one of its fragments met congestion', () => {
    const r = new Reassembler();
    add(r, { tos: 0x2a, payload: piece(8), moreFragments: true });
    expect(add(r, { tos: 0x2b, payload: piece(8), fragmentOffset: 8 })?.header[1]).toBe(0x2b);
  });

  it('times out, and gives the first fragment for the ICMP message', () => {
    const r = new Reassembler();
    add(r, { id: 1, payload: piece(16), moreFragments: true }, 1, 0);
    add(r, { id: 2, payload: piece(16, 16), fragmentOffset: 16, moreFragments: true }, 1, 1);
    expect(r.next()).toBe(REASSEMBLY_TIMEOUT);
    expect(r.expire(REASSEMBLY_TIMEOUT - 1)).toEqual([]);
    const heads = r.expire(REASSEMBLY_TIMEOUT + 1);
    expect(heads).toHaveLength(1);
    expect(heads[0]!.head.length).toBe(28);
    expect(r.counters.timedOut).toBe(2);
  });

  it('never throws, whatever comes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ id: fc.nat(3), at: fc.nat(8191), length: fc.nat(64), more: fc.boolean() }), {
          maxLength: 80,
        }),
        (list) => {
          const r = new Reassembler();
          for (const one of list)
            add(r, {
              id: one.id,
              fragmentOffset: one.at * 8,
              payload: piece(one.length),
              moreFragments: one.more,
            });
          expect(r.size).toBeLessThanOrEqual(4);
        },
      ),
    );
  });
});

describe('IPv4 options', () => {
  const fault = (...options: number[]) => {
    const padded = Uint8Array.from([
      ...options,
      ...new Array<number>((4 - (options.length % 4)) % 4).fill(0),
    ]);
    return optionsFault(emitIpv4Packet({ ...packet, options: padded }), 0, 20 + padded.length);
  };

  it('are skipped, but for source routes and what cannot be read', () => {
    expect(fault(1, 1, 7, 7, 4, 0, 0, 0, 0)).toBeUndefined();
    expect(fault(148, 4, 0, 0)).toBeUndefined();
    expect(fault(0, 131, 3, 4)).toBeUndefined();
    for (const route of [131, 137]) expect(fault(1, route, 7, 4, 10, 0, 0, 1)).toBe('sourceRoute');
    for (const bad of [[7], [7, 0], [7, 1], [7, 5, 4, 0], [1, 1, 1, 148]]) {
      if (bad.length === 1)
        expect(optionsFault(Uint8Array.from([...new Array<number>(23).fill(1), 7]), 0, 24)).toBe('malformed');
      else expect(fault(...bad)).toBe('malformed');
    }
  });

  it('never lead out of the header', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const header = new Uint8Array(20 + (bytes.length & ~3));
        header.set(bytes.subarray(0, bytes.length & ~3), 20);
        expect([undefined, 'malformed', 'sourceRoute']).toContain(optionsFault(header, 0, header.length));
      }),
    );
  });
});

describe('FragmentIds', () => {
  it('repeat a number of a source after all others, whatever other sources do', () => {
    const ids = new FragmentIds();
    const [one, two] = [ipv4(0x01020304), ipv4(0x01020305)];
    const seen = new Set<number>();
    for (let i = 0; i < 65_535; i++) {
      seen.add(ids.next(one));
      ids.next(two);
    }
    expect(seen.size).toBe(65_535);
    expect([seen.has(0), ids.next(one)]).toEqual([false, 1]);
  });
});
