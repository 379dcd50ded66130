import { beforeEach, describe, expect, it } from 'vitest';
import type { StackPort } from './port.js';
import type { TcpEndpoint } from './tcp-endpoint.js';
import { Shares, Use } from './shares.js';
import { FLUSH_BUDGET, SHARE, SHARE_ALONE, Turn } from './turn.js';
import { Waits } from './waits.js';

/** A port as the turn sees it. */
function fakePort(more: object = {}): StackPort {
  const counters = { framesIn: 0, bytesIn: 0, bytesOut: 0 };
  return { use: new Use(), waits: new Waits(), counters, ...more } as unknown as StackPort;
}

/** An endpoint that has `bytes` to move. */
class Fake {
  readonly port: StackPort;
  dirty = false;
  ended = false;
  moved = 0;
  shares: number[] = [];
  bytes: number;
  private readonly turn: Turn;

  constructor(turn: Turn, bytes: number, port: StackPort) {
    this.turn = turn;
    this.bytes = bytes;
    this.port = port;
  }

  process(_now: number, budget: number): boolean {
    const n = Math.min(budget, this.bytes);
    this.shares.push(budget);
    this.bytes -= n;
    this.moved += n;
    this.turn.spend(n);
    return this.bytes > 0;
  }

  get endpoint(): TcpEndpoint {
    return this as unknown as TcpEndpoint;
  }
}

const MIB = 1024 * 1024;

describe('Turn', () => {
  let port: StackPort;

  beforeEach(() => {
    port = fakePort();
  });

  it('stops when its budget is spent, and goes on where it stopped', () => {
    const turn = new Turn(new Shares(() => 0));
    const all = Array.from({ length: 1000 }, () => new Fake(turn, MIB, port));
    for (const one of all) turn.touch(one.endpoint);
    let turns = 0;
    for (; turn.waiting > 0; turns++) {
      const before = all.reduce((sum, one) => sum + one.moved, 0);
      turn.run(0);
      const moved = all.reduce((sum, one) => sum + one.moved, 0) - before;
      expect(moved).toBeLessThanOrEqual(FLUSH_BUDGET + SHARE_ALONE);
      // Nobody is ahead of anybody by more than a share or two.
      const least = Math.min(...all.map((one) => one.moved));
      expect(Math.max(...all.map((one) => one.moved)) - least).toBeLessThanOrEqual(2 * SHARE_ALONE);
    }
    expect(turns).toBeGreaterThan(300);
    expect(all.every((one) => one.bytes === 0)).toBe(true);
    expect(all[0]!.shares[0]).toBe(SHARE);
  });

  it('gives one alone a larger share, and the whole budget', () => {
    const turn = new Turn(new Shares(() => 0));
    const one = new Fake(turn, 100 * MIB, port);
    turn.touch(one.endpoint);
    turn.run(0);
    expect(one.shares[0]).toBe(SHARE_ALONE);
    expect(one.moved).toBeGreaterThanOrEqual(FLUSH_BUDGET - SHARE_ALONE);
    expect(turn.waiting).toBe(1);
  });

  it('serves who has little to say before the bulk of the others', () => {
    const turn = new Turn(new Shares(() => 0));
    for (let i = 0; i < 1000; i++) turn.touch(new Fake(turn, MIB, port).endpoint);
    for (let i = 0; i < 20; i++) turn.run(0);
    const small = Array.from({ length: 10 }, () => new Fake(turn, 100, port));
    // All that is bulk has used a share or waits for its first; the small ones come behind those that wait.
    while (turn.waiting > 1000) turn.run(0);
    for (let i = 0; i < 60; i++) turn.run(0);
    for (const one of small) turn.touch(one.endpoint);
    turn.run(0);
    expect(small.every((one) => one.bytes === 0)).toBe(true);
  });

  it('visits that move nothing cost something too', () => {
    const turn = new Turn(new Shares(() => 0));
    const all = Array.from({ length: 10_000 }, () => new Fake(turn, 0, port));
    for (const one of all) turn.touch(one.endpoint);
    turn.run(0);
    expect(turn.waiting).toBeGreaterThan(9000);
  });

  it('serves nobody twice for being touched twice, nor who has ended', () => {
    const turn = new Turn(new Shares(() => 0));
    const one = new Fake(turn, 10, port);
    const gone = new Fake(turn, 10, port);
    turn.touch(one.endpoint);
    turn.touch(one.endpoint);
    turn.touch(gone.endpoint);
    gone.ended = true;
    turn.run(0);
    expect([one.shares.length, gone.shares.length, turn.waiting]).toEqual([1, 0, 0]);
  });

  it('gives a port with one flow as much as one with a thousand', () => {
    const turn = new Turn(new Shares(() => 0));
    const many = Array.from({ length: 1000 }, () => new Fake(turn, 100 * MIB, port));
    const one = new Fake(turn, 100 * MIB, fakePort());
    for (const each of many) turn.touch(each.endpoint);
    turn.touch(one.endpoint);
    for (let i = 0; i < 20; i++) turn.run(0);
    const others = many.reduce((sum, each) => sum + each.moved, 0);
    expect(one.moved / others).toBeGreaterThan(0.9);
    expect(one.moved / others).toBeLessThan(1.5);
  });

  it('leaves a port that had more than its share until the others have nothing to do', () => {
    let now = 0;
    const shares = new Shares(() => now);
    const turn = new Turn(shares);
    const [greedy, modest] = [fakePort(), fakePort()];
    shares.charge(greedy, 12_000);
    shares.charge(modest, 3000);
    now += 1000;
    shares.pay(greedy);
    shares.pay(undefined);
    const [much, little] = [new Fake(turn, 100 * MIB, greedy), new Fake(turn, 10_000, modest)];
    turn.touch(much.endpoint);
    shares.charge(modest, 10);
    turn.touch(little.endpoint);
    turn.run(0);
    expect([much.moved, little.moved, turn.waiting]).toEqual([0, 10_000, 1]);
    turn.run(0);
    expect(much.moved).toBeGreaterThan(0);
  });

  it('flushes the ports with frames, once, and not those that are closed', () => {
    const turn = new Turn(new Shares(() => 0));
    let flushes = 0;
    const output = { flush: () => flushes++ };
    const open = fakePort({ pending: false, closed: false, output });
    const closed = fakePort({ pending: false, closed: true, output });
    turn.pending(open);
    turn.pending(open);
    turn.pending(closed);
    turn.run(0);
    turn.run(0);
    expect([flushes, open.pending]).toEqual([1, false]);
  });
});
