import { describe, expect, it } from 'vitest';
import { established, type Script } from './script.testutil.js';

const MINUTE = 60_000;
const keepAlive = { idle: 10 * MINUTE, interval: MINUTE, probes: 3 };
const kept = (): Script => established({ keepAlive });
const probe = { seq: 0, ack: 1, len: 0 };

describe('keep-alive (RFC 9293 section 3.8.4, RFC 1122 section 4.2.3.6)', () => {
  it('"Keep-alive packets MUST only be sent when no data or ACK packets have been received within an interval"', () => {
    const s = kept()
      .at(9 * MINUTE)
      .receives({ seq: 1, ack: 1, len: 1 })
      .skips();
    s.at(19 * MINUTE - 1)
      .sendsNothing()
      .at(19 * MINUTE)
      .sends([{ ...probe, ack: 2 }]);
  });

  it('"This feature MUST default to off"', () => {
    established()
      .at(100 * 3600_000)
      .sendsNothing()
      .ended(undefined);
  });

  it('an answer is enough, and the silence counts anew', () => {
    const s = kept()
      .at(10 * MINUTE)
      .sends([probe])
      .receives({ seq: 1, ack: 1 });
    s.at(20 * MINUTE - 1)
      .sendsNothing()
      .at(20 * MINUTE)
      .sends([probe]);
    expect(s.counters.keepAlives).toBe(2);
  });

  it('one probe without an answer is no reason to give up, three are: RST, and the end', () => {
    const s = kept()
      .at(12 * MINUTE)
      .sends([probe, probe, probe])
      .ended(undefined);
    s.at(13 * MINUTE)
      .sends([{ rst: true, seq: 1, ack: 1 }])
      .ended('timeout');
  });

  it('answers between probes count, however short the times', () => {
    const s = established({ keepAlive: { idle: 10, interval: 1000, probes: 2 } });
    for (let i = 0; i < 10; i++) s.after(500).receives({ seq: 1, ack: 1 }).after(500);
    s.ended(undefined);
  });

  it('what is out, or waits behind a shut window, has its own timer', () => {
    const s = kept().writes('abc').skips().at(90_000).skips();
    expect(s.counters.keepAlives).toBe(0);
    s.receives({ seq: 1, ack: 4, win: 0 }).writes('d');
    for (let i = 0; i < 30; i++) s.after(MINUTE).receives({ seq: 1, ack: 4, win: 0 });
    expect(s.counters.keepAlives).toBe(0);
    s.receives({ seq: 1, ack: 4, win: 10 }).receives({ seq: 1, ack: 5 }).skips();
    s.after(25 * MINUTE);
    expect(s.counters.keepAlives).toBeGreaterThan(0);
  });

  it('ends with the connection', () => {
    const s = kept().closes().receives({ seq: 1, ack: 2, fin: true }).is('TIME-WAIT').skips();
    s.at(59_999).sendsNothing().at(60_000).ended('closed');
  });

  it('the probe of a peer is answered, with a byte or without', () => {
    established()
      .receives({ seq: 0, ack: 1 })
      .sends([{ seq: 1, ack: 1, len: 0 }])
      .receives({ seq: 0, ack: 1, len: 1 })
      .sends([{ seq: 1, ack: 1, len: 0 }]);
  });
});
