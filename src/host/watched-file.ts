/** A file of settings that is read again when it changes: looked at when asked for, at most twice a second. */
import { readFileSync, statSync } from 'node:fs';
import type { Logger } from '../core/index.js';
import { errnoOf } from './errno.js';

/** How long a look at the file holds, ms. */
const FRESH = 500;
/** A larger file is not read: block lists of some MB are usual, more is a mistake. */
const MAX_SIZE = 64 * 1024 * 1024;

export class WatchedFile<T> {
  private readonly path: string;
  private readonly parse: (text: string | undefined) => T;
  private readonly logger: Logger;
  private readonly now: () => number;
  /** How often it was read: changes when what it says may have changed. */
  version = 0;
  private lookedAt = Number.NEGATIVE_INFINITY;
  private mark: string | undefined;
  private value: T | undefined;
  private complained: string | undefined;

  /** `parse` gets undefined when there is no file that can be read. */
  constructor(
    path: string,
    parse: (text: string | undefined) => T,
    logger: Logger,
    now: () => number = () => performance.now(),
  ) {
    this.path = path;
    this.parse = parse;
    this.logger = logger;
    this.now = now;
  }

  /** What the file says now, or said less than half a second ago. */
  get(): T {
    const now = this.now();
    if (this.value === undefined || now - this.lookedAt >= FRESH) {
      this.lookedAt = now;
      this.look();
    }
    return this.value!;
  }

  private look(): void {
    const mark = this.markOf();
    if (this.value !== undefined && mark === this.mark) return;
    this.mark = mark;
    this.version++;
    this.value = this.parse(mark === undefined ? undefined : this.read());
  }

  /** Changes when the file does: editors and resolvconf replace it, others write into it. */
  private markOf(): string | undefined {
    try {
      const { ino, size, mtimeNs, ctimeNs } = statSync(this.path, { bigint: true });
      if (size <= MAX_SIZE) return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
      this.complain('EFBIG');
    } catch (error) {
      this.complain(errnoOf(error));
    }
    return undefined;
  }

  private read(): string | undefined {
    try {
      return readFileSync(this.path, 'utf8');
    } catch (error) {
      this.complain(errnoOf(error));
      return undefined;
    }
  }

  /** Once for each kind of trouble; a missing file is no trouble. */
  private complain(errno: string): void {
    if (errno === 'ENOENT' || errno === this.complained) return;
    this.complained = errno;
    this.logger.warn('cannot read a file of settings', { path: this.path, errno });
  }
}
