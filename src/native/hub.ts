/**
 * One poller with its dispatch: which handle's events go to whom, and memory that the poller knows by number. The poller
 * keeps the process alive only while somebody watches a handle.
 *
 * A wake-up is a turn: everybody whose handle is ready is told, as far as TURN goes, then what was deferred meanwhile runs;
 * and again while there is more and time. Whoever had to wait comes first the next time.
 */
import type { Memory, Millis, Region, Wakeup } from '../core/index.js';
import type { NativeAddon, Poller } from './addon.js';
import { READ } from './constants.js';
import { Watchers } from './watchers.js';

/** Ready handles reported per wake-up; epoll reports the others at the next. */
const READY_MAX = 1024;
/** How long a turn may go on, ms: then timers, Node's own sockets and promises get theirs. */
const TURN = 2;
/** The clock is looked at after the first handle of a round, and after every so many. */
const LOOK_EVERY = 4;
/** How long a turn may wait for more before the thread sleeps, where that has paid lately, µs. */
const BUSY_POLL = 80;
/** No time. */
const UNREAD = -1;
/** Free memory kept for reuse, in all, bytes; and how long while nobody takes of it, ms. */
const KEPT_BYTES = 8 * 1024 * 1024;
const KEPT_TIME = 1000;

/** The longest delay of a timer, ms: 24 days. */
const LONGEST_DELAY = 0x7fffffff;

/** Who is told that a handle is ready. */
export interface Watcher {
  /** What the handle is, for people. */
  readonly what?: string;
  ready(events: number): void;
}

export class Hub {
  readonly poller: Poller;
  readonly memory: Memory;
  private readonly ready = new Int32Array(READY_MAX * 2);
  private readonly watchers = new Watchers();
  /** How many of them keep the process alive. */
  private watched = 0;
  private graves: Region[] = [];
  /** Memory that nobody uses, by size. */
  private readonly kept = new Map<number, Region[]>();
  private keptBytes = 0;
  /** Taken from since the last look. */
  private keptUsed = false;
  private trimming = false;
  private readonly trim: Wakeup | undefined;
  private deferred: ((() => void) | undefined)[] = [];
  private spare: ((() => void) | undefined)[] = [];
  private deferredCount = 0;
  /** Begins another turn for what was deferred when one ended. */
  private readonly rest: Wakeup | undefined;
  private readonly runRest = (): void => {
    this.runDeferred();
  };
  private dispatching = false;
  /** The clock as it was read within this callback, ms; UNREAD: not yet. */
  private time = UNREAD;
  /** The handle that has to be told first, for it was left out the last time; 0: none. */
  private first = 0;
  private readonly busyPoll: number;
  private closed = false;
  /** Rounds that told somebody; see SpinWatch. */
  rounds = 0;
  /** How often each handle was told, while somebody wants to know. */
  tally: Map<number, number> | undefined;

  /** `busyPoll`: how long a turn may wait for more, where that has paid lately, whole µs; 0: never. Default 80. */
  constructor(addon: NativeAddon, busyPoll = BUSY_POLL) {
    this.busyPoll = busyPoll;
    this.poller = new addon.Poller((count) => {
      this.dispatch(count);
    }, this.ready);
    this.poller.unref();
    // A turn looks at what was deferred in any case.
    this.rest = this.wakeup(() => undefined);
    this.trim = this.wakeup(() => {
      this.trimming = false;
      if (this.keptUsed) this.trimLater();
      else this.dropKept();
    });
    this.memory = {
      allocate: (size) => this.allocate(size),
      free: (region: Region) => {
        if (region.id > 0) this.bury(region);
      },
    };
  }

  /**
   * The monotonic clock, whole ms. It stands still while one handle is served: to read it is a call into the addon, and there
   * are callers for each datagram.
   */
  now(): Millis {
    if (!this.dispatching) return this.poller.now();
    if (this.time === UNREAD) this.time = this.poller.now();
    return this.time;
  }

  /** `what`: the handle, for people. */
  watch(handle: number, ready: (events: number) => void, what = 'a descriptor'): void {
    this.watchBy(handle, { ready, what });
  }

  /** What a handle is, for people. */
  describe(handle: number): string {
    return this.watchers.get(handle)?.what ?? 'a timer or a descriptor that nobody watches';
  }

  /** As `watch`, without a function for each handle. */
  watchBy(handle: number, watcher: Watcher): void {
    if (this.watchers.get(handle) === undefined && this.watched++ === 0) this.poller.ref();
    this.watchers.set(handle, watcher);
  }

  unwatch(handle: number): void {
    if (!this.watchers.delete(handle)) return;
    if (--this.watched === 0 && !this.closed) this.poller.unref();
  }

