import { describe, expect, it } from 'vitest';
import { seq } from '../core/index.js';
import { OWN_ISS, Script, USUAL } from './script.testutil.js';
import { into } from './states.testutil.js';

const syn = { syn: true, seq: 0 } as const;

describe('passive open, connect first', () => {
  it('sends nothing before the application accepts', () => {
    new Script().at(0).listens(USUAL).at(5000).sendsNothing().is('SYN-RECEIVED').ended(undefined);
  });

  it('answers with what both sides can', () => {
    new Script({ timestampOffset: 7 })
      .at(10)
      .listens(USUAL)
      .accepts()
      .sends([
        { syn: true, seq: 0, ack: 1, win: 65535, mss: 1460, scale: 5, sackPermitted: true, ts: [17, 100] },
      ])
      .receives({ seq: 1, ack: 1, ts: [101, 17] })
      .is('ESTABLISHED')
      .tells('established')
      .sendsNothing();
  });

  it('offers no option that the peer did not (RFC 7323 section 2.2, RFC 2018 section 2)', () => {
    const s = new Script().listens({ mss: 1000 }).accepts();
    const [answer] = s.sent();
    expect(answer).toMatchObject({ syn: true, ack: 1, sackPermitted: false });
    expect(answer!.scale).toBeUndefined();
    expect(answer!.ts).toBeUndefined();
  });

  it('offers nothing that the settings forbid', () => {
    const s = new Script({ timestamps: false, sack: false, windowScaling: false }).listens(USUAL).accepts();
    const [answer] = s.sent();
    expect([answer!.scale, answer!.ts, answer!.sackPermitted]).toEqual([undefined, undefined, false]);
  });

  it('ignores the SYN that comes again while the dial is under way', () => {
    const s = new Script()
      .listens(USUAL)
      .receives({ ...syn, ...USUAL })
      .sendsNothing()
      .ended(undefined);
    expect(s.counters.droppedWaiting).toBe(1);
  });

  it('ends by RST, so that the dial is cancelled', () => {
    new Script().listens(USUAL).receives({ rst: true, seq: 1 }).sendsNothing().ended('reset');
    new Script().listens(USUAL).receives({ rst: true, seq: 0 }).ended('reset');
    new Script().listens(USUAL).receives({ rst: true, seq: 2 }).ended(undefined);
  });

  it('ends by another SYN: the peer has begun anew', () => {
    new Script().listens(USUAL).receives({ syn: true, seq: 77 }).sendsNothing().ended('reset');
  });

  it('"any acknowledgment is bad if it arrives on a connection still in the LISTEN state": RST', () => {
    new Script()
      .listens(USUAL)
      .receives({ seq: 1, ack: 9 })
      .sends([{ rst: true, seq: 9 }])
      .is('SYN-RECEIVED');
  });

  it('refuses with RST|ACK for the SYN', () => {
    const s = new Script({ iss: 0 as never }).listens(USUAL);
    s.connection.refuse(0);
    s.sends([{ rst: true, seq: 0, ack: 1 }]).ended('aborted');
  });

  it('drops without a word', () => {
    const s = new Script().listens(USUAL);
    s.connection.drop();
    s.sendsNothing().ended('aborted');
  });

  it('takes no text from the SYN: it is acknowledged only once sent again', () => {
    new Script()
      .listens({ ...USUAL, data: 'early' })
      .accepts()
      .sends([{ syn: true, ack: 1 }])
      .receives({ seq: 1, ack: 1, data: 'early', ts: [101, 0] })
      .sends([{ ack: 6 }])
      .reads('early');
  });

  it('sends SYN-ACK again after 1, 2, 4, 8, 16 s and gives up (RFC 6298 sections 2.1 and 5.5)', () => {
    const s = new Script().listens(USUAL).accepts().skips();
    for (const at of [1000, 3000, 7000, 15_000, 31_000])
      s.at(at - 1)
        .sendsNothing()
        .at(at)
        .sends([{ syn: true, seq: 0, ack: 1 }]);
    s.at(62_999).ended(undefined).at(63_000).sendsNothing().ended('timeout');
  });

  it('sends SYN-ACK again when the SYN comes again', () => {
    new Script()
      .listens(USUAL)
      .accepts()
      .skips()
      .receives({ ...syn, ...USUAL })
      .sends([{ syn: true, seq: 0, ack: 1 }]);
  });

  it('SYN-RECEIVED: "If the segment acknowledgment is not acceptable, form a reset segment"', () => {
    new Script()
      .listens({})
      .accepts()
      .skips()
      .receives({ seq: 1, ack: 5 })
      .sends([{ rst: true, seq: 5 }])
      .is('SYN-RECEIVED');
  });

  it('SYN-RECEIVED: "If an incoming segment is not acceptable, an acknowledgment should be sent in reply"', () => {
    const s = new Script().listens({}).accepts().skips();
    s.receives({ seq: 1_000_000, ack: 1, len: 10 }).sends([{ seq: 1, ack: 1, len: 0 }]);
    s.is('SYN-RECEIVED').receives({ seq: 1, ack: 1, len: 10 }).is('ESTABLISHED');
  });

  it('SYN-RECEIVED: RST ends it', () => {
    new Script().listens({}).accepts().skips().receives({ rst: true, seq: 1 }).sendsNothing().ended('reset');
  });

  it('SYN-RECEIVED: the ACK of the handshake may bring text and FIN', () => {
    new Script()
      .listens({})
      .accepts()
      .skips()
      .receives({ seq: 1, ack: 1, data: 'all', fin: true })
      .tells('established', 'received', 'fin')
      .sends([{ ack: 5 }])
      .is('CLOSE-WAIT');
  });

  it('abort in SYN-RECEIVED sends RST', () => {
    new Script()
      .listens({})
      .accepts()
      .skips()
      .aborts()
      .sends([{ rst: true, seq: 1, ack: 1 }])
      .ended('aborted');
  });

  it('close before the handshake is done waits for it', () => {
    new Script()
      .listens({})
      .accepts()
      .skips()
      .closes()
      .sendsNothing()
      .receives({ seq: 1, ack: 1 })
      .is('FIN-WAIT-1')
      .sends([{ fin: true, seq: 1, ack: 1 }]);
  });
});

