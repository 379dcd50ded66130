import { describe, expect, it } from 'vitest';
import type { StackPort } from './port.js';
import { CLOCK_WRAP, LITTLE, Shares, Use, WAKE, microsOf } from './shares.js';

function fakePort(): StackPort {
  return { use: new Use(), counters: { framesIn: 0, bytesIn: 0, bytesOut: 0 } } as unknown as StackPort;
}

/** A clock that is turned by hand, and what is charged to whom. */
class Rig {
  now: number;
  readonly shares: Shares;

  constructor(start = 0) {
    this.now = start;
    this.shares = new Shares(() => this.now);
  }

  /** The port does something for `micros`, made of `frames`. */
  work(port: StackPort, micros: number, frames = 0): void {
    this.shares.pay(port);
    this.pass(micros);
    port.counters.framesIn += frames;
    this.shares.pay(undefined);
  }

  /** One works three times as long as the other. */
  crowd(greedy: StackPort, modest: StackPort): void {
    for (let i = 0; i < 20; i++) {
      this.work(greedy, 900);
      this.work(modest, 300);
    }
  }

  pass(micros: number): void {
    this.now = (this.now + micros) % CLOCK_WRAP;
  }

  /** Rounds of the event loop: each port that may go does what it wants, the others first. Returns what each had. */
  rounds(count: number, wants: ReadonlyMap<StackPort, number>): number[] {
    const had = new Map<StackPort, number>();
    for (let i = 0; i < count; i++)
      for (const [port, want] of wants) {
        if (!this.shares.mayGo(port)) continue;
        this.work(port, want);
        had.set(port, (had.get(port) ?? 0) + want);
      }
    return [...wants.keys()].map((port) => had.get(port) ?? 0);
  }
}

