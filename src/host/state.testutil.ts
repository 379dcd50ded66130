import { parseState } from './state-format.js';
import type { StateDisk, StateTail } from './state-disk.js';

/** One file in memory, on a disk that fails, or hangs, when told to. */
export class MemoryDisk implements StateDisk {
  text = '';
  errno: string | undefined;
  hang: Promise<void> | undefined;

  /** What a process would read that starts now. */
  get records(): ReadonlyMap<string, unknown> {
    return parseState(Buffer.from(this.text)).records;
  }

  lock(): () => void {
    return () => undefined;
  }

  read(): Buffer | undefined {
    return this.text === '' ? undefined : Buffer.from(this.text);
  }

  move(): void {
    this.text = '';
  }

  async replace(_path: string, text: string): Promise<StateTail> {
    await this.trouble();
    this.text = text;
    return {
      append: async (more) => {
        // Half a line, as a full disk leaves it.
        if (this.errno !== undefined) this.text += more.slice(0, 5);
        await this.trouble();
        this.text += more;
      },
      close: () => Promise.resolve(),
    };
  }

  private async trouble(): Promise<void> {
    await this.hang;
    if (this.errno !== undefined) throw Object.assign(new Error(this.errno), { code: this.errno });
  }
}
