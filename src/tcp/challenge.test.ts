import { describe, expect, it } from 'vitest';
import { ChallengeLimit, CHALLENGES } from './challenge.js';
import { CHALLENGES_PER_SECOND } from './emit.js';
import { established } from './script.testutil.js';
import { seeded } from './virtual.testutil.js';

function limit(seed: number): ChallengeLimit {
  const random = seeded(seed);
  return new ChallengeLimit({ u32: () => Math.floor(random() * 2 ** 32) });
}

/** How many may leave at this time. */
function count(challenges: ChallengeLimit, now: number): number {
  let n = 0;
  while (challenges.take(now)) n++;
  return n;
}

describe('the limit of challenge ACKs (RFC 5961 section 7)', () => {
  it('is another one each second, around the mean: it cannot be counted (CVE-2016-5696)', () => {
    const challenges = limit(1);
    const seconds = Array.from({ length: 200 }, (_, i) => count(challenges, i * 1000));
    expect(Math.min(...seconds)).toBeGreaterThanOrEqual(CHALLENGES / 2);
    expect(Math.max(...seconds)).toBeLessThan(CHALLENGES * 1.5);
    expect(new Set(seconds).size).toBeGreaterThan(100);
    const mean = seconds.reduce((a, b) => a + b) / seconds.length;
    expect(Math.abs(mean - CHALLENGES)).toBeLessThan(CHALLENGES / 10);
  });

  it('gives nothing more within the second', () => {
    const challenges = limit(2);
    count(challenges, 5000);
    expect(challenges.take(5999)).toBe(false);
    expect(challenges.take(6000)).toBe(true);
  });

  it('connections share it, and each has its own besides', () => {
    const challenges = limit(3);
    const blind = { rst: true, seq: 100 } as const;
    let sent = 0;
    for (let i = 0; i < 200; i++) {
      const s = established({ challenges });
      s.receives(...Array.from({ length: 20 }, () => blind));
      expect(s.sent().length).toBeLessThanOrEqual(CHALLENGES_PER_SECOND);
      sent += s.counters.challengeAcks;
    }
    expect(sent).toBeGreaterThanOrEqual(CHALLENGES / 2);
    expect(sent).toBeLessThan(CHALLENGES * 1.5);
  });
});
