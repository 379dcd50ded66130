import { describe, expect, it } from 'vitest';
import type { Script } from './script.testutil.js';
import { established, OWN_ISS, USUAL, type Seg } from './script.testutil.js';

const lengths = (segments: Seg[]): (number | undefined)[] => segments.map((s) => s.len);

describe('sending', () => {
  it('Nagle is off: small writes leave at once', () => {
    established()
      .writes('a')
      .sends([{ seq: 1, data: 'a', psh: true }])
      .writes('b')
      .sends([{ seq: 2, data: 'b', psh: true }]);
  });

  it('the initial window is ten segments (RFC 6928)', () => {
    const s = established({}, { mss: 1000, scale: 7 }).writes(100_000);
    const sent = s.sent();
    expect(lengths(sent)).toEqual(Array.from({ length: 10 }, () => 1000));
    expect(sent.every((segment) => segment.psh !== true)).toBe(true);
    expect(s.connection.info().cwnd).toBe(10_000);
  });

  it('slow start: what is acknowledged comes on top', () => {
    const s = established({}, { mss: 1000, scale: 7 }).writes(100_000).skips();
    s.receives({ seq: 1, ack: 2001 });
    expect(lengths(s.sent())).toEqual([1000, 1000, 1000, 1000]);
  });

  it('never beyond the window of the peer', () => {
    const s = established({}, { mss: 1000, win: 2500 }).writes(10_000);
    // 500 more would fit, but a part of what waits is sent only into half of the largest window (section 3.8.6.2.1).
    expect(lengths(s.sent())).toEqual([1000, 1000]);
    s.receives({ seq: 1, ack: 1001, win: 2500 });
    expect(lengths(s.sent())).toEqual([1000]);
  });

  it('a window below one segment is filled whole', () => {
    const s = established({}, { mss: 1000, win: 600 }).writes(10_000);
    expect(lengths(s.sent())).toEqual([600]);
  });

  it('a window that shrinks stops new data and breaks nothing', () => {
    const s = established({}, { mss: 1000, win: 10_000 }).writes(20_000).skips();
    s.receives({ seq: 1, ack: 1001, win: 1000 }).sendsNothing().receives({ seq: 1, ack: 10_001, win: 1000 });
    expect(lengths(s.sent())).toEqual([1000]);
  });

  it('super-segments where the link takes them, in multiples of the MSS, the last one as it comes', () => {
    const s = established({ gsoMax: 4500 }, { mss: 1000 }).writes(9500);
    expect(s.sent().map((x) => [x.seq, x.len, x.gso])).toEqual([
      [1, 4000, 1000],
      [4001, 4000, 1000],
      [8001, 1500, 1000],
    ]);
  });

  it('a budget ends a turn and says that there is more', () => {
    const s = established({}, { mss: 1000 });
    s.connection.ring.write(new Uint8Array(5000));
    expect(s.output(2000)).toBe(true);
    expect(s.sent()).toHaveLength(2);
    expect(s.output(2000)).toBe(true);
    expect(s.output(2000)).toBe(false);
    expect(s.sent()).toHaveLength(3);
    expect(s.connection.needsOutput).toBe(false);
  });

  it('a blocked link holds data back, not acknowledgments, and no timeout counts', () => {
    const s = established();
    s.connection.holdOutput = true;
    s.writes('abc').sendsNothing();
    s.receives({ seq: 1, ack: 1, data: 'x' }).sends([{ seq: 1, ack: 2, len: 0 }]);
    s.connection.holdOutput = false;
    s.writes('d').sends([{ data: 'abcd' }]);
    s.connection.holdOutput = true;
    s.after(1000).sendsNothing();
    expect(s.counters.timeouts).toBe(0);
    s.connection.holdOutput = false;
    s.after(400).sends([{ data: 'abcd' }]);
  });

  it('makes room for SACK in data segments', () => {
    const s = established({}, USUAL).receives(
      { seq: 101, ack: 1, len: 10, ts: [101, 0] },
      { seq: 201, ack: 1, len: 10, ts: [101, 0] },
    );
    s.skips().writes(3000);
    for (const segment of s.sent())
      expect(segment.len! + 12 + 4 + 8 * segment.sack!.length).toBeLessThanOrEqual(1460);
  });

  it('a quiet connection starts again from the initial window (RFC 5681 section 4.1)', () => {
    const s = established({}, { mss: 1000, scale: 7 })
      .writes(40_000)
      .receives({ seq: 1, ack: 10_001 })
      .receives({ seq: 1, ack: 30_001 });
    s.receives({ seq: 1, ack: 40_001 }).skips();
    expect(s.connection.info().cwnd).toBeGreaterThan(20_000);
    s.after(1000).writes(40_000);
    expect(s.sent()).toHaveLength(10);
  });

  it('sequence numbers and stream offsets beyond 2^32', () => {
    const s = established({ iss: 0xffff_fffe as never }, { mss: 1000 });
    s.connection.ring.start = s.connection.ring.end = 2 ** 31 - 1000;
    s.writes(3000);
    expect(s.sent().map((x) => x.seq)).toEqual([1, 1001, 2001]);
    s.receives({ seq: 1, ack: 2001 });
    expect(s.connection.ring.start).toBe(-(2 ** 31) + 1000);
    s.at(300).sends([{ seq: 2001, len: 1000 }]);
    expect(OWN_ISS).toBeGreaterThan(0xffff_0000);
  });

  it('gives the memory of an idle ring back after a second', () => {
    const s = established({}, { mss: 1000, scale: 7 })
      .writes(40_000)
      .receives({ seq: 1, ack: 10_001 })
      .receives({ seq: 1, ack: 30_001 });
    s.receives({ seq: 1, ack: 40_001 });
    expect(s.connection.ring.region.bytes.length).toBeGreaterThan(40_000);
    s.after(1000);
    expect(s.connection.ring.region.bytes.length).toBe(0);
    s.writes('on it goes').skips().receives({ seq: 1, ack: 40_011 });
    expect(s.connection.ring.bytes).toBe(0);
  });
});

