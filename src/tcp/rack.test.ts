import { describe, expect, it } from 'vitest';
import { established, Script, type Seg } from './script.testutil.js';

const SACK: Seg = { mss: 1000, scale: 7, win: 65535, sackPermitted: true };
const RTT = 40;

const at = (n: number): number => 10_001 + n * 1000;
const again = (n: number): Seg => ({ seq: at(n), len: 1000 });
const ack = (n: number, ...sack: [number, number][]): Seg => ({
  seq: 1,
  ack: at(n),
  sack: sack.map(([a, b]) => [at(a), at(b)] as const),
});

/** An established connection whose handshake took a round trip; now is 40 ms. */
function slow(syn: Seg = {}): Script {
  const s = new Script({ congestion: 'newreno' }).listens({ ...SACK, ...syn }).accepts();
  return s
    .at(RTT)
    .receives({ seq: 1, ack: 1, win: syn.win ?? 65535 })
    .skips();
}

/** Ten segments of 1000 bytes left at 80 ms, to be acknowledged at 120; `more` than the window allows waits. */
function flying(more = 0): Script {
  const s = slow()
    .writes(10_000)
    .at(2 * RTT);
  s.receives({ seq: 1, ack: 10_001 }).skips();
  expect(s.connection.info()).toMatchObject({ srtt: RTT, cwnd: 20_000 });
  if (more > 0) s.connection.snd.congestion.cwnd = 10_000;
  return s.writes(10_000 + more).skips();
}

