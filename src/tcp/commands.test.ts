/** Calls of the application (RFC 9293 section 3.10) in states where they have nothing to do. */
import { describe, expect, it } from 'vitest';
import { BlockPool, plainMemory, seq } from '../core/index.js';
import { TcpConnection } from './index.js';
import { established, Script, type Seg } from './script.testutil.js';
import { TCP_STATES } from './state.js';
import { into } from './states.testutil.js';

const SYN: Seg = { mss: 1000 };

describe('OPEN', () => {
  it.each(TCP_STATES.filter((state) => state !== 'CLOSED'))(
    '%s: "error: connection already exists": neither OPEN nor a SYN begins it anew',
    (state) => {
      const s = into[state](SYN).skips();
      s.connects().listens({ seq: 0, mss: 1460 }).sendsNothing().is(state);
    },
  );

  it('not while the application has yet to take what the last one brought', () => {
    const s = established().receives({ seq: 1, ack: 1, len: 5, fin: true }).closes();
    s.receives({ seq: 7, ack: 2 }).is('CLOSED').skips();
    s.connects().sendsNothing().reads().ended('closed');
  });

  it('accepting or refusing what does not wait does nothing', () => {
    const s = established();
    s.accepts().connection.refuse(0);
    s.sendsNothing().is('ESTABLISHED');
  });
});

describe('CLOSE, ABORT and the like', () => {
  it('CLOSED: "error: connection does not exist": nothing happens, and the owner is told nothing', () => {
    const s = established().aborts().skips();
    s.tells();
    s.closes().aborts().discards().connection.drop();
    s.connection.onTimer(0);
    s.connection.windowLimit = 1000;
    s.sendsNothing().ended('aborted').tells();
  });

  it('twice is once', () => {
    const s = established().closes().skips().closes().sendsNothing();
    s.discards().discards().sendsNothing().is('FIN-WAIT-1');
  });

  it('abort with text that nobody has taken: the text is gone, and memory is given back', () => {
    const s = established().receives({ seq: 1, ack: 1, len: 5, fin: true }).closes();
    s.receives({ seq: 7, ack: 2 }).is('CLOSED').skips();
    s.aborts().sendsNothing().ended('aborted');
  });

  it('discard after the end on the wire: what was received is thrown away', () => {
    const s = established().receives({ seq: 1, ack: 1, len: 5, fin: true }).closes();
    s.receives({ seq: 7, ack: 2 }).skips().discards().ended('closed');
  });

  it('abort of a SYN that waits for an answer refuses it', () => {
    new Script({ iss: seq(0) })
      .listens({ seq: 0 })
      .aborts()
      .sends([{ rst: true, seq: 0, ack: 1 }])
      .ended('aborted');
  });

  it.each(['SYN-SENT', 'TIME-WAIT'] as const)('abort in %s says nothing', (state) => {
    into[state](SYN).skips().aborts().sendsNothing();
  });

  it('no window is told before the handshake is done, nor after the peer closed', () => {
    for (const state of ['SYN-SENT', 'SYN-RECEIVED', 'CLOSE-WAIT', 'LAST-ACK'] as const) {
      const s = into[state](SYN).skips();
      s.connection.windowLimit = 1000;
      s.connection.windowLimit = 60_000;
      s.output();
      s.sendsNothing();
    }
  });
});

describe('a connection of its own', () => {
  it('counts for itself where no counters are given', () => {
    const owner = new Script();
    const connection = new TcpConnection(owner, {
      memory: plainMemory,
      pool: new BlockPool(plainMemory),
      mss: 1460,
      iss: seq(7),
    });
    connection.connect(0);
    expect(connection.counters.segmentsOut).toBe(1);
    expect(owner.counters.segmentsOut).toBe(0);
  });
});