describe('zero-window probes (section 3.8.6.1)', () => {
  const shut = (): Script =>
    established({}, { mss: 1000, win: 4 })
      .writes('abcdefgh')
      .sends([{ data: 'abcd' }])
      .receives({ seq: 1, ack: 5, win: 0 });

  it('"MUST regularly transmit at least one octet of new data", backing off', () => {
    const s = shut().sendsNothing();
    for (const at of [200, 600, 1400, 3000])
      s.at(at - 1)
        .sendsNothing()
        .at(at)
        .sends([{ seq: 5, data: 'e' }]);
    expect(s.counters.windowProbes).toBe(4);
  });

  it('goes on for ever while the peer answers, "as long as the receiving TCP peer continues to send acknowledgments"', () => {
    const s = shut();
    for (let i = 0; i < 200; i++) s.after(30_000).receives({ seq: 1, ack: 5, win: 0 });
    s.ended(undefined).is('ESTABLISHED');
  });

  it('gives up when nobody answers', () => {
    const s = shut().at(99_000).ended(undefined).at(300_000).ended('timeout');
    s.sent();
  });

  it('the window opens: the rest leaves from where the peer stands', () => {
    shut()
      .at(200)
      .skips()
      .receives({ seq: 1, ack: 5, win: 100 })
      .sends([{ seq: 5, data: 'efgh' }]);
  });

  it('the probe was taken: its byte counts', () => {
    const s = shut()
      .at(200)
      .skips()
      .receives({ seq: 1, ack: 6, win: 100 })
      .sends([{ seq: 6, data: 'fgh' }]);
    s.receives({ seq: 1, ack: 9 });
    expect(s.connection.ring.bytes).toBe(0);
  });

  it('FIN behind a shut window is the probe', () => {
    const s = established({}, { mss: 1000, win: 4 })
      .writes('abcd')
      .skips()
      .receives({ seq: 1, ack: 5, win: 0 })
      .closes()
      .sendsNothing();
    s.at(1000).sends(
      [
        { seq: 5, fin: true, len: 0 },
        { seq: 5, fin: true, len: 0 },
      ].slice(0, s.counters.timeouts + 1),
    );
    s.receives({ seq: 1, ack: 6, win: 0 }).is('FIN-WAIT-2');
  });

  it('a silly window is filled after the timeout', () => {
    const s = established({}, { mss: 1000, win: 4000 }).writes(4000).skips().writes(3000).sendsNothing();
    s.receives({ seq: 1, ack: 4001, win: 50 }).sendsNothing();
    s.after(200).sends([{ seq: 4001, len: 50 }]);
  });
});
