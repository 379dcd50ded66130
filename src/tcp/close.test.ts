import { describe, expect, it } from 'vitest';
import type { Script } from './script.testutil.js';
import { established, USUAL } from './script.testutil.js';

describe('closing', () => {
  it('we close first: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT, CLOSED (figure 12)', () => {
    const s = established({ timeWait: 1000 })
      .closes()
      .sends([{ fin: true, seq: 1, ack: 1 }])
      .is('FIN-WAIT-1');
    s.receives({ seq: 1, ack: 2 }).is('FIN-WAIT-2').sendsNothing();
    s.receives({ seq: 1, ack: 2, fin: true })
      .sends([{ seq: 2, ack: 2 }])
      .is('TIME-WAIT')
      .tells('fin');
    s.after(999).ended(undefined).after(1).ended('closed').sendsNothing();
  });

  it('the peer closes first: CLOSE-WAIT, LAST-ACK, CLOSED', () => {
    const s = established().receives({ seq: 1, ack: 1, fin: true }).skips().closes();
    s.sends([{ fin: true, seq: 1, ack: 2 }]).is('LAST-ACK');
    s.receives({ seq: 2, ack: 2 }).sendsNothing().ended('closed');
  });

  it('FIN and the acknowledgment of ours in one segment: TIME-WAIT', () => {
    established()
      .closes()
      .skips()
      .receives({ seq: 1, ack: 2, fin: true })
      .sends([{ ack: 2 }])
      .is('TIME-WAIT');
  });

  it('both close at once: CLOSING (figure 13)', () => {
    const s = established({ timeWait: 10 })
      .closes()
      .skips()
      .receives({ seq: 1, ack: 1, fin: true })
      .is('CLOSING');
    s.sends([{ seq: 2, ack: 2 }])
      .receives({ seq: 2, ack: 2 })
      .is('TIME-WAIT')
      .after(10)
      .ended('closed');
  });

  it('FIN goes behind what is written, once', () => {
    const s = established();
    s.connection.ring.write(Buffer.from('tail'));
    s.closes()
      .sends([{ seq: 1, data: 'tail', fin: true, psh: true }])
      .closes()
      .sendsNothing();
  });

  it('FIN is sent again by the timer', () => {
    const s = established()
      .closes()
      .skips()
      .at(200)
      .sends([{ fin: true, seq: 1 }]);
    s.at(600).sends([{ fin: true, seq: 1 }]);
  });

  it('half-close: the peer goes on sending as long as it wants', () => {
    const s = established().closes().receives({ seq: 1, ack: 2 }).is('FIN-WAIT-2').skips();
    s.at(10 * 3600_000)
      .ended(undefined)
      .receives({ seq: 1, ack: 2, data: 'late' })
      .sends([{ ack: 5 }])
      .reads('late');
  });

  it('half-close: we go on sending in CLOSE-WAIT', () => {
    const s = established()
      .receives({ seq: 1, ack: 1, fin: true })
      .skips()
      .writes('answer')
      .sends([{ seq: 1, ack: 2, data: 'answer' }]);
    s.receives({ seq: 2, ack: 7 }).tells('fin', 'acknowledged').is('CLOSE-WAIT');
  });

  it('TIME-WAIT: "the only thing that can arrive is a retransmission of the remote FIN. Acknowledge it, and restart"', () => {
    const s = established({ timeWait: 1000 }).closes().receives({ seq: 1, ack: 2, fin: true }).skips();
    s.after(900)
      .receives({ seq: 1, ack: 2, fin: true })
      .sends([{ ack: 2 }]);
    s.after(900).ended(undefined).after(100).ended('closed');
  });

  it('TIME-WAIT: RST closes it', () => {
    established()
      .closes()
      .receives({ seq: 1, ack: 2, fin: true })
      .skips()
      .receives({ rst: true, seq: 2 })
      .ended('closed');
  });

  it('TIME-WAIT: dropped, for a new SYN', () => {
    const s = established().closes().receives({ seq: 1, ack: 2, fin: true }).skips();
    s.connection.drop();
    s.sendsNothing().ended('closed');
  });

  it("what was received is the application's, even when the connection is through", () => {
    const s = established().receives({ seq: 1, ack: 1, data: 'unread', fin: true }).closes().skips();
    s.receives({ seq: 8, ack: 2 }).ended(undefined).is('CLOSED');
    s.reads(3).ended(undefined).reads('ead').ended('closed').sendsNothing();
  });

  it('lingering after TIME-WAIT, and aborted then', () => {
    const s = established({ timeWait: 5 }).receives({ seq: 1, ack: 1, data: 'unread' }).closes().skips();
    s.receives({ seq: 7, ack: 2, fin: true })
      .skips()
      .after(5)
      .ended(undefined)
      .aborts()
      .sendsNothing()
      .ended('aborted');
  });
});

