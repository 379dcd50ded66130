/**
 * A set whose members come and go all the time, in no order. A Map or a Set leaves a table behind each time it makes a new
 * one, and each table points at the next: once one of them is old, all that follow and what they hold outlive every small
 * collection, so that of thousands of short connections a second each is copied twice and kept for seconds.
 */

/** What may be in a bag, in one at a time. `place` is the bag's alone. */
export interface Bagged {
  /** OUTSIDE at first. */
  place: number;
}

/** The place of what is in no bag. */
export const OUTSIDE = -1;

export class Bag<T extends Bagged> {
  private readonly items: T[] = [];

  get size(): number {
    return this.items.length;
  }

  /** Nothing happens when it is in already. */
  add(item: T): void {
    if (item.place !== OUTSIDE) return;
    item.place = this.items.length;
    this.items.push(item);
  }

  /** False when it was not in. */
  delete(item: T): boolean {
    const { items } = this;
    const { place } = item;
    if (items[place] !== item) return false;
    const last = items.pop()!;
    if (last !== item) {
      items[place] = last;
      last.place = place;
    }
    item.place = OUTSIDE;
    return true;
  }

  /** Whoever adds or deletes on the way goes through a copy. */
  [Symbol.iterator](): IterableIterator<T> {
    return this.items.values();
  }
}
