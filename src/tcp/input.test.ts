import { describe, expect, it } from 'vitest';
import { seq, type Seq } from '../core/index.js';
import { ACK, FIN, respondToUnknown, RST, SYN, type SegmentIn } from './index.js';
import { established, Script, USUAL } from './script.testutil.js';

describe('3.10.7.1 CLOSED', () => {
  const segment = (flags: number, at: number, ack: number, length: number): SegmentIn =>
    ({ flags, seq: seq(at), ack: seq(ack), length }) as SegmentIn;

  it('"An incoming segment containing a RST is discarded"', () => {
    expect(respondToUnknown(segment(RST, 1, 2, 0))).toBeUndefined();
    expect(respondToUnknown(segment(RST | ACK, 1, 2, 0))).toBeUndefined();
  });

  it('"If the ACK bit is off, sequence number zero is used, <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>"', () => {
    expect(respondToUnknown(segment(SYN | FIN, 0xffffffff, 0, 10))).toEqual({
      seq: 0,
      ack: 11,
      flags: RST | ACK,
    });
  });

  it('"If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>"', () => {
    expect(respondToUnknown(segment(ACK | FIN, 5, 77, 10))).toEqual({ seq: 77, ack: 0 as Seq, flags: RST });
  });

  it('a connection that has ended drops what still comes', () => {
    const s = established().aborts().skips();
    s.receives({ seq: 1, ack: 1, len: 10 }).sendsNothing();
    expect(s.counters.droppedClosed).toBe(1);
  });
});

describe('3.10.7.4 first, check sequence number', () => {
  it('the next text is taken', () => {
    established()
      .receives({ seq: 1, ack: 1, data: 'hello' })
      .tells('received')
      .sends([{ seq: 1, ack: 6 }])
      .reads('hello');
  });

  it('"If an incoming segment is not acceptable, an acknowledgment should be sent in reply"', () => {
    const s = established().receives({ seq: 1, ack: 1, len: 10 }).skips();
    s.receives({ seq: 1, ack: 1, len: 10 }).sends([{ seq: 1, ack: 11 }]);
    s.receives({ seq: 11 + 65536 * 16, ack: 1, len: 10 }).sends([{ seq: 1, ack: 11 }]);
    expect(s.counters.droppedOutsideWindow).toBe(2);
  });

  it('text that begins before the window loses its beginning', () => {
    const s = established()
      .receives({ seq: 1, ack: 1, data: 'hello' })
      .skips()
      .receives({ seq: 3, ack: 1, data: 'llo world' });
    s.sends([{ ack: 12 }]).reads('hello world');
  });

  it('text that ends behind the window loses its end, and FIN', () => {
    const s = established({ receiveWindow: 10 });
    s.receives({ seq: 1, ack: 1, data: 'abcdefghijklmno', fin: true })
      .sends([{ ack: 11, win: 0 }])
      .is('ESTABLISHED');
    s.reads('abcdefghij');
  });

  it('keep-alive of the peer (one byte before the window) is answered', () => {
    established()
      .receives({ seq: 0, ack: 1 })
      .sends([{ seq: 1, ack: 1 }]);
  });

  it('empty segments outside the window are answered at most ten times a second', () => {
    const s = established();
    for (let i = 0; i < 50; i++) s.receives({ seq: -5, ack: 1 });
    expect(s.sent()).toHaveLength(10);
    s.after(1000)
      .receives({ seq: -5, ack: 1 })
      .sends([{ ack: 1 }]);
  });

  it('PAWS: "If SEG.TSval < TS.Recent, the segment is not acceptable: send an acknowledgment and drop" (RFC 7323)', () => {
    const s = established({}, USUAL);
    s.receives({ seq: 1, ack: 1, data: 'a', ts: [200, 0] }).skips();
    s.receives({ seq: 2, ack: 1, data: 'b', ts: [199, 0] }).sends([{ ack: 2, ts: [0, 200] }]);
    s.receives({ seq: 2, ack: 1, data: 'c', ts: [200, 0] }).reads('ac');
    expect(s.counters.droppedOldTimestamp).toBe(1);
  });

  it('an acknowledgment that was overtaken fails PAWS without an answer', () => {
    const s = established({}, USUAL)
      .receives({ seq: 1, ack: 1, ts: [200, 0] })
      .receives({ seq: 1, ack: 1, ts: [199, 0] });
    s.sendsNothing();
  });

  it('a timestamp older than 24 days is not compared (RFC 7323 section 5.5)', () => {
    const s = established({}, USUAL)
      .receives({ seq: 1, ack: 1, data: 'a', ts: [200, 0] })
      .skips();
    s.at(25 * 24 * 3600 * 1000)
      .skips()
      .receives({ seq: 2, ack: 1, data: 'b', ts: [5, 0] })
      .reads('ab');
  });

  it('TS.Recent follows only segments at the left edge (RFC 7323 section 4.3)', () => {
    const s = established({}, USUAL);
    s.receives({ seq: 11, ack: 1, len: 10, ts: [500, 0] }).sends([{ ack: 1, ts: [0, 100] }]);
    s.receives({ seq: 1, ack: 1, len: 10, ts: [499, 0] }).sends([{ ack: 21, ts: [0, 499] }]);
  });

  it('RST is exempt from PAWS (RFC 7323 section 5.2)', () => {
    established({}, USUAL)
      .receives({ rst: true, seq: 1, ts: [1, 0] })
      .ended('reset');
  });

  it('"If the RCV.WND is zero, special allowance should be made to accept valid ACKs"', () => {
    const s = established({ receiveWindow: 4 })
      .receives({ seq: 1, ack: 1, data: 'full' })
      .sends([{ ack: 5, win: 0 }]);
    s.writes('data').skips();
    s.receives({ seq: 5, ack: 5, data: 'x' })
      .sends([{ ack: 5, win: 0 }])
      .tells('received', 'acknowledged');
  });

  it('a window probe is answered, and with the window once it is open', () => {
    const s = established({ receiveWindow: 4 }).receives({ seq: 1, ack: 1, data: 'full' }).skips();
    s.receives({ seq: 5, ack: 1, data: 'x' }).sends([{ ack: 5, win: 0 }]);
    s.reads('full').sends([{ ack: 5, win: 4 }]);
    s.receives({ seq: 5, ack: 1, data: 'x' }).sends([{ ack: 6 }]);
  });
});