describe('abort and discard', () => {
  it('ABORT: "<SEQ=SND.NXT><CTL=RST>"', () => {
    established()
      .writes('abc')
      .skips()
      .aborts()
      .sends([{ rst: true, seq: 4, ack: 1 }])
      .ended('aborted');
  });

  it('ABORT in TIME-WAIT says nothing', () => {
    established()
      .closes()
      .receives({ seq: 1, ack: 2, fin: true })
      .skips()
      .aborts()
      .sendsNothing()
      .ended('aborted');
  });

  it('ABORT twice is once', () => {
    established().aborts().skips().aborts().sendsNothing().ended('aborted');
  });

  it('"if new data is received after CLOSE is called, its TCP SHOULD send a RST" (RFC 1122 section 4.2.2.13)', () => {
    const s = established().discards().sendsNothing().closes().receives({ seq: 1, ack: 2 }).skips();
    s.receives({ seq: 1, ack: 2, data: 'x' })
      .sends([{ rst: true, seq: 2, ack: 1 }])
      .ended('aborted');
  });

  it('"while received data is still pending": RST at once', () => {
    established()
      .receives({ seq: 1, ack: 1, data: 'x' })
      .skips()
      .discards()
      .sends([{ rst: true, seq: 1, ack: 2 }])
      .ended('aborted');
  });

  it('a peer that only says FIN is closed in peace', () => {
    const s = established()
      .discards()
      .closes()
      .skips()
      .receives({ seq: 1, ack: 2, fin: true })
      .sends([{ ack: 2 }])
      .is('TIME-WAIT');
    s.after(60_000).ended('closed');
  });

  it('FIN-WAIT-2 lasts 60 s when nobody reads', () => {
    const s = established().discards().closes().receives({ seq: 1, ack: 2 }).is('FIN-WAIT-2');
    s.after(59_999).ended(undefined).after(1).ended('timeout');
    const t = established().closes().receives({ seq: 1, ack: 2 }).discards();
    t.after(59_999).ended(undefined).after(1).ended('timeout');
  });
});

describe('reuse of a connection in TIME-WAIT (RFC 6191)', () => {
  const waiting = (syn = {}): Script =>
    established({}, { ...USUAL, ...syn })
      .closes()
      .receives({ seq: 1, ack: 2, fin: true, ts: [200, 0] })
      .is('TIME-WAIT');
  const may = (s: Script, seg: object): boolean => {
    let answer = false;
    s.withSegment({ syn: true, ...seg }, (segment) => {
      answer = s.connection.mayReuse(segment, s.now);
    });
    return answer;
  };

  it('a later timestamp, or a higher sequence number without', () => {
    expect(may(waiting(), { seq: -100, ts: [201, 0] })).toBe(true);
    expect(may(waiting(), { seq: 100, ts: [199, 0] })).toBe(false);
    expect(may(waiting(), { seq: 100, ts: [200, 0] })).toBe(true);
    expect(may(waiting(), { seq: 100 })).toBe(true);
    expect(may(waiting(), { seq: 2 })).toBe(false);
    expect(may(waiting(), { seq: -100 })).toBe(false);
  });

  it('only by a plain SYN, only in TIME-WAIT', () => {
    expect(may(waiting(), { seq: 100, ack: 1 })).toBe(false);
    expect(may(waiting(), { seq: 100, rst: true })).toBe(false);
    expect(may(established(), { seq: 100 })).toBe(false);
    expect(may(established().aborts(), { seq: 100 })).toBe(true);
  });
});
