import { describe, expect, it } from 'vitest';
import { formatStateTable, nextState, peerClosed, TCP_EVENTS, TCP_STATES } from './state.js';

describe('the state table (RFC 9293 section 3.3.2)', () => {
  it('reads as the RFC draws it', () => {
    expect(formatStateTable()).toMatchInlineSnapshot(`
      "             open         listen       syn          syn-ack      ack          close        fin          ack-fin      end
      CLOSED       SYN-SENT     SYN-RECEIVED -            -            -            -            -            -            -
      SYN-SENT     -            -            SYN-RECEIVED ESTABLISHED  -            -            -            -            CLOSED
      SYN-RECEIVED -            -            -            -            ESTABLISHED  -            -            -            CLOSED
      ESTABLISHED  -            -            -            -            -            FIN-WAIT-1   CLOSE-WAIT   -            CLOSED
      FIN-WAIT-1   -            -            -            -            -            -            CLOSING      FIN-WAIT-2   CLOSED
      FIN-WAIT-2   -            -            -            -            -            -            TIME-WAIT    -            CLOSED
      CLOSE-WAIT   -            -            -            -            -            LAST-ACK     -            -            CLOSED
      CLOSING      -            -            -            -            -            -            -            TIME-WAIT    CLOSED
      LAST-ACK     -            -            -            -            -            -            -            CLOSED       CLOSED
      TIME-WAIT    -            -            -            -            -            -            -            -            CLOSED"
    `);
  });

  it('every state and event has one outcome that is a state', () => {
    expect(TCP_STATES).toHaveLength(10);
    for (const state of TCP_STATES)
      for (const event of TCP_EVENTS) expect(TCP_STATES).toContain(nextState(state, event));
  });

  it('from every state there is an end, and only CLOSED begins', () => {
    for (const state of TCP_STATES) expect(nextState(state, 'end')).toBe('CLOSED');
    for (const state of TCP_STATES.filter((s) => s !== 'CLOSED')) {
      expect(nextState(state, 'open')).toBe(state);
      expect(nextState(state, 'listen')).toBe(state);
    }
  });

  it('a FIN is taken once', () => {
    for (const state of TCP_STATES.filter(peerClosed)) expect(nextState(state, 'fin')).toBe(state);
  });
});