describe('RACK (RFC 8985 section 6)', () => {
  it('"if [three] segments have been SACKed, RACK.reo_wnd is zero": lost at once', () => {
    flying()
      .at(120)
      .receives(ack(0, [1, 2]))
      .sendsNothing()
      .receives(ack(0, [1, 3]))
      .sendsNothing()
      .receives(ack(0, [1, 4]))
      .sends([again(0)]);
  });

  it('in the middle of a batch: what was out when it began is what the window is reduced from', () => {
    const s = flying();
    s.connection.snd.congestion.cwnd = 10_000;
    // Six segments are acknowledged and the next is lost, all in one batch, in which nothing can leave.
    s.at(120)
      .receives(ack(2), ack(4), ack(6), ack(6, [7, 10]))
      .sends([again(6)]);
    expect(s.connection.info()).toMatchObject({ recovery: 'fast', ssthresh: 5000, cwnd: 5000 });
  });

  it('in a batch of acknowledgments each one tells that the window is used', () => {
    const s = flying();
    const { congestion } = s.connection.snd;
    congestion.cwnd = 10_000;
    congestion.ssthresh = 5000;
    s.at(120).receives(ack(5), ack(10));
    // NewReno's congestion avoidance: a segment for a window.
    expect(congestion.cwnd).toBeGreaterThanOrEqual(10_990);
  });

  it('one or two: lost after a quarter of the least round trip', () => {
    const s = flying()
      .at(120)
      .receives(ack(0, [1, 2]));
    s.at(129.9)
      .sendsNothing()
      .at(130)
      .sends([again(0)]);
    expect(s.connection.info()).toMatchObject({ recovery: 'fast' });
    expect(s.counters).toMatchObject({ timeouts: 0, tailProbes: 0, fastRetransmits: 1 });
  });

  it('what left after the latest to arrive is not lost', () => {
    const s = flying()
      .at(120)
      .receives(ack(0, [1, 2], [4, 5], [7, 8]));
    expect(s.connection.snd.recovery.sent.lost + 1000 * s.sent().length).toBe(5000);
    expect(s.connection.snd.recovery.sent.tail).toMatchObject({ state: 0, again: false });
  });

  it('a lost retransmission is found when something that left after it arrives, without a timeout', () => {
    const s = flying(10_000)
      .at(120)
      .receives(ack(0, [1, 8]))
      .sends([again(0), again(10), again(11)]);
    const { ssthresh } = s.connection.info();
    s.at(159)
      .sendsNothing()
      .at(160)
      .receives(ack(0, [1, 8], [10, 11]));
    expect(s.sent()[0]).toMatchObject(again(0));
    // As kernels have it; RFC 5681 section 4.3 would reduce the window once more.
    expect(s.connection.info()).toMatchObject({ recovery: 'fast', ssthresh });
    expect(s.counters).toMatchObject({ timeouts: 0 });
  });

  it('an acknowledgment below, with the same blocks, sends nothing twice', () => {
    const s = flying()
      .at(120)
      .receives(ack(0, [1, 4], [5, 10]))
      .sends([again(0), again(4)]);
    s.at(160)
      .receives(ack(4, [5, 10]))
      .sendsNothing();
    expect(s.connection.info().recovery).toBe('fast');
    s.receives(ack(10));
    expect(s.connection.info().recovery).toBe('none');
  });

  it('an acknowledgment of a retransmission sooner than any round trip is of the first transmission', () => {
    const s = flying()
      .at(120)
      .receives(ack(0, [1, 4]))
      .sends([again(0)]);
    const { rack } = s.connection.snd.recovery;
    const { order } = rack;
    s.at(159).receives(ack(4));
    expect([rack.order, rack.minRtt]).toEqual([order, RTT]);
  });

  it('an acknowledgment that echoes an older timestamp is of the first transmission', () => {
    for (const [echo, news] of [
      [119, false],
      [120, true],
    ] as const) {
      const s = new Script().listens({ ...SACK, ts: [1, 0] }).accepts();
      s.at(RTT).receives({ seq: 1, ack: 1, ts: [2, 0] });
      s.at(80).writes(9880).skips();
      s.at(120).receives({ seq: 1, ack: 1, sack: [[989, 1 + 4 * 988]], ts: [3, 80] });
      s.sends([{ seq: 1, len: 988 }]);
      const { rack } = s.connection.snd.recovery;
      const { order } = rack;
      s.at(170).receives({ seq: 1, ack: 989, ts: [4, echo] });
      expect(rack.order > order).toBe(news);
    }
  });

  it('once reordering was seen the window stays, however much is SACKed', () => {
    const s = flying()
      .at(120)
      .receives(ack(0, [1, 3]));
    // The first was late, not lost.
    s.at(122).receives(ack(3));
    expect(s.connection.snd.recovery.rack.reorders).toBe(true);
    s.at(123)
      .receives(ack(3, [4, 9]))
      .sendsNothing();
    s.at(133).sends([again(3)]);
  });

  it('D-SACK widens the window by a quarter of the round trip, once in one, for 16 recoveries', () => {
    const s = flying();
    const { rack, sent } = s.connection.snd.recovery;
    rack.reorders = true;
    const window = (): number => rack.window(sent, 1000, false, 1e9);
    expect(window()).toBe(10);
    const twice: Seg = { seq: 1, ack: at(0), sack: [[at(-2), at(-1)]] };
    s.receives(twice, twice);
    expect(window()).toBe(20);
    s.at(120).receives({ seq: 1, ack: at(10), sack: [[at(0), at(1)]] });
    expect(window()).toBe(30);
    for (let i = 0; i < 15; i++) rack.recovered();
    expect(window()).toBe(30);
    rack.recovered();
    expect(window()).toBe(10);
    // "min(…, SRTT)"
    expect(rack.window(sent, 1000, false, 5)).toBe(5);
  });

  it('the least round trip is that of the last minute', () => {
    const s = flying().at(120).receives(ack(10));
    const { rack } = s.connection.snd.recovery;
    for (let i = 0; i < 5; i++) {
      s.at(20_000 * (i + 1)).writes(1000);
      s.after(100).receives({ seq: 1, ack: at(11 + i) });
    }
    expect(rack.minRtt).toBeCloseTo(100);
  });

  it('"upon RTO timer expiration": the first segment is lost, and what is older than a round trip (section 6.3)', () => {
    const s = flying(5000);
    const { snd } = s.connection;
    s.at(162).skips();
    // A batch that left late is not of an age to be lost.
    s.at(350);
    snd.congestion.cwnd = 20_000;
    s.output();
    s.skips().at(362);
    expect(s.counters).toMatchObject({ timeouts: 1, tailProbes: 1 });
    expect(snd.recovery.sent.tail).toMatchObject({ state: 0, sentAt: 350 });
    expect(snd.recovery.sent.firstLost!.start).toBe(snd.una + 1000);
  });
});

