import { describe, expect, it } from 'vitest';
import { established, type Script, type Seg } from './script.testutil.js';

/** Twenty segments of 1000 bytes are out, nothing else to send unless `more`. */
function flying(syn: Seg, more = 0): Script {
  const s = established({ congestion: 'newreno' }, { mss: 1000, scale: 7, win: 65535, ...syn });
  s.writes(10_000)
    .receives({ seq: 1, ack: 10_001 })
    .writes(20_000 + more)
    .skips();
  expect(s.connection.info().flight).toBe(20_000);
  expect(s.connection.info().cwnd).toBe(20_000);
  return s;
}

const at = (n: number): number => 10_001 + n * 1000;
const again = (n: number): Seg => ({ seq: at(n), len: 1000 });

describe('without SACK (RFC 5681, 6582)', () => {
  const dup = { seq: 1, ack: at(0) };

  it('fast retransmit after three duplicate ACKs', () => {
    const s = flying({})
      .receives(dup, dup)
      .sendsNothing()
      .receives(dup)
      .sends([again(0)]);
    expect(s.connection.info().ssthresh).toBe(10_000);
    expect(s.connection.info().recovery).toBe('fast');
  });

  it('limited transmit: the first two duplicates send new data (RFC 3042)', () => {
    flying({}, 5000)
      .receives(dup)
      .sends([again(20)])
      .receives(dup)
      .sends([again(21)]);
  });

  it('a duplicate with text or another window is none', () => {
    const s = flying({}).receives({ ...dup, win: 5 }, { ...dup, win: 65535 }, { ...dup, seq: 1, len: 1 });
    s.receives({ seq: 2, ack: at(0), len: 1 });
    expect(s.counters.duplicateAcksIn).toBe(0);
  });

  it('a partial acknowledgment sends the next lost segment at once; the full one ends recovery', () => {
    const s = flying({})
      .receives(dup, dup, dup)
      .sends([again(0)]);
    s.receives({ seq: 1, ack: at(5) }).sends([again(5)]);
    s.receives({ seq: 1, ack: at(20) }).sendsNothing();
    expect(s.connection.info()).toMatchObject({ recovery: 'none', cwnd: 10_000, flight: 0 });
  });

  it('each further duplicate lets half a window through', () => {
    const s = flying({}, 20_000)
      .receives(dup, dup)
      .skips()
      .receives(dup)
      .sends([again(0)]);
    for (let i = 0; i < 30; i++) s.receives(dup);
    const fresh = s.sent();
    expect(fresh.length).toBeGreaterThan(5);
    expect(fresh.every((x) => x.seq! >= at(20))).toBe(true);
  });

  it('duplicates of what is sent again after a timeout start no recovery', () => {
    const s = flying({})
      .at(300)
      .sends([again(0)]);
    s.receives({ seq: 1, ack: at(20) }).receives({ seq: 1, ack: at(20) });
    s.writes(5000).skips();
    const d = { seq: 1, ack: at(20) };
    s.receives(d, d, d, d);
    expect(s.counters.fastRetransmits).toBe(0);
  });
});

