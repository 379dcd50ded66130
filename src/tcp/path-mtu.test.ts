import { describe, expect, it } from 'vitest';
import { seq, seqAdd, type Seq } from '../core/index.js';
import { MIN_PATH_MTU } from './path-mtu.js';
import { OWN_ISS, established, type Script } from './script.testutil.js';
import { into } from './states.testutil.js';

const relative = (n: number): Seq => seqAdd(seq(OWN_ISS), n);

/** Four segments of 1,460 bytes are out. */
function flying(sackPermitted = false): Script {
  return established({}, { mss: 1460, win: 65_535, sackPermitted }).writes(5840).skips();
}

describe('"fragmentation needed" (RFC 1191)', () => {
  it.each([false, true])('what is out leaves again, shorter, at once and in full (SACK: %s)', (sack) => {
    const s = flying(sack);
    const { cwnd } = s.connection.info();
    s.connection.tooBig(relative(1), 1280);
    s.output();
    s.sends([0, 1, 2, 3].map((n) => ({ seq: 1 + n * 1240, len: 1240 })).concat([{ seq: 4961, len: 880 }]));
    expect(s.connection.info()).toMatchObject({ mss: 1240, cwnd });
    // The others of that flight are quoted, too.
    for (const at of [1461, 2921, 4381]) s.connection.tooBig(relative(at), 1280);
    s.output();
    s.sendsNothing();
    s.receives({ seq: 1, ack: 5841 }).writes(2480);
    s.sends([
      { seq: 5841, len: 1240 },
      { seq: 7081, len: 1240 },
    ]);
    expect(s.counters).toMatchObject({ pathMtu: 1, icmpSoftErrors: 3, timeouts: 0 });
    expect(s.connection.info()).toMatchObject({ recovery: 'none' });
  });

  it('again, where the path is narrower still behind the first narrow link', () => {
    const s = flying();
    s.connection.tooBig(relative(1), 1280);
    s.output();
    s.skips();
    s.connection.tooBig(relative(1), 1000);
    s.output();
    expect(s.sent().map(({ len }) => len)).toEqual([960, 960, 960, 960, 960, 960, 80]);
  });

  it('takes 576 where no MTU is told, and no less than Linux would', () => {
    const untold = flying();
    untold.connection.tooBig(relative(1), 0);
    expect(untold.connection.info().mss).toBe(536);
    const crumbs = flying();
    crumbs.connection.tooBig(relative(1), 68);
    expect(crumbs.connection.info().mss).toBe(MIN_PATH_MTU - 40);
  });

  it.each(['SYN-SENT', 'SYN-RECEIVED', 'FIN-WAIT-2', 'TIME-WAIT', 'CLOSED'] as const)(
    '%s: where no text is out it is no news',
    (state) => {
      const s = into[state]({ mss: 1460 }).skips();
      for (const at of [s.connection.snd.una, s.connection.snd.nxt]) s.connection.tooBig(at, 600);
      s.output();
      s.sendsNothing().is(state);
      expect(s.counters).toMatchObject({ pathMtu: 0, icmpSoftErrors: 2 });
    },
  );

  it.each(['ESTABLISHED', 'FIN-WAIT-1', 'CLOSE-WAIT', 'CLOSING', 'LAST-ACK'] as const)(
    '%s: all that is out leaves again, the FIN too',
    (state) => {
      const s = into[state]({ mss: 1460 }).skips();
      const out = s.connection.snd.flight;
      s.connection.tooBig(s.connection.snd.una, 1000);
      s.output();
      const again = s.sent();
      const fin = again.some((segment) => segment.fin === true) ? 1 : 0;
      expect(again.reduce((sum, { len = 0 }) => sum + len, fin)).toBe(out);
      expect(Math.max(...again.map(({ len = 0 }) => len))).toBe(960);
      s.is(state);
    },
  );

  it('about what is not out, or no longer than the path says, changes nothing', () => {
    const s = flying();
    for (const [at, mtu] of [
      [0, 1280],
      [5841, 1280],
      [1, 1500],
      [1, 9000],
    ] as const)
      s.connection.tooBig(relative(at), mtu);
    s.output();
    s.sendsNothing();
    expect(s.counters).toMatchObject({ pathMtu: 0, icmpSoftErrors: 4 });
    expect(s.connection.info().mss).toBe(1460);
  });
});