describe('second, check the RST bit (RFC 5961 section 3)', () => {
  it('"If the RST bit is set and the sequence number exactly matches RCV.NXT, then reset the connection"', () => {
    established().receives({ rst: true, seq: 1 }).sendsNothing().ended('reset');
  });

  it('"in the window but not the next: send a challenge ACK"', () => {
    const s = established()
      .receives({ rst: true, seq: 2 })
      .sends([{ seq: 1, ack: 1 }])
      .is('ESTABLISHED');
    expect(s.counters.challengeAcks).toBe(1);
  });

  it('"outside the current receive window: silently discard"', () => {
    established()
      .receives({ rst: true, seq: -1 })
      .receives({ rst: true, seq: 1 << 21 })
      .sendsNothing()
      .is('ESTABLISHED');
  });

  it('what was received and not read is gone with the connection', () => {
    established()
      .receives({ seq: 1, ack: 1, len: 5000 }, { seq: 9001, ack: 1, len: 10 }, { rst: true, seq: 5001 })
      .ended('reset');
  });
});

describe('fourth, check the SYN bit (RFC 5961 section 4)', () => {
  it('"If the SYN bit is set, irrespective of the sequence number, send a challenge ACK"', () => {
    const s = established();
    s.receives({ syn: true, seq: 5 }).sends([{ seq: 1, ack: 1 }]);
    s.receives({ syn: true, seq: 5, ack: 1 })
      .sends([{ seq: 1, ack: 1 }])
      .is('ESTABLISHED');
  });

  it('challenge ACKs are limited to ten a second', () => {
    const s = established();
    for (let i = 0; i < 100; i++) s.receives({ syn: true, seq: 5 });
    expect(s.sent()).toHaveLength(10);
  });
});

