import { describe, expect, it } from 'vitest';
import { ServerHealth, healthyFirst } from './dns-health.js';

describe('the health of a server', () => {
  it('an error takes it down, its first answer brings it back', () => {
    const health = new ServerHealth();
    health.failed(0);
    expect(health.down).toBe(true);
    health.answered(5);
    expect(health.down).toBe(false);
  });

  it('so do three silences in a row, not two with an answer between them', () => {
    const health = new ServerHealth();
    health.wasSilent(0);
    health.wasSilent(0);
    health.answered(5);
    health.wasSilent(0);
    health.wasSilent(0);
    expect(health.down).toBe(false);
    health.wasSilent(0);
    expect(health.down).toBe(true);
  });

  it('is tried again after pauses that double up to ten seconds', () => {
    const health = new ServerHealth();
    const pauses: number[] = [];
    let now = 0;
    for (let i = 0; i < 8; i++) {
      health.failed(now);
      const failed = now;
      expect(health.probeDue(now)).toBe(false);
      while (!health.probeDue(now)) now += 100;
      pauses.push(now - failed);
      expect(health.probeDue(now)).toBe(false);
      now += 20_000;
    }
    expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
  });

  it('waits as long as answers usually take, within bounds', () => {
    const health = new ServerHealth();
    expect(health.patience(1000)).toBe(1000);
    health.answered(100);
    expect(health.patience(1000)).toBe(400);
    for (let i = 0; i < 100; i++) health.answered(1);
    expect(health.patience(1000)).toBe(200);
    expect(health.patience(100)).toBe(100);
    for (let i = 0; i < 100; i++) health.answered(5000);
    expect(health.patience(1000)).toBe(1000);
  });

  it('those that are down come last, in their order', () => {
    const servers = ['a', 'b', 'c'].map((name) => ({ name, health: new ServerHealth() }));
    const order = (): string =>
      healthyFirst(servers)
        .map(({ name }) => name)
        .join('');
    expect(order()).toBe('abc');
    servers[0]!.health.failed(0);
    expect(order()).toBe('bca');
    servers[1]!.health.failed(0);
    expect(order()).toBe('cab');
    servers[2]!.health.failed(0);
    expect(order()).toBe('abc');
  });
});