describe('the tail loss probe (RFC 8985 section 7)', () => {
  const PTO = 2 * RTT + 2;

  it('"PTO = 2 * SRTT": the last segment leaves again; then the retransmission timer', () => {
    const s = flying();
    s.at(80 + PTO - 0.1)
      .sendsNothing()
      .at(80 + PTO)
      .sends([{ ...again(9), psh: true }]);
    expect(s.counters).toMatchObject({ tailProbes: 1, timeouts: 0 });
    s.at(80 + PTO + 199.9).sendsNothing();
    s.at(80 + PTO + 200);
    expect(s.counters).toMatchObject({ tailProbes: 1, timeouts: 1 });
  });

  it('new data rather than old, when the peer takes it', () => {
    const s = flying(500).at(80 + PTO);
    s.sends([{ seq: at(10), len: 500 }]);
    // Which needs no proof that it was of use.
    s.receives(ack(10));
    expect(s.connection.snd.tlp.out).toBe(true);
    s.receives({ seq: 1, ack: at(10) + 500 });
    expect(s.connection.snd.tlp.out).toBe(false);
    expect(s.counters.retransmits).toBe(0);
  });

  it('no new data beyond the window of the peer', () => {
    const s = slow({ scale: 0, win: 5000 }).writes(7000);
    expect(s.sent()).toHaveLength(5);
    s.at(RTT + PTO).sends([{ seq: 4001, len: 1000 }]);
  });

  it('the loss of a tail is repaired by SACK, not by a timeout', () => {
    const s = flying().at(120).receives(ack(7));
    s.at(120 + PTO).sends([again(9)]);
    s.after(RTT)
      .receives(ack(7, [9, 10]))
      .after(10)
      .sends([again(7), again(8)]);
    expect(s.counters).toMatchObject({ timeouts: 0, tailProbes: 1 });
  });

  it('a single segment waits for a delayed acknowledgment too, at most for the retransmission timer', () => {
    const s = slow().writes(100).skips();
    s.at(239.9)
      .sendsNothing()
      .at(240)
      .sends([{ seq: 1, len: 100 }]);
    expect(s.counters).toMatchObject({ tailProbes: 1, timeouts: 0 });
    s.at(440).sends([{ seq: 1, len: 100 }]);
    expect(s.counters).toMatchObject({ tailProbes: 1, timeouts: 1 });
  });

  it('before the first sample: a second', () => {
    const s = established({}, SACK);
    s.connection.snd.rtt.samples = 0;
    s.connection.snd.rtt.restart();
    s.writes(5000).skips().at(999).sendsNothing().at(1000);
    expect(s.counters.tailProbes).toBe(1);
  });

  it('FIN is probed with the end of the text', () => {
    flying()
      .closes()
      .sends([{ seq: at(10), len: 0, fin: true }])
      .at(80 + PTO)
      .sends([{ seq: at(9) + 1, len: 999, psh: true, fin: true }]);
  });

  it('a probe that made good a loss counts as congestion (section 7.4.2)', () => {
    const s = flying().at(80 + PTO);
    s.after(RTT).receives(ack(10));
    expect(s.connection.snd.tlp.out).toBe(true);
    const { cwnd } = s.connection.info();
    s.writes(1000)
      .after(RTT)
      .receives({ seq: 1, ack: at(11) });
    expect(s.connection.info().cwnd).toBeLessThan(cwnd);
    expect(s.connection.snd.tlp.out).toBe(false);
  });

  it('a probe that was needless does not: D-SACK, also within the second block, or the acknowledgment again', () => {
    const answers: Seg[] = [
      { seq: 1, ack: at(10), sack: [[at(9), at(10)]] },
      { seq: 1, ack: at(10) },
    ];
    for (const answer of answers) {
      const s = flying().at(80 + PTO);
      const { cwnd } = s.connection.info();
      s.receives({ seq: 1, ack: at(10) }, answer);
      expect(s.connection.snd.tlp.out).toBe(false);
      s.writes(1000).receives({ seq: 1, ack: at(11) });
      expect(s.connection.info().cwnd).toBeGreaterThanOrEqual(cwnd);
    }
  });

  it('waits while the link takes nothing', () => {
    const s = flying();
    s.connection.holdOutput = true;
    s.at(170).sendsNothing();
    expect(s.counters.tailProbes).toBe(0);
    s.connection.holdOutput = false;
    s.at(210);
    expect(s.counters.tailProbes).toBe(1);
  });

  it('is for peers with SACK', () => {
    established({}, { mss: 1000 }).writes(3000).skips().at(199).sendsNothing();
  });
});