  /** A timer that costs one system call to set and nothing of the heap; undefined without descriptors. */
  wakeup(ring: () => void): Wakeup | undefined {
    const { poller, watchers } = this;
    const handle = poller.timerOpen();
    if (handle < 0) return undefined;
    // Timers do not keep the process alive.
    watchers.set(handle, { ready: ring });
    return {
      set: (delay) => {
        poller.timerSet(handle, Math.min(delay, LONGEST_DELAY));
      },
      stop: () => {
        if (watchers.delete(handle)) poller.closeHandle(handle);
      },
    };
  }

  /** Calls back once when everything that is ready now has been looked at. */
  defer(callback: () => void): void {
    if (this.dispatching) this.deferred[this.deferredCount++] = callback;
    else setImmediate(callback);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.watchers.clear();
    this.watched = 0;
    this.poller.close();
  }

  private allocate(size: number): Region {
    const known = this.kept.get(size)?.pop();
    if (known !== undefined) {
      this.keptBytes -= size;
      this.keptUsed = true;
      return known;
    }
    const bytes = new Uint8Array(size);
    const id = this.poller.register(bytes);
    return { id: Math.max(id, 0), bytes, view: new DataView(bytes.buffer) };
  }

  /**
   * Forgets memory when the current run of code is over: frames that were composed in it may still point there until
   * they are flushed, and it must not be written by others before.
   */
  private bury(region: Region): void {
    this.graves.push(region);
    if (this.graves.length > 1) return;
    queueMicrotask(() => {
      const { graves } = this;
      this.graves = [];
      for (const grave of graves) this.forget(grave);
    });
  }

  private forget(region: Region): void {
    const size = region.bytes.length;
    if (this.keptBytes + size > KEPT_BYTES || this.closed) {
      this.poller.unregister(region.id);
      return;
    }
    this.keptBytes += size;
    const list = this.kept.get(size);
    if (list === undefined) this.kept.set(size, [region]);
    else list.push(region);
    this.trimLater();
  }

  private trimLater(): void {
    if (this.trimming || this.trim === undefined || this.closed) return;
    this.trimming = true;
    this.keptUsed = false;
    this.trim.set(KEPT_TIME);
  }

  private dropKept(): void {
    for (const list of this.kept.values()) for (const { id } of list) this.poller.unregister(id);
    this.kept.clear();
    this.keptBytes = 0;
  }

  /**
   * One turn: as many rounds as there is something to do and time for. Going round here is cheaper than going round the
   * event loop, which costs microseconds and, in Node, an object on the heap.
   */
  private dispatch(count: number): void {
    const until = this.poller.now() + TURN;
    this.dispatching = true;
    try {
      let ready = count;
      do {
        this.tell(ready, until);
        this.runDeferred();
        ready = this.poller.now() < until ? this.poller.poll(this.deferredCount > 0 ? 0 : this.busyPoll) : 0;
      } while (ready > 0 || (this.deferredCount > 0 && this.poller.now() < until));
    } finally {
      this.dispatching = false;
      if (this.deferredCount > 0) this.goOn();
    }
  }

  /** What is left waits for another turn, after timers and Node's own sockets. */
  private goOn(): void {
    if (this.rest === undefined) setImmediate(this.runRest);
    else this.rest.set(0);
  }

  /** Runs what was deferred; what is deferred meanwhile waits for the next round. */
  private runDeferred(): void {
    const { deferred, deferredCount, spare } = this;
    this.deferred = spare;
    this.spare = deferred;
    this.deferredCount = 0;
    for (let i = 0; i < deferredCount; i++) {
      const callback = deferred[i]!;
      deferred[i] = undefined;
      this.time = UNREAD;
      callback();
    }
  }

  /** Tells the handles that are ready; from `until` on, only those with news that would not come again. */
  private tell(count: number, until: number): void {
    const { ready, watchers } = this;
    if (count > 0) this.rounds++;
    if (this.tally !== undefined) this.countEach(this.tally, count);
    const start = this.first === 0 ? 0 : this.place(this.first, count);
    this.first = 0;
    for (let n = 0; n < count && !this.closed; n++) {
      const at = (start + n < count ? start + n : start + n - count) * 2;
      const handle = ready[at]!;
      const events = ready[at + 1]!;
      // Being readable is reported again at the next wake-up.
      if (this.first !== 0 && events === READ) continue;
      this.time = UNREAD;
      watchers.get(handle)?.ready(events);
      // To look at the clock is a call into the addon: every few handles is often enough.
      if (n % LOOK_EVERY === 0 && this.first === 0 && n + 1 < count && this.poller.now() > until)
        this.first = ready[(start + n + 1 < count ? start + n + 1 : start + n + 1 - count) * 2]!;
    }
  }

  private countEach(tally: Map<number, number>, count: number): void {
    for (let i = 0; i < count; i++) {
      const handle = this.ready[i * 2]!;
      tally.set(handle, (tally.get(handle) ?? 0) + 1);
    }
  }

  private place(handle: number, count: number): number {
    for (let i = 0; i < count; i++) if (this.ready[i * 2] === handle) return i;
    return 0;
  }
}
