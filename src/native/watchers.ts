/**
 * Who watches which handle: an open-addressed table of integers. Handles come and go with every connection, and a Map leaves
 * tables behind that keep each other alive (core/bag.ts).
 */
import type { Watcher } from './hub.js';

/** Fibonacci hashing: 2^32 divided by the golden ratio. */
const SPREAD = 0x9e3779b1;

export class Watchers {
  size = 0;
  private bits = 6;
  private handles = new Int32Array(1 << this.bits);
  private values: (Watcher | undefined)[] = new Array<Watcher | undefined>(1 << this.bits);

  get(handle: number): Watcher | undefined {
    return this.values[this.locate(handle)];
  }

  set(handle: number, watcher: Watcher): void {
    if (this.size * 2 >= this.values.length) this.grow();
    const slot = this.locate(handle);
    if (this.values[slot] === undefined) this.size++;
    this.handles[slot] = handle;
    this.values[slot] = watcher;
  }

  /** False when nobody watched it. */
  delete(handle: number): boolean {
    let hole = this.locate(handle);
    const { handles, values } = this;
    if (values[hole] === undefined) return false;
    this.size--;
    const mask = values.length - 1;
    for (let slot = (hole + 1) & mask; values[slot] !== undefined; slot = (slot + 1) & mask) {
      // Move back what would not be found from its home with the hole in between.
      if (((slot - this.home(handles[slot]!)) & mask) < ((slot - hole) & mask)) continue;
      handles[hole] = handles[slot]!;
      values[hole] = values[slot];
      hole = slot;
    }
    values[hole] = undefined;
    return true;
  }

  clear(): void {
    this.size = 0;
    this.values.fill(undefined);
  }

  private home(handle: number): number {
    return Math.imul(handle, SPREAD) >>> (32 - this.bits);
  }

  private locate(handle: number): number {
    const mask = this.values.length - 1;
    let slot = this.home(handle);
    while (this.values[slot] !== undefined && this.handles[slot] !== handle) slot = (slot + 1) & mask;
    return slot;
  }

  private grow(): void {
    const { handles, values } = this;
    this.bits++;
    this.handles = new Int32Array(1 << this.bits);
    this.values = new Array<Watcher | undefined>(1 << this.bits);
    for (let i = 0; i < values.length; i++) {
      if (values[i] === undefined) continue;
      const slot = this.locate(handles[i]!);
      this.handles[slot] = handles[i]!;
      this.values[slot] = values[i];
    }
  }
}
