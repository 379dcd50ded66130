/**
 * The state machine as a whole: every state and every event have one outcome, and two peers that follow the table come to
 * an end whatever they do and in whatever order they do it.
 */
import { describe, expect, it } from 'vitest';
import type { Script, Seg } from './script.testutil.js';
import { nextState, TCP_STATES } from './state.js';
import { into } from './states.testutil.js';
import type { TcpState } from './types.js';

/** What can happen to a connection. Numbers are relative to what it expects. */
const EVENTS: Readonly<Record<string, (s: Script) => void>> = {
  SYN: (s) => s.receives({ syn: true, seq: nxt(s) }),
  'SYN, the first again': (s) => s.receives({ syn: true, seq: 0 }),
  'SYN+ACK': (s) => s.receives({ syn: true, seq: 0, ack: 1 }),
  RST: (s) => s.receives({ rst: true, seq: nxt(s) }),
  'RST+ACK of all': (s) => s.receives({ rst: true, seq: nxt(s), ack: all(s) }),
  'RST, elsewhere in the window': (s) => s.receives({ rst: true, seq: nxt(s) + 100 }),
  'RST, outside the window': (s) => s.receives({ rst: true, seq: nxt(s) - 100 }),
  'no ACK': (s) => s.receives({ seq: nxt(s), len: 1 }),
  'ACK of nothing new': (s) => s.receives({ seq: nxt(s), ack: una(s) }),
  'ACK of all': (s) => s.receives({ seq: nxt(s), ack: all(s) }),
  'ACK of what was never sent': (s) => s.receives({ seq: nxt(s), ack: all(s) + 9 }),
  'ACK, very old': (s) => s.receives({ seq: nxt(s), ack: una(s) - 1_000_000 }),
  text: (s) => s.receives({ seq: nxt(s), ack: una(s), len: 10 }),
  'text, too early': (s) => s.receives({ seq: nxt(s) + 300, ack: una(s), len: 10 }),
  'text, outside the window': (s) => s.receives({ seq: nxt(s) + 1_000_000, ack: una(s), len: 10 }),
  FIN: (s) => s.receives({ seq: nxt(s), ack: una(s), fin: true }),
  'FIN+ACK of all': (s) => s.receives({ seq: nxt(s), ack: all(s), fin: true }),
  close: (s) => s.closes(),
  abort: (s) => s.aborts(),
  discard: (s) => s.discards(),
  'an hour': (s) => s.after(3_600_000),
};

const nxt = ({ connection: { rcv } }: Script): number => (rcv.nxt - rcv.irs) | 0;
const una = ({ connection: { snd } }: Script): number => (snd.una - snd.iss) | 0;
const all = ({ connection: { snd } }: Script): number => (snd.nxt - snd.iss) | 0;

function name(seg: Seg): string {
  const flags = (['syn', 'fin', 'rst'] as const).filter((f) => seg[f] === true).map((f) => f.toUpperCase());
  if (seg.ack !== undefined) flags.push('ACK');
  return flags.join('+') + ((seg.len ?? 0) > 0 ? ' text' : '');
}

/** What an event leads to: the next state or the end, and what is answered. */
function outcome(state: TcpState, event: string): string {
  const s = into[state]({ mss: 1000 }).skips();
  expect(s.connection.state).toBe(state);
  const ended = s.end;
  EVENTS[event]!(s);
  const sent = s.sent().map(name);
  const counts = new Map<string, number>();
  for (const x of sent) counts.set(x, (counts.get(x) ?? 0) + 1);
  const answer = [...counts].map(([x, n]) => (n > 1 ? `${n} x ${x}` : x)).join(', ');
  const became =
    s.end !== undefined && ended === undefined ? `${s.connection.state} (${s.end})` : s.connection.state;
  return `${became === state ? '-' : became}${answer === '' ? '' : `  < ${answer}`}`;
}

describe('every state and event have one outcome', () => {
  it('as reviewed', async () => {
    const lines = TCP_STATES.flatMap((state) => [
      state,
      ...Object.keys(EVENTS).map((event) => `  ${event.padEnd(30)}${outcome(state, event)}`.trimEnd()),
      '',
    ]);
    await expect(lines.join('\n')).toMatchFileSnapshot('./fixtures/states.txt');
  });

  it('the same one each time', () => {
    for (const state of TCP_STATES)
      for (const event of Object.keys(EVENTS)) expect(outcome(state, event)).toBe(outcome(state, event));
  });
});

