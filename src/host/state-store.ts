/**
 * State that survives a restart: small records by key, in one file.
 *
 * Theory of operation. All records are in memory; the file is a copy of them (state-format.ts). `put` and `delete` change
 * memory, `commit` calls back when all changes before it are on the disk. Changes that come while the disk is busy go
 * together in the next write, so a thousand commits a second cost a few writes. A write adds lines to the file and syncs it;
 * when more than `MAX_ADDED` lines or `MAX_ADDED_BYTES` were added, and at the start, the file is written anew (a draft, synced, renamed, the folder
 * synced). So a process that is killed at any instant leaves the old file or the new one, and at worst a torn last line
 * that nobody was told about.
 *
 * A disk that fails is weather: it is told once, commits call back at once with false, and the file is tried again after
 * FIRST_RETRY, then after twice that, up to LAST_RETRY. One that hangs for COMMIT_DEADLINE is treated likewise. A file
 * that cannot be read as ours is renamed, never overwritten; its readable records are used.
 */
import { type Logger, type Millis, NetproxyError, type Scheduler } from '../core/index.js';
import { errnoOf, errnoText } from './errno.js';
import { type StateDisk, type StateTail, nodeDisk } from './state-disk.js';
import { parseState, stateHeader, stateLine } from './state-format.js';

/** A longer file is not ours, bytes. */
export const MAX_STATE_SIZE = 64 * 1024 * 1024;
/** Lines added before the file is written anew; more when it holds more than a quarter of that. */
export const MAX_ADDED = 8192;
/** The same in bytes (4 times what it holds, if that is more): some records are long. */
export const MAX_ADDED_BYTES = 4 * 1024 * 1024;
/** A commit that takes longer is given up, ms. */
export const COMMIT_DEADLINE: Millis = 2000;
/** How long `close` waits for the disk, ms. */
export const CLOSE_DEADLINE: Millis = 500;
export const FIRST_RETRY: Millis = 1000;
export const LAST_RETRY: Millis = 60_000;

export interface StateDeps {
  readonly logger: Logger;
  readonly scheduler: Scheduler;
  readonly disk?: StateDisk | undefined;
}

type Done = (kept: boolean) => void;

export class StateStore {
  readonly counters = { read: 0, commits: 0, added: 0, rewritten: 0, failed: 0, setAside: 0 };
  private readonly path: string;
  private readonly deps: StateDeps;
  private readonly disk: StateDisk;
  private readonly unlock: () => void;
  /** Lines as they stand in the file, the one written last at the end. */
  private readonly lines = new Map<string, string>();
  private readonly values = new Map<string, unknown>();
  /** Lines that are not in the file yet. */
  private changed = new Map<string, string>();
  private waiting: Done[] = [];
  private tail: StateTail | undefined;
  private added = 0;
  private addedBytes = 0;
  /** Length of the file when it was written anew, bytes. */
  private size = 0;
  private writing = false;
  /** Changes have been taken, and it is not known yet what became of them. */
  private underWay = false;
  private idle: (() => void)[] = [];
  /** Trouble that was told; undefined while all is well. */
  private trouble: string | undefined;
  private retryIn = FIRST_RETRY;
  private cancelRetry: (() => void) | undefined;
  private closed = false;

  /** Locks and reads the file. Throws ERR_NETPROXY_STATE when another process has it or it is no file of ours to replace. */
  constructor(path: string, deps: StateDeps) {
    this.path = path;
    this.deps = deps;
    this.disk = deps.disk ?? nodeDisk;
    this.unlock = this.disk.lock(path);
    try {
      this.load();
    } catch (error) {
      this.unlock();
      throw error;
    }
    // Written anew at once: whether that works is known before anybody relies on it.
    this.kick();
  }

  /** Records whose keys begin with `section/`, without it, in the order in which they were put last. */
  *entries(section: string): IterableIterator<readonly [key: string, value: unknown]> {
    const prefix = `${section}/`;
    for (const [key, value] of this.values)
      if (key.startsWith(prefix)) yield [key.slice(prefix.length), value];
  }

  /** Keeps a value (plain JSON) for a key. */
  put(section: string, name: string, value: object | string | number | boolean): void {
    const key = `${section}/${name}`;
    const line = stateLine([key, value]);
    if (this.lines.get(key) === line) return;
    this.lines.delete(key);
    this.lines.set(key, line);
    this.values.delete(key);
    this.values.set(key, value);
    this.note(key, line);
  }

  has(section: string, name: string): boolean {
    return this.lines.has(`${section}/${name}`);
  }

  delete(section: string, name: string): void {
    const key = `${section}/${name}`;
    if (!this.lines.delete(key)) return;
    this.values.delete(key);
    this.note(key, stateLine([key]));
  }

  /**
   * Calls back when all changes so far are on the disk: with true, maybe at once; or with false when they could not be
   * written, and will be later.
   */
  commit(done: Done): void {
    if (!this.underWay && this.changed.size === 0) done(this.trouble === undefined);
    else if (this.trouble !== undefined || this.closed) done(false);
    else {
      this.waiting.push(done);
      this.kick();
    }
  }

