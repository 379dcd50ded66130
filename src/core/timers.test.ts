import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Timer, Timers } from './timers.js';

const NEVER = Number.POSITIVE_INFINITY;

describe('Timers', () => {
  it('fires in order, at the time or later, once', () => {
    const timers = new Timers();
    const log: string[] = [];
    const timer = (name: string): Timer => new Timer((now) => log.push(`${name}@${now}`));
    const [a, b, c] = [timer('a'), timer('b'), timer('c')];
    timers.set(b, 20);
    timers.set(a, 10);
    timers.set(c, 30);
    expect(timers.next()).toBe(10);
    expect(timers.run(9)).toBe(0);
    expect(timers.run(25)).toBe(2);
    expect(timers.run(25)).toBe(0);
    expect(timers.run(30)).toBe(1);
    expect(log).toEqual(['a@25', 'b@25', 'c@30']);
    expect(timers.next()).toBe(NEVER);
    expect(timers.size).toBe(0);
  });

  it('moves later without touching the heap, and earlier', () => {
    const timers = new Timers();
    let fired = 0;
    const timer = new Timer(() => fired++);
    timers.set(timer, 10);
    timers.set(timer, 50);
    expect(timers.run(49)).toBe(0);
    expect(timers.next()).toBe(50);
    timers.set(timer, 5);
    expect(timers.next()).toBe(5);
    expect(timers.run(5)).toBe(1);
    expect(fired).toBe(1);
  });

  it('cancels, before and while others fire', () => {
    const timers = new Timers();
    const log: string[] = [];
    const second = new Timer(() => log.push('second'));
    const first = new Timer(() => {
      log.push('first');
      timers.cancel(second);
    });
    timers.set(first, 1);
    timers.set(second, 2);
    expect(timers.run(3)).toBe(1);
    expect(log).toEqual(['first']);
    timers.set(second, 4);
    timers.cancel(second);
    timers.cancel(second);
    expect(timers.next()).toBe(NEVER);
  });

  it('a timer that sets itself for now fires once a run', () => {
    const timers = new Timers();
    let fired = 0;
    const timer = new Timer((now) => {
      fired++;
      timers.set(timer, now);
    });
    timers.set(timer, 1);
    expect(timers.run(1)).toBe(1);
    expect(timers.run(1)).toBe(1);
    expect(fired).toBe(2);
  });

  it('one that is due and is set again by another fires at its new time', () => {
    const timers = new Timers();
    const log: string[] = [];
    const later = new Timer((now) => log.push(`later@${now}`));
    const first = new Timer(() => timers.set(later, 10));
    timers.set(first, 1);
    timers.set(later, 2);
    expect(timers.run(5)).toBe(1);
    expect(timers.run(10)).toBe(1);
    expect(log).toEqual(['later@10']);
  });

  it('stops at its limit and goes on in the next run', () => {
    const timers = new Timers();
    for (let i = 0; i < 5; i++) timers.set(new Timer(() => undefined), i);
    expect(timers.run(10, 3)).toBe(3);
    expect(timers.run(10, 3)).toBe(2);
  });

  it('agrees with a list, whatever is set, moved and cancelled', () => {
    const step = fc.tuple(
      fc.nat(30),
      fc.oneof(fc.integer({ min: 0, max: 100 }), fc.constant(NEVER)),
      fc.boolean(),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const timers = new Timers();
        const fired: number[] = [];
        const model = new Map<number, number>();
        const all = Array.from({ length: 31 }, (_, i) => new Timer(() => fired.push(i)));
        let now = 0;
        for (const [i, delta, run] of steps) {
          const at = now + delta;
          timers.set(all[i]!, at);
          if (at === NEVER) model.delete(i);
          else model.set(i, at);
          expect(timers.next()).toBe(Math.min(...model.values(), NEVER));
          if (!run) continue;
          now += 10;
          const due = [...model].filter(([, t]) => t <= now).map(([n]) => n);
          fired.length = 0;
          expect(timers.run(now)).toBe(due.length);
          expect([...fired].sort((a, b) => a - b)).toEqual(due.sort((a, b) => a - b));
          for (const n of due) model.delete(n);
        }
      }),
      { numRuns: 300 },
    );
  });
});