describe('two peers that follow the table', () => {
  type Message = 'syn' | 'syn-ack' | 'ack' | 'fin';
  interface Peer {
    readonly state: TcpState;
    /** The application has closed; our FIN was acknowledged by a message that is still on its way. */
    readonly closed: boolean;
    readonly inbox: readonly Message[];
  }
  type World = readonly [Peer, Peer];

  const key = (world: World): string =>
    world.map((p) => `${p.state} ${p.closed} ${p.inbox.join()}`).join(' | ');
  const change = (world: World, i: number, own: Partial<Peer>, ...send: Message[]): World => {
    const next = [...world] as [Peer, Peer];
    next[i] = { ...next[i]!, ...own };
    next[1 - i] = { ...next[1 - i]!, inbox: [...next[1 - i]!.inbox, ...send] };
    return next;
  };

  /** What a peer may do next: take its next message, or (once) close or open. */
  function* steps(world: World, i: number): Generator<World> {
    const { state, closed, inbox } = world[i]!;
    if (state === 'CLOSED' && inbox.length === 0 && !closed)
      yield change(world, i, { state: nextState(state, 'open') }, 'syn');
    if (!closed && (state === 'ESTABLISHED' || state === 'CLOSE-WAIT'))
      yield change(world, i, { state: nextState(state, 'close'), closed: true }, 'fin');
    if (state === 'TIME-WAIT') yield change(world, i, { state: nextState(state, 'end') });
    const [message, ...rest] = inbox;
    if (message === undefined) return;
    const own = { inbox: rest };
    const ackFin: TcpState[] = ['FIN-WAIT-1', 'CLOSING', 'LAST-ACK'];
    if (message === 'syn') {
      const event = state === 'CLOSED' ? 'listen' : 'syn';
      yield change(world, i, { ...own, state: nextState(state, event) }, 'syn-ack');
    } else if (message === 'syn-ack') {
      const event = state === 'SYN-RECEIVED' ? 'ack' : 'syn-ack';
      yield change(
        world,
        i,
        { ...own, state: nextState(state, event) },
        ...(state === 'SYN-SENT' ? ['ack' as const] : []),
      );
    } else if (message === 'fin') {
      yield change(world, i, { ...own, state: nextState(state, 'fin') }, 'ack');
    } else if (state === 'SYN-RECEIVED') {
      yield change(world, i, { ...own, state: nextState(state, 'ack') });
    } else {
      yield change(world, i, { ...own, state: ackFin.includes(state) ? nextState(state, 'ack-fin') : state });
    }
  }

  it('from every world that can be, both can come to their end; no other world stands still', () => {
    const start: World = [
      { state: 'CLOSED', closed: false, inbox: [] },
      { state: 'CLOSED', closed: false, inbox: [] },
    ];
    const seen = new Map<string, World>([[key(start), start]]);
    const before = new Map<string, Set<string>>();
    const queue = [start];
    const finished: string[] = [];
    for (let world = queue.shift(); world !== undefined; world = queue.shift()) {
      const next = [0, 1].flatMap((i) => [...steps(world, i)]);
      if (world.every((p) => p.state === 'CLOSED' && p.closed)) finished.push(key(world));
      else expect(next.length, key(world)).toBeGreaterThan(0);
      for (const w of next) {
        const id = key(w);
        before.set(id, (before.get(id) ?? new Set()).add(key(world)));
        if (seen.has(id)) continue;
        seen.set(id, w);
        queue.push(w);
        expect(seen.size).toBeLessThan(10_000);
      }
    }
    // Backwards from the ends everything is reached, and on the way every state was.
    const good = new Set(finished);
    for (const id of good) for (const b of before.get(id) ?? []) good.add(b);
    expect([...seen.keys()].filter((id) => !good.has(id))).toEqual([]);
    expect(new Set([...seen.values()].map((w) => w[0].state))).toEqual(new Set(TCP_STATES));
  });
});
