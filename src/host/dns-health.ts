/**
 * How a name server has been doing: how long it takes, and whether it is worth being asked first.
 *
 * Pure: time is an argument. A server that failed or was silent often enough is `down`: others are asked before it. Now and
 * then (`probeDue`) it gets a query beside theirs, and its first answer brings it back.
 */
import type { Millis } from '../core/index.js';

/** Silences in a row until a server counts as down; an error is enough by itself. */
const MAX_SILENT = 3;
/** Pause before a server that is down is tried again, ms, doubled each time up to the second number. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;
/** Least time that an answer is waited for before the next server is asked, ms. */
const LEAST_RETRY = 200;

export class ServerHealth {
  down = false;
  private silent = 0;
  private pause: Millis = 0;
  private probeAt: Millis = 0;
  /** Smoothed time of an answer; 0: none yet. */
  private smoothed: Millis = 0;

  answered(took: Millis): void {
    this.down = false;
    this.silent = 0;
    this.pause = 0;
    this.smoothed = this.smoothed === 0 ? took : this.smoothed + (took - this.smoothed) / 8;
  }

  /** No answer in the time that it usually takes, and longer. */
  wasSilent(now: Millis): void {
    if (++this.silent >= MAX_SILENT) this.failed(now);
  }

  /** Unreachable, or it closed the connection. */
  failed(now: Millis): void {
    if (this.down && now < this.probeAt) return;
    this.down = true;
    this.pause = Math.min(LONGEST_PAUSE, this.pause === 0 ? FIRST_PAUSE : this.pause * 2);
    this.probeAt = now + this.pause;
  }

  /** Whether a server that is down may be tried now; the next time is after another pause. */
  probeDue(now: Millis): boolean {
    if (!this.down || now < this.probeAt) return false;
    this.probeAt = now + this.pause;
    return true;
  }

  /** How long its answer is waited for before another server is asked; `longest` when it has never answered. */
  patience(longest: Millis): Millis {
    if (this.smoothed === 0) return longest;
    return Math.min(longest, Math.max(LEAST_RETRY, 4 * this.smoothed));
  }
}

/** In their order, those that are down after the others; the list itself when that is no change. */
export function healthyFirst<T extends { readonly health: ServerHealth }>(
  servers: readonly T[],
): readonly T[] {
  if (servers[0]?.health.down !== true) return servers;
  const up = servers.filter(({ health }) => !health.down);
  return up.length === 0 ? servers : [...up, ...servers.filter(({ health }) => health.down)];
}
