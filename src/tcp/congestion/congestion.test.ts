import { describe, expect, it } from 'vitest';
import type { CongestionController } from './controller.js';
import { Cubic } from './cubic.js';
import { NewReno } from './newreno.js';

const MSS = 1000;
const started = <T extends CongestionController>(control: T): T => {
  control.start(MSS);
  return control;
};

/** A flow that fills its window: each round trip all of it is acknowledged, in sixteen acknowledgments. */
function rounds(control: CongestionController, n: number, rtt: number, from: number): number {
  let now = from;
  for (let i = 0; i < n; i++) {
    now += rtt;
    const window = control.cwnd;
    for (let j = 0; j < 16; j++) {
      control.sample(rtt, now);
      control.acked(window / 16, window, now);
    }
  }
  return now;
}

describe('NewReno (RFC 5681)', () => {
  it('the initial window (RFC 6928 section 2)', () => {
    for (const [mss, window] of [
      [500, 5000],
      [1460, 14_600],
      [2000, 14_600],
      [9000, 18_000],
    ] as const) {
      const control = new NewReno();
      control.start(mss);
      expect(control.cwnd).toBe(window);
    }
  });

  it('congestion avoidance: a segment a round trip', () => {
    const control = new NewReno();
    control.start(1000);
    control.loss(20_000, 0);
    expect(control.cwnd).toBe(10_000);
    for (let i = 0; i < 10; i++) control.acked(1000, 10_000, 0);
    expect(control.cwnd).toBe(11_000);
  });

  it('slow start ends at ssthresh', () => {
    const control = new NewReno();
    control.start(1000);
    control.timeout(20_000, false, 0);
    expect([control.cwnd, control.ssthresh]).toEqual([1000, 10_000]);
    control.timeout(1000, true, 0);
    expect(control.ssthresh).toBe(10_000);
    control.acked(50_000, 50_000, 0);
    expect(control.cwnd).toBe(10_000);
  });

  it('a window that is not used does not grow', () => {
    const control = new NewReno();
    control.start(1000);
    control.acked(1000, 1000, 0);
    expect(control.cwnd).toBe(10_000);
  });
});

describe('what was no loss is undone', () => {
  for (const make of [() => new NewReno(), () => new Cubic()])
    it(make().name, () => {
      const control = started(make());
      control.acked(10_000, 10_000, 0);
      control.timeout(20_000, false, 10);
      control.timeout(20_000, true, 10);
      expect(control.cwnd).toBe(MSS);
      control.undo(20);
      expect([control.cwnd, control.ssthresh]).toEqual([20_000, Number.POSITIVE_INFINITY]);
      control.loss(20_000, 30);
      control.undo(40);
      expect([control.cwnd, control.ssthresh]).toEqual([20_000, Number.POSITIVE_INFINITY]);
    });
});

