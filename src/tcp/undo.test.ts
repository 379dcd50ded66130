import { describe, expect, it } from 'vitest';
import { NetSim } from './netsim.testutil.js';
import { Script, type Seg } from './script.testutil.js';

const RTT = 40;
const at = (n: number): number => 1 + n * 988;

/** Ten segments of 988 bytes left at 40 ms, with timestamps and SACK; CWND is 9880. */
function flying(syn: Seg = {}): Script {
  const s = new Script({ congestion: 'newreno' }).listens({
    mss: 1000,
    scale: 7,
    sackPermitted: true,
    ts: [1, 0],
    ...syn,
  });
  s.accepts()
    .at(RTT)
    .receives({ seq: 1, ack: 1, ts: [2, 0] });
  return s.writes(9880).skips();
}

/** Without the tail loss probe, so that the timer is next. */
function silent(s: Script): Script {
  s.connection.snd.tlp.out = true;
  s.connection.snd.lossAt = Number.POSITIVE_INFINITY;
  return s;
}

const window = (s: Script): number => s.connection.info().cwnd;

describe('a timeout that was none (RFC 3522, 5682, 4015)', () => {
  it('the acknowledgment echoes the first transmission: nothing was lost, all is as it was', () => {
    const s = silent(flying())
      .at(240)
      .sends([{ seq: 1, len: 988 }]);
    expect(window(s)).toBe(988);
    s.at(250)
      .receives({ seq: 1, ack: at(1), ts: [3, 40] })
      .sendsNothing();
    expect(window(s)).toBeGreaterThanOrEqual(9880);
    expect(s.connection.info()).toMatchObject({ recovery: 'none' });
    expect(s.counters).toMatchObject({ timeouts: 1, undone: 1, retransmits: 1 });
  });

  it('the acknowledgment echoes the second transmission: it was lost', () => {
    const s = silent(flying()).at(240).skips();
    s.at(250).receives({ seq: 1, ack: at(1), ts: [3, 240] });
    expect(s.sent().map((x) => x.seq)).toEqual([at(1), at(2)]);
    expect(s.counters.undone).toBe(0);
  });

  it('without timestamps: what left before the timeout arrives, and was not sent again (RFC 5682 section 3)', () => {
    const s = silent(flying({ ts: undefined } as never))
      .at(240)
      .skips();
    expect(s.connection.timestamps).toBe(false);
    s.at(250).receives({ seq: 1, ack: 2001 }).sendsNothing();
    expect(s.counters.undone).toBe(1);
    expect(s.connection.info().recovery).toBe('none');
  });

  it('the same by SACK', () => {
    const s = silent(flying()).at(240).skips();
    s.at(250).receives({ seq: 1, ack: 1, ts: [3, 40], sack: [[at(4), at(5)]] });
    expect(s.counters.undone).toBe(1);
    expect(window(s)).toBeGreaterThanOrEqual(9880);
    // What did not arrive is looked for anew.
    s.at(310);
    expect(s.sent()[0]).toMatchObject({ seq: at(1) });
  });

  it('in recovery the timer waits for what was lost before: an arrival proves nothing', () => {
    const s = flying()
      .at(80)
      .receives({ seq: 1, ack: 1, ts: [3, 40], sack: [[at(1), at(5)]] });
    s.at(285).skips();
    expect(s.counters.timeouts).toBe(1);
    s.receives({ seq: 1, ack: 1, ts: [4, 40], sack: [[at(1), at(6)]] });
    expect(s.counters.undone).toBe(0);
  });

  it('without SACK an arrival proves nothing: the peer may have held it all along', () => {
    const s = silent(flying({ sackPermitted: false, ts: undefined } as never))
      .at(240)
      .skips();
    s.at(250).receives({ seq: 1, ack: 5001 });
    expect(s.counters.undone).toBe(0);
  });

  it('a path that stands still for half a second goes on at its old speed', () => {
    const sim = new NetSim({
      client: { send: 6_000_000 },
      server: { tcp: { receiveWindow: 100_000 } },
      channel: { delay: 20, rate: 5000, queue: 4_000_000 },
    });
    sim.at(1000, () => {
      sim.client.stall(1500);
    });
    sim.run();
    expect(sim.server.got).toBe(6_000_000);
    expect(sim.client.counters.undone).toBeGreaterThan(0);
    expect(sim.client.counters.retransmits).toBeLessThan(20);
  });
});

describe('a loss that was none', () => {
  const lost = (): Script =>
    flying()
      .at(80)
      .receives({ seq: 1, ack: 1, ts: [3, 40], sack: [[at(1), at(4)]] });

  it('the acknowledgment echoes the first transmission (RFC 3522): late, not lost', () => {
    const s = lost().sends([{ seq: 1 }]);
    expect(s.connection.info().recovery).toBe('fast');
    s.at(90).receives({ seq: 1, ack: at(4), ts: [4, 40] });
    expect(s.connection.info()).toMatchObject({ recovery: 'none' });
    expect(window(s)).toBeGreaterThanOrEqual(9880);
    expect(s.counters.undone).toBe(1);
    expect(s.connection.snd.recovery.rack.reorders).toBe(true);
  });

  it('a repeated retransmission hides which transmission arrived', () => {
    const s = lost().skips();
    const { sent } = s.connection.snd.recovery;
    sent.head!.often = true;
    s.at(90).receives({ seq: 1, ack: at(4), ts: [4, 40] });
    expect(s.counters.undone).toBe(0);
  });

  it('every retransmission is reported as a duplicate (RFC 3708): the window is given back', () => {
    const s = lost().skips();
    s.at(120).receives({ seq: 1, ack: at(10), ts: [4, 80] });
    expect(window(s)).toBeLessThan(9880);
    s.receives({ seq: 1, ack: at(10), ts: [5, 80], sack: [[at(0), at(1)]] });
    expect(s.counters.undone).toBe(1);
    expect(window(s)).toBeGreaterThanOrEqual(9880);
    // Once.
    s.receives({ seq: 1, ack: at(10), ts: [5, 80], sack: [[at(0), at(1)]] });
    expect(s.counters.undone).toBe(1);
  });

  it('a duplicate of something older, or only a part, gives nothing back', () => {
    const s = flying()
      .at(80)
      .receives({ seq: 1, ack: at(2), ts: [3, 40], sack: [[at(4), at(8)]] });
    expect(s.sent()).toHaveLength(2);
    s.at(120).receives({ seq: 1, ack: at(10), ts: [4, 80] });
    s.receives({ seq: 1, ack: at(10), ts: [5, 80], sack: [[at(0), at(1)]] });
    s.receives({ seq: 1, ack: at(10), ts: [5, 80], sack: [[at(2), at(3)]] });
    expect(s.counters.undone).toBe(0);
  });

  it('not when the peer told of congestion meanwhile', () => {
    const s = new Script({ congestion: 'newreno' }).listens({
      mss: 1000,
      sackPermitted: true,
      ece: true,
      cwr: true,
    });
    s.accepts().at(RTT).receives({ seq: 1, ack: 1 }).writes(10_000);
    s.at(80).receives({ seq: 1, ack: 1, sack: [[1001, 4001]] });
    s.at(120).receives({ seq: 1, ack: 10_001 }).writes(1000);
    s.at(160)
      .receives({ seq: 1, ack: 10_501, ece: true })
      .receives({ seq: 1, ack: 11_001, sack: [[1, 1001]] });
    expect(s.counters).toMatchObject({ undone: 0, ecnReductions: 1 });
  });
});