describe('active open', () => {
  it('sends SYN with every option, and ACK for the SYN-ACK', () => {
    new Script()
      .connects()
      .sends([{ syn: true, seq: 0, mss: 1460, scale: 5, sackPermitted: true, ts: [0, 0], win: 65535 }])
      .at(10)
      .receives({ syn: true, seq: 0, ack: 1, ...USUAL, ts: [100, 0] })
      .tells('established')
      .sends([{ seq: 1, ack: 1, ts: [10, 100] }])
      .is('ESTABLISHED');
  });

  it('sends SYN again six times and gives up', () => {
    const s = new Script().connects().skips();
    for (const at of [1, 3, 7, 15, 31, 63]) s.at(at * 1000).sends([{ syn: true, seq: 0 }]);
    s.at(122_999).ended(undefined).at(123_000).sendsNothing().ended('timeout');
  });

  it('"If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset"', () => {
    const s = new Script().connects().skips();
    s.receives({ seq: 5, ack: 0 }).sends([{ rst: true, seq: 0 }]);
    s.receives({ syn: true, seq: 5, ack: 2 }).sends([{ rst: true, seq: 2 }]);
    s.receives({ rst: true, seq: 5, ack: 2 }).sendsNothing().is('SYN-SENT');
  });

  it('RST with an acceptable ACK: "error: connection reset"; without ACK: dropped', () => {
    new Script().connects().skips().receives({ rst: true, seq: 0 }).sendsNothing().is('SYN-SENT');
    new Script().connects().skips().receives({ rst: true, seq: 0, ack: 1 }).sendsNothing().ended('reset');
  });

  it('neither SYN nor RST: dropped', () => {
    new Script().connects().skips().receives({ seq: 0, ack: 1 }).sendsNothing().is('SYN-SENT');
  });

  it('simultaneous open (section 3.5, figure 8)', () => {
    new Script()
      .connects()
      .skips()
      .receives({ ...syn, ...USUAL })
      .is('SYN-RECEIVED')
      .sends([{ syn: true, seq: 0, ack: 1 }])
      .receives({ syn: true, seq: 0, ack: 1, ...USUAL, win: 1000 })
      .is('ESTABLISHED')
      .tells('established');
  });

  it('the window of a SYN|ACK that ends a simultaneous open is not scaled', () => {
    const s = new Script().connects().receives({ ...syn, ...USUAL });
    s.receives({ syn: true, seq: 0, ack: 1, ...USUAL, win: 1024 });
    expect(s.connection.info().sendWindow).toBe(1024);
  });

  it('abort in SYN-SENT says nothing: there is nobody', () => {
    new Script().connects().skips().aborts().sendsNothing().ended('aborted');
  });

  it('what was written before the handshake goes out after it, and FIN behind it', () => {
    new Script()
      .connects()
      .skips()
      .writes('hello')
      .closes()
      .sendsNothing()
      .receives({ syn: true, seq: 0, ack: 1, mss: 1460 })
      .sends([{ seq: 1, ack: 1, data: 'hello', fin: true, psh: true }])
      .is('FIN-WAIT-1');
  });
});

