import { describe, expect, it } from 'vitest';
import { Timers } from '../core/index.js';
import type { StackPort } from './port.js';
import type { Stack } from './stack.js';
import { Throttle } from './throttle.js';

/** A throttle of 8 Mbit/s with one connection that waits, and how often it was told to go on. */
function throttled() {
  const timers = new Timers();
  const clock = { now: 0, woken: 0 };
  const stack = {
    timers,
    now: () => clock.now,
    rearm: () => undefined,
    writable: () => clock.woken++,
  } as unknown as Stack;
  const output = { blocked: false };
  const port = { held: [{}], output } as unknown as StackPort;
  return { throttle: new Throttle(stack, port, { down: 8_000_000 }, undefined), timers, clock, output };
}

describe('the timer of a throttle', () => {
  it('comes when nothing is owed any more', () => {
    const { throttle, timers, clock } = throttled();
    throttle.sent(0, 64 * 1024 + 10_000);
    throttle.arm(0);
    expect(timers.next()).toBe(10);
    clock.now = 10;
    timers.run(10);
    expect(clock.woken).toBe(1);
  });

  it('rests while the link takes nothing: it would come each millisecond for nothing', () => {
    const { throttle, timers, clock, output } = throttled();
    output.blocked = true;
    throttle.arm(0);
    clock.now = timers.next();
    timers.run(clock.now);
    expect(clock.woken).toBe(0);
    expect(timers.next()).toBe(Number.POSITIVE_INFINITY);
  });
});