describe('Shares', () => {
  it('charges the time to whoever pays, also when the clock begins again', () => {
    const rig = new Rig(CLOCK_WRAP - 10);
    const [one, other] = [fakePort(), fakePort()];
    rig.shares.pay(one);
    rig.pass(30);
    rig.shares.pay(other);
    rig.pass(7);
    rig.shares.pay(undefined);
    rig.pass(500);
    rig.shares.charge(other, 3);
    expect([one.use.spent, other.use.spent]).toEqual([30, 10]);
  });

  it('forgets what was', () => {
    const rig = new Rig();
    const port = fakePort();
    rig.work(port, 1000);
    rig.pass(16_000);
    rig.work(port, 1);
    expect(port.use.recent).toBeLessThan(400);
    rig.pass(1_000_000);
    rig.work(port, 1);
    expect(port.use.recent).toBeLessThan(2);
  });

  it('lets one alone have everything, and beside others that want little', () => {
    const rig = new Rig();
    const [greedy, small] = [fakePort(), fakePort()];
    for (let i = 0; i < 100; i++) {
      rig.work(greedy, 950);
      rig.work(small, 50);
      expect(rig.shares.isOver(greedy)).toBe(false);
    }
    expect(rig.shares.quota(greedy)).toBeGreaterThan(0);
  });

  it('gives those that want all the same', () => {
    const rig = new Rig();
    const ports = Array.from({ length: 4 }, fakePort);
    const had = rig.rounds(2000, new Map(ports.map((port) => [port, 300])));
    for (const each of had) expect(each / Math.max(...had)).toBeGreaterThan(0.9);
  });

  it('gives one that takes ten times as long little more than each of the others', () => {
    const rig = new Rig();
    const [greedy, ...modest] = Array.from({ length: 4 }, fakePort) as [StackPort, ...StackPort[]];
    const wants = new Map<StackPort, number>(modest.map((port) => [port, 50]));
    wants.set(greedy, 500);
    const had = rig.rounds(5000, wants);
    expect(had[3]! / had[0]!).toBeLessThan(1.6);
    expect(had[3]! / had[0]!).toBeGreaterThan(0.7);
  });

  it('gives half of the mean to one whose bytes cost far more than those of the others', () => {
    const rig = new Rig();
    const [dear, cheap, alike] = [fakePort(), fakePort(), fakePort()];
    const had = [0, 0, 0];
    for (let i = 0; i < 5000; i++)
      for (const [k, port] of [dear, cheap, alike].entries()) {
        if (!rig.shares.mayGo(port)) continue;
        rig.work(port, 300);
        had[k]! += 300;
        port.counters.bytesIn += [600, 300_000, 100_000][k]!;
      }
    const all = had[0]! + had[1]! + had[2]!;
    expect(had[0]! / all).toBeGreaterThan(0.12);
    expect(had[0]! / all).toBeLessThan(0.2);
    expect(had[2]! / had[1]!).toBeGreaterThan(0.9);
  });

  it('looks at what a guest moves now, not at what it moved while it was alone', () => {
    const rig = new Rig();
    const [dear, cheap] = [fakePort(), fakePort()];
    for (let i = 0; i < 100; i++) {
      rig.work(dear, 1000);
      dear.counters.bytesIn += 3_000_000;
    }
    for (let i = 0; i < 6; i++) {
      rig.work(dear, 1000);
      dear.counters.bytesIn += 600;
      rig.work(cheap, 1000);
      cheap.counters.bytesIn += 3_000_000;
    }
    expect(rig.shares.isOver(dear)).toBe(true);
    expect(rig.shares.isOver(cheap)).toBe(false);
  });

  it('holds two greedy ones in check beside two others', () => {
    const rig = new Rig();
    const ports = Array.from({ length: 4 }, fakePort);
    const had = rig.rounds(5000, new Map(ports.map((port, i) => [port, i < 2 ? 50 : 500])));
    expect((had[2]! + had[3]!) / (had[0]! + had[1]!)).toBeLessThan(1.6);
  });

  it('leaves no time unused: one over its share goes on when the others do nothing', () => {
    const rig = new Rig();
    const [greedy, modest] = [fakePort(), fakePort()];
    rig.crowd(greedy, modest);
    rig.work(modest, 5);
    expect(rig.shares.isOver(greedy)).toBe(true);
    expect(rig.shares.quota(greedy)).toBe(0);
    const most = rig.shares.quota(greedy);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThan(rig.shares.quota(modest));
  });

  it('lets a link read as many frames as there is time for', () => {
    const rig = new Rig();
    const port = fakePort();
    const first = rig.shares.quota(port);
    expect(first).toBeGreaterThan(8);
    for (let i = 0; i < 20; i++) {
      rig.work(port, 1000, 10);
      rig.shares.quota(port);
    }
    expect(rig.shares.quota(port)).toBe(WAKE / 100);
    for (let i = 0; i < 30; i++) {
      rig.work(port, 10, 1000);
      rig.shares.quota(port);
    }
    expect(rig.shares.quota(port)).toBeGreaterThan(1000);
    expect(LITTLE).toBeLessThan(WAKE);
  });

  it('forgets ports that have gone', () => {
    const rig = new Rig();
    const [greedy, modest] = [fakePort(), fakePort()];
    rig.crowd(greedy, modest);
    expect(rig.shares.isOver(greedy)).toBe(true);
    rig.shares.pay(modest);
    rig.shares.forget(modest);
    rig.shares.forget(modest);
    rig.pass(1000);
    rig.shares.pay(undefined);
    expect(rig.shares.isOver(greedy)).toBe(false);
  });

  it('without a clock in microseconds takes the one in milliseconds', () => {
    const clock = {
      now: () => 1_234_567.8912,
      wall: () => 0,
      after: () => () => undefined,
      defer: () => undefined,
    };
    expect(microsOf(clock)()).toBe(234_567_000);
    expect(microsOf({ ...clock, micros: () => 5 })()).toBe(5);
  });
});
