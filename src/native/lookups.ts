/** getaddrinfo and getnameinfo on the crate's own threads, so that a call that hangs stops neither files nor other names. */
import type { HostAddress } from '../core/index.js';
import { errnoName } from './constants.js';
import type { Hub } from './hub.js';

/** Calls at once. */
export const LOOKUP_THREADS = 4;
/** Calls that wait for a thread. */
export const LOOKUP_QUEUE = 512;

/** EAI_ numbers of Linux by the codes that Node's own lookups reject with. */
const CODES: ReadonlyMap<number, string> = new Map([
  [-2, 'ENOTFOUND'],
  [-3, 'EAI_AGAIN'],
  [-4, 'EAI_FAIL'],
  [-5, 'ENODATA'],
  [-9, 'ENODATA'],
  [-10, 'EAI_MEMORY'],
]);

interface Waiting {
  readonly resolve: (found: readonly string[]) => void;
  readonly reject: (error: Error) => void;
}

export class NativeLookups {
  readonly threads: number;
  private readonly hub: Hub;
  private readonly queue: number;
  /** 0 until something is asked. */
  private handle = 0;
  private readonly waiting = new Map<number, Waiting>();
  private closed = false;

  constructor(hub: Hub, threads = LOOKUP_THREADS, queue = LOOKUP_QUEUE) {
    this.hub = hub;
    this.threads = threads;
    this.queue = queue;
  }

  /** All addresses of a name, in the system's order. Rejects with a `code`: ENOTFOUND, ENODATA, EAI_AGAIN, … */
  async addresses(name: string): Promise<readonly HostAddress[]> {
    const found = await this.ask(name, (handle) => this.hub.poller.lookupName(handle, name));
    return found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  }

  /** The name of an address. Rejects as `addresses`. */
  async nameOf(address: string): Promise<string> {
    const [name] = await this.ask(address, (handle) => this.hub.poller.lookupAddress(handle, address));
    return name ?? '';
  }

  /** Rejects what waits with EAI_AGAIN. Calls under way end by themselves. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    if (this.handle > 0) {
      this.hub.unwatch(this.handle);
      this.hub.poller.closeHandle(this.handle);
    }
    for (const { reject } of this.waiting.values()) reject(failure('EAI_AGAIN', 'the network is stopping'));
    this.waiting.clear();
  }

  private ask(what: string, begin: (handle: number) => number): Promise<readonly string[]> {
    if (this.closed) return Promise.reject(failure('EAI_AGAIN', 'the network is stopping'));
    if (this.handle <= 0) this.handle = this.hub.poller.lookupOpen(this.threads, this.queue);
    const id = this.handle > 0 ? begin(this.handle) : this.handle;
    if (id < 0) {
      // A full queue, no threads, no descriptors: it may go better later.
      return Promise.reject(failure('EAI_AGAIN', `${what}: ${errnoName(id)}`));
    }
    return new Promise((resolve, reject) => {
      // The process is kept for what is asked, and not for being able to ask.
      if (this.waiting.size === 0) {
        this.hub.watch(this.handle, () => {
          this.ready();
        });
      }
      this.waiting.set(id, { resolve, reject });
    });
  }

  private ready(): void {
    const { poller } = this.hub;
    for (let done = poller.lookupTake(this.handle); done !== null; done = poller.lookupTake(this.handle)) {
      const { id, error, found } = done;
      const waiting = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === 0) waiting?.resolve(found);
      else waiting?.reject(failure(codeOf(error), 'the system has no answer'));
    }
    if (this.waiting.size === 0) this.hub.unwatch(this.handle);
  }
}

function codeOf(error: number): string {
  return error > 0 ? errnoName(error) : (CODES.get(error) ?? `EAI_${-error}`);
}

function failure(code: string, why: string): Error {
  return Object.assign(new Error(`${code} ${why}`), { code });
}
