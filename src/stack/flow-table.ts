/**
 * Which flow a packet belongs to: an open-addressed table of integers (a string key costs twenty times as much).
 * A key is four 32-bit words: port and protocol, guest address, remote address, both port numbers. The hash is keyed, so
 * that a guest cannot aim at one bucket. Linear probing, at most half full, deletion shifts back.
 */
import { type HashKey, mix4 } from '../core/index.js';

const WORDS = 4;

export class FlowTable<T> {
  private readonly key: HashKey;
  private slots = 64;
  private words = new Int32Array(this.slots * WORDS);
  private values: (T | undefined)[] = new Array<T | undefined>(this.slots);
  private used = 0;

  constructor(key: HashKey) {
    this.key = key;
  }

  get size(): number {
    return this.used;
  }

  find(a: number, b: number, c: number, d: number): T | undefined {
    return this.values[this.locate(a, b, c, d)];
  }

  /** Enters or replaces. */
  set(a: number, b: number, c: number, d: number, value: T): void {
    if (this.used * 2 >= this.slots) this.grow();
    const slot = this.locate(a, b, c, d);
    if (this.values[slot] === undefined) this.used++;
    this.values[slot] = value;
    this.writeKey(slot, a, b, c, d);
  }

  delete(a: number, b: number, c: number, d: number): boolean {
    let hole = this.locate(a, b, c, d);
    if (this.values[hole] === undefined) return false;
    this.used--;
    const mask = this.slots - 1;
    const { words, values } = this;
    for (let slot = (hole + 1) & mask; values[slot] !== undefined; slot = (slot + 1) & mask) {
      const at = slot * WORDS;
      const home = mix4(this.key, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!) & mask;
      // Move back what would not be found from its home with the hole in between.
      if (((slot - home) & mask) >= ((slot - hole) & mask)) {
        words.copyWithin(hole * WORDS, at, at + WORDS);
        values[hole] = values[slot];
        hole = slot;
      }
    }
    values[hole] = undefined;
    return true;
  }

  /** Every flow; the table must not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (const value of this.values) if (value !== undefined) yield value;
  }

  private locate(a: number, b: number, c: number, d: number): number {
    const mask = this.slots - 1;
    const { words, values } = this;
    let slot = mix4(this.key, a, b, c, d) & mask;
    for (;;) {
      if (values[slot] === undefined) return slot;
      const at = slot * WORDS;
      if (
        words[at + 1] === (b | 0) &&
        words[at + 3] === (d | 0) &&
        words[at + 2] === (c | 0) &&
        words[at] === (a | 0)
      )
        return slot;
      slot = (slot + 1) & mask;
    }
  }

  private writeKey(slot: number, a: number, b: number, c: number, d: number): void {
    const at = slot * WORDS;
    this.words[at] = a;
    this.words[at + 1] = b;
    this.words[at + 2] = c;
    this.words[at + 3] = d;
  }

  private grow(): void {
    const { words, values } = this;
    this.slots *= 2;
    this.words = new Int32Array(this.slots * WORDS);
    this.values = new Array<T | undefined>(this.slots);
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (value === undefined) continue;
      const at = i * WORDS;
      const slot = this.locate(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
      this.values[slot] = value;
      this.writeKey(slot, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
    }
  }
}
