/** A folder of small files of settings, read again when one of them changes: looked at when asked for, at most twice a second. */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';

/** How long a look at the folder holds, ms. */
const FRESH = 500;
/** Files of a folder, and bytes of one; what is more is left out. */
const MAX_FILES = 256;
const MAX_SIZE = 64 * 1024;

export class WatchedFolder<T> {
  /** Changes with what the files say. */
  changes = 0;
  private readonly folder: string;
  private readonly parse: (text: string, name: string) => T | undefined;
  private readonly now: () => number;
  private lookedAt = Number.NEGATIVE_INFINITY;
  private mark = '';
  private value: readonly T[] = [];

  /** `parse` gets each file with its name; what it gives undefined for is left out. */
  constructor(
    folder: string,
    parse: (text: string, name: string) => T | undefined,
    now: () => number = () => performance.now(),
  ) {
    this.folder = folder;
    this.parse = parse;
    this.now = now;
  }

  /** What the files say now, or said less than half a second ago, in the order of their names. */
  get(): readonly T[] {
    const now = this.now();
    if (now - this.lookedAt >= FRESH) {
      this.lookedAt = now;
      this.look();
    }
    return this.value;
  }

  private look(): void {
    const files = this.files();
    const mark = files.map(({ name, mark: own }) => `${name} ${own}`).join('\n');
    if (mark === this.mark) return;
    this.mark = mark;
    this.changes++;
    this.value = files.flatMap(({ name }) => {
      const text = this.read(name);
      return text === undefined ? [] : (this.parse(text, name) ?? []);
    });
  }

  private files(): readonly { readonly name: string; readonly mark: string }[] {
    try {
      const names = readdirSync(this.folder).sort().slice(0, MAX_FILES);
      return names.flatMap((name) => {
        const mark = this.markOf(name);
        return mark === undefined ? [] : { name, mark };
      });
    } catch {
      // There is no such folder, or it is not ours to read: nothing is said there.
      return [];
    }
  }

  private markOf(name: string): string | undefined {
    try {
      const stat = statSync(path.join(this.folder, name), { bigint: true });
      return stat.isFile() && stat.size <= MAX_SIZE
        ? `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`
        : undefined;
    } catch {
      return undefined;
    }
  }

  private read(name: string): string | undefined {
    try {
      return readFileSync(path.join(this.folder, name), 'utf8');
    } catch {
      return undefined;
    }
  }
}
