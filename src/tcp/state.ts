/**
 * The state machine of RFC 9293 section 3.3.2 as one table. What an event does besides (segments, timers, callbacks)
 * stands where the event arises; which state follows stands here alone.
 */
import type { TcpState } from './types.js';

/**
 * - `open`: the application opens actively; `listen`: a SYN came for it.
 * - `syn`: a SYN without ACK (simultaneous open); `syn-ack`: a SYN that acknowledges ours.
 * - `ack`: our SYN is acknowledged.
 * - `close`: the application writes no more. `fin`: the peer's FIN is in order. `ack-fin`: our FIN is acknowledged.
 * - `end`: RST, abort, or a timer ran out.
 */
export type TcpEvent = 'open' | 'listen' | 'syn' | 'syn-ack' | 'ack' | 'close' | 'fin' | 'ack-fin' | 'end';

export const TCP_EVENTS = [
  'open',
  'listen',
  'syn',
  'syn-ack',
  'ack',
  'close',
  'fin',
  'ack-fin',
  'end',
] as const satisfies readonly TcpEvent[];

/**
 * An event without an entry leaves the state alone. A CLOSE before the handshake is done waits for it (section 3.10.4
 * allows it in SYN-RECEIVED; in SYN-SENT a proxy needs it too: the host side may have sent its all and FIN already).
 */
const TABLE: Readonly<Record<TcpState, Readonly<Partial<Record<TcpEvent, TcpState>>>>> = {
  CLOSED: { open: 'SYN-SENT', listen: 'SYN-RECEIVED' },
  'SYN-SENT': { syn: 'SYN-RECEIVED', 'syn-ack': 'ESTABLISHED', end: 'CLOSED' },
  'SYN-RECEIVED': { ack: 'ESTABLISHED', end: 'CLOSED' },
  ESTABLISHED: { close: 'FIN-WAIT-1', fin: 'CLOSE-WAIT', end: 'CLOSED' },
  'FIN-WAIT-1': { fin: 'CLOSING', 'ack-fin': 'FIN-WAIT-2', end: 'CLOSED' },
  'FIN-WAIT-2': { fin: 'TIME-WAIT', end: 'CLOSED' },
  'CLOSE-WAIT': { close: 'LAST-ACK', end: 'CLOSED' },
  CLOSING: { 'ack-fin': 'TIME-WAIT', end: 'CLOSED' },
  'LAST-ACK': { 'ack-fin': 'CLOSED', end: 'CLOSED' },
  'TIME-WAIT': { end: 'CLOSED' },
};

export const TCP_STATES = Object.keys(TABLE) as readonly TcpState[];

/** The state that follows; the same one where the event means nothing. */
export function nextState(state: TcpState, event: TcpEvent): TcpState {
  return TABLE[state][event] ?? state;
}

/** The peer's FIN has been taken: nothing in order can follow. */
export function peerClosed(state: TcpState): boolean {
  return state === 'CLOSE-WAIT' || state === 'CLOSING' || state === 'LAST-ACK' || state === 'TIME-WAIT';
}

/** The table as text: a row per state, a column per event, `-` where the state stays. */
export function formatStateTable(): string {
  const width = 13;
  const row = (cells: readonly string[]): string =>
    cells
      .map((cell) => cell.padEnd(width))
      .join('')
      .trimEnd();
  return [
    row(['', ...TCP_EVENTS]),
    ...TCP_STATES.map((state) => row([state, ...TCP_EVENTS.map((event) => TABLE[state][event] ?? '-')])),
  ].join('\n');
}
