/**
 * What was decided about the flows of now, so that a stream of datagrams asks once and a SYN that is sent again gets the same
 * decision with the same number. No allocation, nothing but integers on the way.
 *
 * A flow's slot is found by a keyed hash; another flow may take it, and then the first asks again. What was allowed holds as
 * long as the flow goes on (ALLOWED without a packet ends it), what was denied for DENIED, both until the rules change; what
 * was denied also until the guest learns a name.
 */
import { type HashKey, type Millis, mix4 } from '../core/index.js';
import type { Decision } from './types.js';

/** A power of two. */
const SLOTS = 2048;
const WORDS = 4;
const ALLOWED: Millis = 60_000;
const DENIED: Millis = 10_000;

export class DecisionCache {
  /** Of the guest's names when the decision that was found last was made. */
  version = 0;
  private readonly key: HashKey;
  private readonly words = new Int32Array(SLOTS * WORDS);
  private readonly decisions = new Array<Decision | undefined>(SLOTS).fill(undefined);
  /** When an allowed flow was last seen, when a denied one was decided about. */
  private readonly times = new Float64Array(SLOTS);
  private readonly generations = new Int32Array(SLOTS);
  private readonly versions = new Int32Array(SLOTS);

  constructor(key: HashKey) {
    this.key = key;
  }

  /** What was decided under these rules; `version` is that of the guest's names then. */
  find(a: number, b: number, c: number, d: number, generation: number, now: Millis): Decision | undefined {
    const slot = mix4(this.key, a, b, c, d) & (SLOTS - 1);
    const decision = this.decisions[slot];
    if (decision === undefined || this.generations[slot] !== generation) return undefined;
    const { words } = this;
    const at = slot * WORDS;
    if (
      words[at] !== (a | 0) ||
      words[at + 1] !== (b | 0) ||
      words[at + 2] !== (c | 0) ||
      words[at + 3] !== (d | 0)
    )
      return undefined;
    const age = now - this.times[slot]!;
    this.version = this.versions[slot]!;
    if (decision.verdict.kind === 'deny') return age < DENIED ? decision : undefined;
    if (age >= ALLOWED) return undefined;
    this.times[slot] = now;
    return decision;
  }

  set(
    a: number,
    b: number,
    c: number,
    d: number,
    generation: number,
    version: number,
    now: Millis,
    decision: Decision,
  ): void {
    const slot = mix4(this.key, a, b, c, d) & (SLOTS - 1);
    const { words } = this;
    const at = slot * WORDS;
    words[at] = a;
    words[at + 1] = b;
    words[at + 2] = c;
    words[at + 3] = d;
    this.decisions[slot] = decision;
    this.times[slot] = now;
    this.generations[slot] = generation;
    this.versions[slot] = version;
  }
}
