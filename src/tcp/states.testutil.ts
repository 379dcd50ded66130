/** A connection in each state. */
import { established, Script, type Seg } from './script.testutil.js';
import type { TcpState } from './types.js';

export const WINDOW = 64 * 1024;
const settings = { receiveWindow: WINDOW, sendBuffer: 64 * 1024, timeWait: 5000 };

/** A way into every state, with data out and data kept before its turn where the state allows. */
export const into: Record<TcpState, (syn: Seg) => Script> = {
  CLOSED: (syn) => established(settings, syn).aborts(),
  'SYN-SENT': () => new Script(settings).connects().writes(5000),
  'SYN-RECEIVED': (syn) => new Script(settings).listens(syn).accepts().writes(5000),
  ESTABLISHED: (syn) => established(settings, syn).writes(5000).receives({ seq: 100, ack: 1, len: 50 }),
  'FIN-WAIT-1': (syn) => established(settings, syn).writes(5000).closes(),
  'FIN-WAIT-2': (syn) => established(settings, syn).closes().receives({ seq: 1, ack: 2 }),
  'CLOSE-WAIT': (syn) =>
    established(settings, syn).receives({ seq: 1, ack: 1, len: 9, fin: true }).writes(5000),
  CLOSING: (syn) => established(settings, syn).writes(5000).closes().receives({ seq: 1, ack: 1, fin: true }),
  'LAST-ACK': (syn) =>
    established(settings, syn).writes(5000).receives({ seq: 1, ack: 1, fin: true }).closes(),
  'TIME-WAIT': (syn) => established(settings, syn).closes().receives({ seq: 1, ack: 2, fin: true }),
};
