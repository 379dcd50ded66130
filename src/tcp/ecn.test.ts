import { describe, expect, it } from 'vitest';
import { NetSim } from './netsim.testutil.js';
import { established, Script, USUAL, type Seg } from './script.testutil.js';

const ECT = 2;
const CE = 3;
const ask = { ...USUAL, ece: true, cwr: true } as const satisfies Seg;

/** A connection with ECN and without other options; the peer's window is 65535. */
const marked = (syn: Seg = {}): Script => established({}, { mss: 1000, ece: true, cwr: true, ...syn });

describe('ECN is negotiated (RFC 3168 section 6.1.1)', () => {
  it('an ECN-setup SYN is answered by an ECN-setup SYN-ACK: ECE without CWR', () => {
    const s = new Script().listens(ask).accepts();
    s.sends([{ syn: true, ack: 1, ece: true, ecn: 0 }]);
    expect(s.connection.snd.ecn).toBe(true);
  });

  it('a SYN without, or with one of the two, gets a plain answer', () => {
    for (const flags of [{}, { ece: true }, { cwr: true }])
      new Script()
        .listens({ ...USUAL, ...flags })
        .accepts()
        .sends([{ syn: true, ack: 1 }]);
  });

  it('is refused when the settings say so', () => {
    new Script({ ecn: 'off' })
      .listens(ask)
      .accepts()
      .sends([{ syn: true, ack: 1 }]);
  });

  it('a SYN that comes again without asking has been lost for asking: no ECN', () => {
    const s = new Script().listens(ask).receives({ ...USUAL, syn: true, seq: 0 });
    s.accepts().sends([{ syn: true, ack: 1 }]);
    const t = new Script().listens(ask).accepts().skips();
    t.receives({ ...ask, syn: true, seq: 0 }).sends([{ syn: true, ack: 1, ece: true }]);
    t.receives({ ...USUAL, syn: true, seq: 0 }).sends([{ syn: true, ack: 1 }]);
  });

  it('we ask only when told to, once, and take only the right answer', () => {
    new Script().connects().sends([{ syn: true }]);
    const s = new Script({ ecn: 'ask' }).connects().sends([{ syn: true, ece: true, cwr: true }]);
    s.at(1000).sends([{ syn: true }]);
    s.receives({ ...USUAL, syn: true, seq: 0, ack: 1, ece: true });
    expect(s.connection.snd.ecn).toBe(false);
    for (const [flags, agreed] of [
      [{ ece: true }, true],
      [{}, false],
      [{ ece: true, cwr: true }, false],
    ] as const) {
      const t = new Script({ ecn: 'ask' }).connects();
      t.receives({ syn: true, seq: 0, ack: 1, ...flags }).is('ESTABLISHED');
      expect(t.connection.snd.ecn).toBe(agreed);
    }
    const u = new Script().connects().receives({ syn: true, seq: 0, ack: 1, ece: true });
    expect(u.connection.snd.ecn).toBe(false);
  });

  it('not in a simultaneous open', () => {
    const s = new Script({ ecn: 'ask' }).connects().skips();
    s.receives({ syn: true, seq: 0, ece: true, cwr: true }).sends([{ syn: true, ack: 1 }]);
  });
});

describe('the receiver tells of congestion (section 6.1.3)', () => {
  const text = { seq: 1, ack: 1, len: 1000, ecn: ECT } as const;

  it('CE: ECE in every acknowledgment, data too, until CWR comes', () => {
    const s = marked()
      .receives(text)
      .sends([{ ack: 1001 }]);
    s.receives({ ...text, seq: 1001, ecn: CE }).sends([{ ack: 2001, ece: true }]);
    s.receives({ ...text, seq: 2001 }).sends([{ ack: 3001, ece: true }]);
    s.writes('x').sends([{ data: 'x', ece: true }]);
    s.receives({ ...text, seq: 3001, cwr: true }).sends([{ ack: 4001 }]);
    expect(s.counters.congestionMarksIn).toBe(1);
  });

  it('CWR on a segment that met congestion itself: ECE goes on', () => {
    const s = marked()
      .receives({ ...text, ecn: CE })
      .skips();
    s.receives({ ...text, seq: 1001, ecn: CE, cwr: true }).sends([{ ack: 2001, ece: true }]);
  });

  it('acknowledged at once, however many wait', () => {
    const s = marked();
    s.connection.rcv.quick = 0;
    s.receives({ ...text, ecn: CE }).sends([{ ack: 1001, ece: true }]);
  });

  it('a marked pure acknowledgment means nothing', () => {
    const s = marked()
      .receives({ seq: 1, ack: 1, ecn: CE })
      .writes('x')
      .sends([{ data: 'x' }]);
    expect(s.counters.congestionMarksIn).toBe(0);
  });

  it('"SHOULD ignore the ECN field on arriving data packets that are outside of the window" (section 6.1.5)', () => {
    marked()
      .receives({ ...text, seq: 1 + 2 ** 21, ecn: CE })
      .sends([{ ack: 1 }]);
  });

  it('without ECN a mark means nothing', () => {
    established()
      .receives({ ...text, ecn: CE, cwr: true })
      .sends([{ ack: 1001 }]);
  });
});