describe('what a SYN says', () => {
  const mss = (option: number | undefined, own: number, ts = false): number => {
    const s = new Script({ mss: own }).listens({
      ...(option !== undefined && { mss: option }),
      ...(ts && { ts: [1, 0] as const }),
    });
    return s.connection.snd.mss;
  };

  it('"If an MSS Option is not received at connection setup, TCP MUST assume a default send MSS of 536"', () => {
    expect(mss(undefined, 1460)).toBe(536);
  });

  it('the effective MSS is the smaller one, less the timestamps (RFC 6691)', () => {
    expect(mss(9000, 1460)).toBe(1460);
    expect(mss(1200, 1460)).toBe(1200);
    expect(mss(1460, 1460, true)).toBe(1448);
  });

  it('an absurd MSS is raised to the floor', () => {
    expect(mss(1, 1460)).toBe(48);
    expect(mss(0, 1460)).toBe(536);
  });

  it('a shift count above 14 counts as 14 (RFC 7323 section 2.3)', () => {
    const s = new Script().listens({ scale: 15 });
    expect(s.connection.snd.scale).toBe(14);
  });

  it('"The window field in a segment where the SYN bit is set MUST NOT be scaled"', () => {
    const s = new Script().listens({ scale: 7, win: 100 });
    expect(s.connection.info().sendWindow).toBe(100);
    s.accepts().receives({ seq: 1, ack: 1, win: 100 });
    expect(s.connection.info().sendWindow).toBe(12_800);
  });

  it('a SYN that had to be sent again gives no sample but a cautious timeout (RFC 6298 section 5.7)', () => {
    const s = new Script().connects().at(1000).receives({ syn: true, seq: 0, ack: 1, mss: 1460 });
    expect(s.connection.info()).toMatchObject({ rto: 3000, srtt: 0 });
  });
});

describe('ICMP about a connection (RFC 5461, RFC 5927)', () => {
  const iss = seq(OWN_ISS);

  it('SYN-SENT: a hard error about our SYN ends the attempt', () => {
    const s = new Script().connects().skips();
    s.connection.unreachable(iss, true);
    s.sendsNothing().ended('reset');
    expect(s.counters.icmpRefusals).toBe(1);
  });

  it('SYN-SENT: not a soft one, and not one about something else', () => {
    const s = new Script().connects().skips();
    s.connection.unreachable(iss, false);
    s.connection.unreachable(seq(OWN_ISS + 1), true);
    s.is('SYN-SENT')
      .at(1000)
      .sends([{ syn: true, seq: 0 }]);
    expect(s.counters).toMatchObject({ icmpRefusals: 0, icmpSoftErrors: 2 });
  });

  it.each(['SYN-RECEIVED', 'ESTABLISHED', 'FIN-WAIT-1', 'TIME-WAIT', 'CLOSED'] as const)(
    '%s: "TCP MUST NOT abort the connection"',
    (state) => {
      const s = into[state]({ mss: 1000 }).skips();
      s.connection.unreachable(s.connection.snd.una, true);
      s.connection.unreachable(iss, true);
      s.sendsNothing().is(state);
      expect(s.counters).toMatchObject({ icmpRefusals: 0, icmpSoftErrors: 2 });
    },
  );
});
