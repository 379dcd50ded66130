/** What each guest was told about names, by the guest's name. */
import { DnsMemory } from '../policy/index.js';

/** Memories that are kept for guests that went away: they may come back and still know what they were told. */
const KEPT = 256;

export class NameMemories {
  private readonly memories = new Map<string, DnsMemory>();
  private readonly now: () => number;

  constructor(now: () => number) {
    this.now = now;
  }

  /** Undefined: it was told nothing. */
  of(guest: string): DnsMemory | undefined {
    return this.memories.get(guest);
  }

  /** Made at the first use. */
  for(guest: string): DnsMemory {
    let memory = this.memories.get(guest);
    if (memory === undefined) this.memories.set(guest, (memory = new DnsMemory(this.now)));
    return memory;
  }

  /** The guest left. */
  left(guest: string): void {
    if (this.memories.size > KEPT) this.memories.delete(guest);
  }

  get counters() {
    let addresses = 0;
    let forgotten = 0;
    for (const memory of this.memories.values()) {
      addresses += memory.size;
      forgotten += memory.forgotten;
    }
    return { guests: this.memories.size, addresses, forgotten };
  }
}