  /** Writes what is left, lets go of the file. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.cancelRetry?.();
    if (this.changed.size > 0) this.kick();
    if (this.writing) {
      await new Promise<void>((resolve) => {
        this.idle.push(resolve, this.deps.scheduler.after(CLOSE_DEADLINE, resolve));
      });
    }
    await this.tail?.close().catch(() => undefined);
    this.tail = undefined;
    // A write that hangs may still end: the file stays ours as long as this process lives.
    if (!this.writing) this.unlock();
  }

  private note(key: string, line: string): void {
    this.changed.delete(key);
    this.changed.set(key, line);
  }

  private load(): void {
    let bytes: Buffer | undefined;
    let fault: string | undefined;
    try {
      bytes = this.disk.read(this.path, MAX_STATE_SIZE);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'EISDIR') throw this.refusal('it is not a file', error);
      fault = errno === 'EFBIG' ? `it is longer than ${MAX_STATE_SIZE} bytes` : errnoText(errno);
    }
    const content = parseState(bytes ?? new Uint8Array());
    fault ??= content.fault;
    for (const [key, value] of content.records) {
      this.lines.set(key, stateLine([key, value]));
      this.values.set(key, value);
    }
    this.counters.read = this.values.size;
    if (fault !== undefined) this.setAside(fault);
    else if (content.torn) {
      this.deps.logger.info(`state file ${this.path}: its last record was not complete and is left out`);
    }
  }

  private setAside(fault: string): void {
    const stamp = new Date(this.deps.scheduler.wall()).toISOString().replaceAll(':', '-');
    const aside = `${this.path}.damaged-${stamp}`;
    try {
      this.disk.move(this.path, aside);
    } catch (error) {
      throw this.refusal(`${fault}, and it cannot be renamed (${errnoText(errnoOf(error))})`, error);
    }
    this.counters.setAside++;
    const kept =
      this.values.size === 0 ? 'starting without it' : `${this.values.size} records of it are used`;
    this.deps.logger.warn(`cannot use the state file ${this.path}: ${fault}; it is now ${aside}; ${kept}`);
  }

  private refusal(why: string, cause: unknown): NetproxyError {
    return new NetproxyError('ERR_NETPROXY_STATE', `cannot use the state file ${this.path}: ${why}`, {
      cause,
      remedy: 'Give the path of a file that this user may read and write, or of none.',
    });
  }

  private kick(): void {
    if (this.writing) return;
    this.writing = true;
    // What else changes in this turn goes along.
    this.deps.scheduler.defer(() => void this.write());
  }

  /** One write after the other until nothing is left. */
  private async write(): Promise<void> {
    let ok = true;
    do {
      const done = this.waiting;
      this.waiting = [];
      ok = await this.writeOnce(done);
    } while (ok && this.changed.size > 0);
    this.writing = false;
    // Those who came while the last write was on its way, and had nothing of their own to write.
    answer(this.waiting, ok);
    for (const resolve of this.idle.splice(0)) resolve();
  }

  private async writeOnce(waiting: Done[]): Promise<boolean> {
    const cancel = this.deps.scheduler.after(COMMIT_DEADLINE, () => {
      this.failed('the disk does not answer');
      answer(waiting, false);
      answer(this.waiting, false);
    });
    const { changed } = this;
    this.changed = new Map();
    this.underWay = true;
    try {
      if (this.tail === undefined || this.isLong(changed.size)) await this.rewrite();
      else await this.append(this.tail, changed);
    } catch (error) {
      cancel();
      this.underWay = false;
      await this.giveUp(error);
      answer(waiting, false);
      return false;
    }
    cancel();
    this.underWay = false;
    this.recovered();
    answer(waiting, true);
    return true;
  }

  private isLong(adding: number): boolean {
    if (this.added + adding > Math.max(MAX_ADDED, 4 * this.lines.size)) return true;
    return this.addedBytes > Math.max(MAX_ADDED_BYTES, 4 * this.size);
  }

  private async append(tail: StateTail, changed: ReadonlyMap<string, string>): Promise<void> {
    const text = [...changed.values()].join('');
    this.added += changed.size;
    this.addedBytes += text.length;
    this.counters.added += changed.size;
    this.counters.commits++;
    try {
      await tail.append(text);
    } catch (error) {
      // Deleted, or another file put in its place: ours is written anew.
      if (errnoOf(error) !== 'ESTALE') throw error;
      await this.rewrite();
    }
  }

  private async rewrite(): Promise<void> {
    const old = this.tail;
    this.tail = undefined;
    await old?.close().catch(() => undefined);
    this.counters.commits++;
    this.counters.rewritten++;
    const text = stateHeader(this.lines.size) + [...this.lines.values()].join('');
    this.tail = await this.disk.replace(this.path, text);
    this.added = this.addedBytes = 0;
    this.size = text.length;
  }

  /** After a failed write the end of the file is unknown: the next one writes it anew. */
  private async giveUp(error: unknown): Promise<void> {
    const { tail } = this;
    this.tail = undefined;
    await tail?.close().catch(() => undefined);
    this.failed(errnoText(errnoOf(error)));
    if (this.closed) return;
    this.cancelRetry = this.deps.scheduler.after(this.retryIn, () => {
      this.kick();
    });
    this.retryIn = Math.min(this.retryIn * 2, LAST_RETRY);
  }

  private failed(why: string): void {
    this.counters.failed++;
    if (this.trouble !== undefined) return;
    this.trouble = why;
    this.deps.logger.warn(
      `cannot write the state file ${this.path}: ${why}; going on without, a restart would forget what changes now`,
    );
  }

  private recovered(): void {
    this.retryIn = FIRST_RETRY;
    if (this.trouble === undefined) return;
    this.trouble = undefined;
    this.deps.logger.info(`the state file ${this.path} is written again`);
  }
}

/** Each is answered once. */
function answer(waiting: Done[], kept: boolean): void {
  for (const done of waiting.splice(0)) done(kept);
}
