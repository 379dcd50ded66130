/**
 * One poller with its dispatch: which handle's events go to whom, and memory that the poller knows by number. The poller
 * keeps the process alive only while somebody watches a handle.
 */
import type { Memory, Region } from '../core/index.js';
import type { NativeAddon, Poller } from './addon.js';

/** Ready handles reported per wake-up; epoll reports the others at the next. */
const READY_MAX = 1024;

export class Hub {
  readonly poller: Poller;
  readonly memory: Memory;
  private readonly ready = new Int32Array(READY_MAX * 2);
  private readonly watchers = new Map<number, (events: number) => void>();
  private readonly graves: number[] = [];
  private closed = false;

  constructor(addon: NativeAddon) {
    this.poller = new addon.Poller((count) => {
      this.dispatch(count);
    }, this.ready);
    this.poller.unref();
    const { poller } = this;
    this.memory = {
      allocate: (size) => {
        const bytes = new Uint8Array(size);
        const id = poller.register(bytes);
        return { id: Math.max(id, 0), bytes, view: new DataView(bytes.buffer) };
      },
      free: (region: Region) => {
        if (region.id > 0) this.bury(region.id);
      },
    };
  }

  watch(handle: number, ready: (events: number) => void): void {
    if (this.watchers.size === 0) this.poller.ref();
    this.watchers.set(handle, ready);
  }

  unwatch(handle: number): void {
    if (!this.watchers.delete(handle)) return;
    if (this.watchers.size === 0 && !this.closed) this.poller.unref();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.watchers.clear();
    this.poller.close();
  }

  /**
   * Forgets memory when the current run of code is over: frames that were composed in it may still point there until
   * they are flushed, and its number must not stand for other memory before.
   */
  private bury(id: number): void {
    this.graves.push(id);
    if (this.graves.length > 1) return;
    queueMicrotask(() => {
      for (const grave of this.graves.splice(0)) this.poller.unregister(grave);
    });
  }

  private dispatch(count: number): void {
    const { ready, watchers } = this;
    for (let i = 0; i < count && !this.closed; i++) watchers.get(ready[i * 2]!)?.(ready[i * 2 + 1]!);
  }
}