describe('the sender reacts (section 6.1.2)', () => {
  it('new data is ECT(0); acknowledgments, probes and what is sent again are not', () => {
    const s = marked()
      .writes(1000)
      .sends([{ seq: 1, ecn: ECT }]);
    s.at(200).sends([{ seq: 1, ecn: 0 }]);
    s.receives({ seq: 1, ack: 1001, win: 0 }).skips();
    s.writes(10).at(5000);
    for (const probe of s.sent()) expect(probe).toMatchObject({ len: 1, ecn: 0 });
    s.receives({ seq: 1, ack: 1001, len: 1, win: 0 }).sends([{ ack: 2, ecn: 0 }]);
  });

  it('ECE halves the window once a window of data, and CWR says so on the first new segment', () => {
    const s = marked().writes(10_000).skips();
    const cwnd = (): number => s.connection.info().cwnd;
    s.receives({ seq: 1, ack: 1001, ece: true });
    expect(cwnd()).toBe(7000);
    s.receives({ seq: 1, ack: 2001, ece: true }, { seq: 1, ack: 6001, ece: true });
    expect(cwnd()).toBe(7000);
    expect(s.counters).toMatchObject({ ecnReductions: 1, retransmits: 0 });
    s.writes(2000);
    expect(s.sent().map((x) => x.cwr)).toEqual([true, false]);
    // What was sent after the reduction meets congestion again.
    s.receives({ seq: 1, ack: 11_001, ece: true });
    expect(s.counters.ecnReductions).toBe(2);
    expect(cwnd()).toBeLessThan(6300);
  });

  it('a super-segment never says CWR', () => {
    const s = established({ gsoMax: 10_000 }, { mss: 1000, ece: true, cwr: true }).writes(5000).skips();
    s.receives({ seq: 1, ack: 1001, ece: true }).receives({ seq: 1, ack: 5001 }).writes(3000);
    s.sends([
      { seq: 5001, len: 1000, gso: 0, cwr: true },
      { seq: 6001, len: 2000, gso: 1000 },
    ]);
  });

  it('no reduction for ECE while loss is answered; CWR after a fast retransmit and a timeout too', () => {
    const s = marked().writes(10_000).skips();
    const dup = { seq: 1, ack: 1, ece: true };
    s.receives({ seq: 1, ack: 1 }, { seq: 1, ack: 1 }, { seq: 1, ack: 1 });
    expect(s.connection.info().recovery).toBe('fast');
    const { cwnd } = s.connection.info();
    s.receives(dup);
    expect(s.connection.info().cwnd).toBe(cwnd);
    expect(s.counters.ecnReductions).toBe(0);
    s.receives({ seq: 1, ack: 10_001 })
      .skips()
      .writes(1000)
      .sends([{ cwr: true }]);
    s.at(1000)
      .skips()
      .receives({ seq: 1, ack: 11_001 })
      .writes(1000)
      .sends([{ cwr: true }]);
  });

  it('ECE without ECN means nothing', () => {
    const s = established({}, { mss: 1000 }).writes(5000).skips();
    s.receives({ seq: 1, ack: 1001, ece: true })
      .writes(1000)
      .sends([{ ecn: 0 }]);
    expect(s.counters.ecnReductions).toBe(0);
  });

  it('a queue that marks instead of dropping: nothing is sent again', () => {
    const run = (ecn: 'ask' | 'off'): NetSim => {
      const sim = new NetSim({
        client: { send: 4_000_000, tcp: { ecn } },
        channel: { delay: 5, rate: 2500, queue: 200_000, markAbove: 40_000 },
      });
      sim.run();
      expect(sim.server.got).toBe(4_000_000);
      return sim;
    };
    const { client, server } = run('ask');
    expect(client.counters.ecnReductions).toBeGreaterThan(3);
    expect(server.counters.congestionMarksIn).toBeGreaterThan(3);
    expect(client.counters.retransmits).toBe(0);
    expect(run('off').client.counters.retransmits).toBeGreaterThan(0);
  });
});