describe('CUBIC (RFC 9438)', () => {
  /** A flow of 100 segments that has just lost one. */
  function lost(): Cubic {
    const control = started(new Cubic());
    control.cwnd = 100 * MSS;
    control.ssthresh = 1;
    control.loss(100 * MSS, 0);
    control.recovered(100 * MSS, 0);
    return control;
  }

  it('"ssthresh = flight_size * beta_cubic" (section 4.6), two segments at least', () => {
    const control = lost();
    expect([control.cwnd, control.ssthresh]).toEqual([70_000, 70_000]);
    control.loss(1000, 10);
    expect(control.cwnd).toBe(2000);
  });

  it('reaches W_max after K = cbrt((W_max - cwnd) / C) seconds, flat around it, then probes (section 4.2)', () => {
    const control = lost();
    // A long round trip: the Reno estimate stays below.
    const k = Math.cbrt(30 / 0.4);
    let now = 0;
    const at: number[] = [];
    while (now < 8000) {
      now = rounds(control, 1, 250, now);
      at.push(control.cwnd / MSS);
    }
    const window = (seconds: number): number => at[Math.round(seconds * 4) - 1]!;
    expect(k).toBeCloseTo(4.2, 1);
    expect(window(1)).toBeGreaterThan(80);
    expect(window(1)).toBeLessThan(90);
    expect(Math.abs(window(4.25) - 100)).toBeLessThan(3);
    expect(window(4.5) - window(4)).toBeLessThan(1);
    expect(window(8)).toBeGreaterThan(115);
    expect(at).toEqual([...at].sort((a, b) => a - b));
  });

  it('a short round trip: grows as a Reno flow would, by alpha, then by one segment (section 4.3)', () => {
    const control = lost();
    rounds(control, 10, 1, 0);
    // 3 * (1 - 0.7) / (1 + 0.7) = 0.53 of a segment a round trip.
    expect(control.cwnd / MSS - 70).toBeCloseTo(5.2, 0);
    const now = rounds(control, 90, 1, 10);
    const before = control.cwnd;
    expect(before).toBeGreaterThan(100 * MSS);
    rounds(control, 10, 1, now);
    expect((control.cwnd - before) / MSS).toBeCloseTo(10, 0);
  });

  it('fast convergence: a flow that lost below its old window goes lower (section 4.7)', () => {
    const control = lost();
    let now = rounds(control, 2, 250, 0);
    const { cwnd } = control;
    control.loss(cwnd, now);
    control.recovered(cwnd, now);
    // (cwnd * 1.7) / 2 is the new plateau.
    const plateau = (cwnd * 1.7) / 2;
    const k = Math.cbrt((plateau - control.cwnd) / MSS / 0.4);
    now = rounds(control, Math.round((k * 1000) / 250), 250, now);
    expect(Math.abs(control.cwnd - plateau) / MSS).toBeLessThan(3);
  });

  it('after a timeout the curve begins where congestion avoidance does (section 4.8)', () => {
    const control = started(new Cubic());
    control.cwnd = 100 * MSS;
    control.timeout(100 * MSS, false, 0);
    expect([control.cwnd, control.ssthresh]).toEqual([1000, 70_000]);
    let now = 0;
    while (control.cwnd < 70_000) now = rounds(control, 1, 250, now);
    rounds(control, 4, 250, now);
    // C * 1 s cubed is less than half a segment; the Reno estimate is two.
    expect(control.cwnd / MSS).toBeCloseTo(72.2, 0);
  });

  it('grows by half of the window a round trip at most (section 4.4)', () => {
    const control = lost();
    rounds(control, 1, 250, 0);
    let now = 100_000;
    for (let i = 0; i < 10; i++) {
      const before = control.cwnd;
      now = rounds(control, 1, 250, now);
      expect(control.cwnd).toBeLessThanOrEqual(before * 1.6);
    }
  });

  it('time in which the window was not used does not count (section 5.8)', () => {
    const control = lost();
    let now = rounds(control, 4, 250, 0);
    const { cwnd } = control;
    for (; now < 60_000; now += 100) control.acked(1000, 1000, now);
    now = rounds(control, 1, 250, now);
    expect(control.cwnd - cwnd).toBeLessThan(5 * MSS);
    control.idle(now);
    expect(control.cwnd).toBe(10_000);
  });

  it('a window far below its plateau needs no loss to begin', () => {
    const control = started(new Cubic());
    control.ssthresh = 5000;
    rounds(control, 10, 20, 0);
    expect(control.cwnd).toBeGreaterThan(10_000);
  });
});

describe('HyStart++ (RFC 9406)', () => {
  /** Doubles as slow start does, with these round trips; returns the window after each. */
  function slowStart(rtts: readonly number[]): { windows: number[]; control: NewReno } {
    const control = started(new NewReno());
    let now = 0;
    const windows = rtts.map((rtt) => {
      now = rounds(control, 1, rtt, now);
      return control.cwnd / MSS;
    });
    return { windows, control };
  }

  it('round trips that stay: slow start doubles', () => {
    expect(slowStart([20, 20, 20, 20]).windows).toEqual([20, 40, 80, 160]);
  });

  it('round trips that grow by 4 ms: a quarter as fast, and an end after five rounds', () => {
    const { windows, control } = slowStart([20, 20, 24, 24, 24, 24, 24, 24, 24]);
    expect(windows[1]).toBe(40);
    expect(windows[2]).toBeLessThan(80);
    expect(windows[4]! / windows[3]!).toBeLessThan(1.3);
    expect(control.ssthresh).toBeLessThan(Number.POSITIVE_INFINITY);
    expect(control.ssthresh).toBeLessThanOrEqual(control.cwnd);
  });

  it('less than an eighth of a long round trip, or less than 4 ms, is noise; 16 ms never are', () => {
    expect(slowStart([80, 80, 89]).windows[2]).toBe(80);
    expect(slowStart([1, 1, 4]).windows[2]).toBe(80);
    expect(slowStart([400, 400, 416]).windows[2]).toBeLessThan(80);
  });

  it('round trips that shrink again: it was no queue, slow start goes on', () => {
    const { windows, control } = slowStart([20, 20, 30, 20, 20, 20]);
    expect(windows[2]).toBeLessThan(80);
    expect(windows[5]! / windows[4]!).toBe(2);
    expect(control.ssthresh).toBe(Number.POSITIVE_INFINITY);
  });

  it('is for the first slow start only', () => {
    const control = started(new NewReno());
    control.timeout(100_000, false, 0);
    let now = 0;
    for (const rtt of [20, 20, 40]) now = rounds(control, 1, rtt, now);
    expect(control.cwnd).toBe(8000);
  });
});