describe('with SACK (RFC 2018): what the peer holds is not sent again', () => {
  const sackAck = (...sack: [number, number][]): Seg => ({
    seq: 1,
    ack: at(0),
    sack: sack.map(([a, b]) => [at(a), at(b)] as const),
  });

  it('every hole is sent once, the highest block untouched', () => {
    const s = flying({ sackPermitted: true });
    s.receives(sackAck([12, 20], [8, 10], [2, 5]));
    // Holes: 0-1, 5-7, 10-11.
    expect(s.sent().map((x) => x.seq)).toEqual([0, 1, 5, 6, 7, 10, 11].map(at));
    s.receives({ seq: 1, ack: at(20) });
    expect(s.connection.info()).toMatchObject({ recovery: 'none', flight: 0 });
  });

  it('D-SACK and nonsense below SND.UNA or beyond SND.NXT are no news', () => {
    const s = flying({ sackPermitted: true });
    s.receives({ seq: 1, ack: at(0), sack: [[1, at(-1)]] });
    s.receives({ seq: 1, ack: at(0), sack: [[at(5), at(21)]] });
    s.receives({ seq: 1, ack: at(0), sack: [[at(5), at(5)]] });
    s.receives({ seq: 1, ack: at(0), sack: [[at(7), at(6)]] });
    s.receives({ seq: 1, ack: at(0), sack: [[at(-3), at(6)]] });
    s.sendsNothing();
    expect(s.connection.snd.recovery.sent.held).toBe(0);
    expect(s.counters.duplicateAcksIn).toBe(0);
  });

  it('after a timeout what the peer holds is not sent again', () => {
    const s = flying({ sackPermitted: true })
      .receives(sackAck([1, 3]))
      .at(1)
      .sends([again(0)]);
    s.at(200)
      .sendsNothing()
      .at(201)
      .sends([again(0)]);
    s.receives({ seq: 1, ack: at(3) }).sends([again(3), again(4)]);
  });

  it('reneging: after a timeout a scoreboard that holds SND.UNA is forgotten (RFC 2018 section 8)', () => {
    const s = flying({ sackPermitted: true }).receives(sackAck([1, 3]));
    s.receives({ seq: 1, ack: at(1) })
      .at(199)
      .skips()
      .at(400);
    expect(s.sent()[0]).toMatchObject(again(1));
    expect(s.connection.snd.recovery.sent.held).toBe(0);
  });
});

describe('the retransmission timer (RFC 6298)', () => {
  it('sends the first segment again, backs off, and begins slow start', () => {
    const s = flying({});
    s.at(199)
      .sendsNothing()
      .at(200)
      .sends([again(0)]);
    expect(s.connection.info()).toMatchObject({ cwnd: 1000, ssthresh: 10_000, rto: 400 });
    s.at(600).sends([again(0)]);
    expect(s.connection.info()).toMatchObject({ cwnd: 1000, ssthresh: 10_000, rto: 800 });
    s.receives({ seq: 1, ack: at(1) }).sends([again(1), again(2)]);
  });

  it('"An RTT sample is not taken of a segment that was sent again" (Karn)', () => {
    const s = established().at(50).writes('abc').at(250).skips().at(260).receives({ seq: 1, ack: 4 });
    expect(s.connection.info().srtt).toBe(0);
    s.at(300).writes('d').at(340).receives({ seq: 1, ack: 5 });
    expect(s.connection.info().srtt).toBeCloseTo(5);
  });

  it('timestamps tell the round trip of what was sent again too (RFC 7323 section 4)', () => {
    const s = established({}, { mss: 1460, ts: [100, 0] })
      .at(50)
      .writes('abc')
      .at(250)
      .skips();
    s.at(330).receives({ seq: 1, ack: 4, ts: [101, 250] });
    expect(s.connection.info().srtt).toBeCloseTo(10);
  });

  it('is stopped when all is acknowledged', () => {
    const s = established().writes('abc').receives({ seq: 1, ack: 4 });
    expect(s.connection.snd.timerAt).toBe(Number.POSITIVE_INFINITY);
  });

  it('never waits longer than 60 s, and gives up after 100 s (R2)', () => {
    const s = established().writes('abc').skips();
    s.at(102_000).ended(undefined);
    const tries = s.sent();
    expect(tries).toHaveLength(8);
    s.at(102_200).ended('timeout');
  });

  it('a peer that keeps answering with a shut window is not given up', () => {
    const s = established({}, { mss: 1000, win: 4000 }).writes(4000).skips();
    for (let i = 0; i < 100; i++) s.after(20_000).receives({ seq: 1, ack: 1, win: 0 });
    s.ended(undefined);
    s.receives({ seq: 1, ack: 4001, win: 4000 });
    expect(s.connection.info().flight).toBe(0);
  });
});