describe('fifth, check the ACK field', () => {
  it('"if the ACK bit is off, drop the segment and return"', () => {
    const s = established().receives({ seq: 1, data: 'x' }).sendsNothing().tells();
    expect(s.counters.droppedNoAck).toBe(1);
  });

  it('"If the ACK acks something not yet sent, then send an ACK, drop the segment, and return"', () => {
    const s = established().writes('abc').skips().receives({ seq: 1, ack: 5, data: 'x' });
    s.sends([{ ack: 1 }]).tells();
    expect(s.counters.droppedBadAck).toBe(1);
  });

  it('"SND.UNA - MAX.SND.WND <= SEG.ACK": an ACK from long ago is blind data (RFC 5961 section 5.2)', () => {
    const s = established({}, { mss: 1460, win: 1000 }).receives({
      seq: 1,
      ack: 1 - 1001,
      data: 'x',
      win: 1000,
    });
    s.sends([{ ack: 1 }]).tells();
    s.receives({ seq: 1, ack: 1 - 1000, data: 'x', win: 1000 }).tells('received');
  });

  it('"If the ACK is a duplicate, it can be ignored": the text is not', () => {
    const s = established().writes('abc').receives({ seq: 1, ack: 4 }).skips().tells('acknowledged');
    s.receives({ seq: 1, ack: 2, data: 'x' }).reads('x');
  });

  it('the window is updated by newer segments only (SND.WL1, SND.WL2)', () => {
    const s = established().receives({ seq: 3, ack: 1, data: 'cd', win: 500 });
    expect(s.connection.info().sendWindow).toBe(500);
    s.receives({ seq: 1, ack: 1, data: 'ab', win: 900 });
    expect(s.connection.info().sendWindow).toBe(500);
    s.receives({ seq: 5, ack: 1, win: 700 });
    expect(s.connection.info().sendWindow).toBe(700);
  });
});

describe('sixth and seventh: URG and text', () => {
  it('urgent text is delivered in line (RFC 6093)', () => {
    established().receives({ seq: 1, ack: 1, data: 'now', urg: true }).reads('now');
  });

  it('text before its turn is kept and acknowledged at once, each with a duplicate ACK', () => {
    const s = established();
    s.receives({ seq: 4, ack: 1, data: 'def' }, { seq: 7, ack: 1, data: 'ghi' }).sends([
      { ack: 1 },
      { ack: 1 },
    ]);
    s.receives({ seq: 1, ack: 1, data: 'abc' })
      .sends([{ ack: 10 }])
      .tells('received')
      .reads('abcdefghi');
  });

  it('overlapping text is delivered once', () => {
    const s = established();
    s.receives(
      { seq: 4, ack: 1, data: 'def' },
      { seq: 2, ack: 1, data: 'bcdefgh' },
      { seq: 1, ack: 1, data: 'abcdef' },
    );
    s.reads('abcdefgh');
  });

  it('a super-segment is text as any other', () => {
    const s = established({}, USUAL).receives({ seq: 1, ack: 1, len: 64_000, ts: [101, 0] });
    s.sends([{ ack: 64_001 }]);
    expect(s.connection.received.bytes).toBe(64_000);
  });
});

describe('eighth, check the FIN bit', () => {
  it('"advance RCV.NXT over the FIN, and send an acknowledgment": CLOSE-WAIT', () => {
    established()
      .receives({ seq: 1, ack: 1, data: 'bye', fin: true })
      .tells('received', 'fin')
      .sends([{ ack: 5 }])
      .is('CLOSE-WAIT');
  });

  it('FIN before its turn waits, and is answered as text is', () => {
    const s = established()
      .receives({ seq: 4, ack: 1, fin: true })
      .is('ESTABLISHED')
      .sends([{ ack: 1, sack: [] }])
      .tells();
    s.receives({ seq: 1, ack: 1, data: 'abc' })
      .tells('received', 'fin')
      .sends([{ ack: 5 }])
      .is('CLOSE-WAIT')
      .reads('abc');
  });

  it('text behind the FIN is ignored', () => {
    const s = established().receives({ seq: 4, ack: 1, fin: true }, { seq: 1, ack: 1, data: 'abcdef' });
    s.reads('abc').is('CLOSE-WAIT').skips();
    s.receives({ seq: 5, ack: 1, data: 'more' });
    expect(s.connection.received.bytes).toBe(0);
    expect(s.counters.droppedAfterFin).toBe(1);
  });

  it('a FIN that comes again is acknowledged again', () => {
    established()
      .receives({ seq: 1, ack: 1, fin: true })
      .skips()
      .receives({ seq: 1, ack: 1, fin: true })
      .sends([{ ack: 2 }]);
  });
});

describe('hostile bytes in the options', () => {
  it('a zero or overlong option length ends the parse, nothing else (RFC 9293 MUST-7)', () => {
    const s = new Script();
    s.withSegment({ syn: true, seq: 0, mss: 1200, scale: 3 }, (segment) => {
      const { bytes } = segment.block.region;
      bytes[segment.header + 25] = 0;
      s.connection.listen(segment, 0);
    });
    expect(s.connection.snd.mss).toBe(1200);
    expect(s.connection.scaling).toBe(false);
  });
});
