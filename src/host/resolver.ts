/**
 * The operating system's resolver (getaddrinfo, getnameinfo) behind a small gate.
 *
 * Both calls block a thread: of the addon, or of a process for them (`getaddrinfo`, `getnameinfo` of the options); the
 * default of this class, libuv's pool, is shared with files: four that hang would stop the process' disk I/O. At most
 * `concurrency` run at once (by default one fewer than the pool has threads, four at most), the others wait in a queue
 * with an end, and each caller gets ETIMEDOUT at its deadline, whether the call came back or not. One call asks for both
 * families, and serves everybody who asks for either while it runs and shortly after.
 */
import { lookup, lookupService } from 'node:dns/promises';
import type { HostAddress, HostResolver, Millis } from '../core/index.js';

/** A queue that is full, or a closed resolver, is a temporary failure. */
const MAX_QUEUE = 512;
/** How long a result serves the question for the other family, and those who ask again at once. */
const MEMO_MILLIS = 1000;
const MAX_MEMO = 1024;

export interface OsResolverOptions {
  /** Calls at once. Default: one fewer than libuv's pool has threads, 1 to 4. */
  readonly concurrency?: number | undefined;
  /** Default 5000. */
  readonly timeout?: Millis | undefined;
  /** Both families of a name; rejects with a `code` as getaddrinfo does. */
  readonly getaddrinfo?: ((name: string) => Promise<readonly HostAddress[]>) | undefined;
  readonly getnameinfo?: ((address: string) => Promise<string>) | undefined;
  readonly now?: (() => Millis) | undefined;
}

interface Memo {
  readonly result: Promise<readonly unknown[]>;
  /** When it is forgotten; Infinity while it runs. */
  until: Millis;
}

export class OsResolver implements HostResolver {
  private readonly concurrency: number;
  private readonly timeout: Millis;
  private readonly getaddrinfo: (name: string) => Promise<readonly HostAddress[]>;
  private readonly getnameinfo: (address: string) => Promise<string>;
  private readonly now: () => Millis;
  private readonly memo = new Map<string, Memo>();
  private readonly queue: (() => void)[] = [];
  private running = 0;
  private closed = false;

  constructor(options: OsResolverOptions = {}) {
    this.concurrency = options.concurrency ?? defaultConcurrency();
    this.timeout = options.timeout ?? 5000;
    this.getaddrinfo = options.getaddrinfo ?? systemAddresses;
    this.getnameinfo = options.getnameinfo ?? systemName;
    this.now = options.now ?? (() => performance.now());
  }

  /** Rejects with ENOTFOUND, with ENODATA when the name has addresses of the other family only, EAI_AGAIN, ETIMEDOUT. */
  async lookup(name: string, family: 4 | 6): Promise<readonly HostAddress[]> {
    const found = await this.once(`name ${name}`, () => this.getaddrinfo(name));
    const own = found.filter((address) => address.family === family);
    if (own.length === 0) throw failure(found.length > 0 ? 'ENODATA' : 'ENOTFOUND', name);
    return own;
  }

  async reverse(address: string): Promise<readonly string[]> {
    return this.once(`address ${address}`, async () => [await this.getnameinfo(address)]);
  }

  /** Calls that run cannot be ended; what waits is rejected. */
  close(): void {
    this.closed = true;
    for (const start of this.queue.splice(0)) start();
    this.memo.clear();
  }

  private once<T>(key: string, call: () => Promise<readonly T[]>): Promise<readonly T[]> {
    const now = this.now();
    const known = this.memo.get(key);
    if (known && known.until > now) return this.inTime(known.result as Promise<readonly T[]>, key);
    if (this.queue.length >= MAX_QUEUE || this.closed) return Promise.reject(failure('EAI_AGAIN', key));
    const result = this.admitted(call);
    const memo: Memo = { result, until: Number.POSITIVE_INFINITY };
    this.memo.delete(key);
    this.memo.set(key, memo);
    const settled = (): void => {
      memo.until = this.now() + MEMO_MILLIS;
    };
    result.then(settled, settled);
    this.forget(now);
    return this.inTime(result, key);
  }

  /** Runs a call when there is a place for it; the place is free, or the next one's, when the call itself ends. */
  private async admitted<T>(call: () => Promise<T>): Promise<T> {
    if (this.running < this.concurrency) this.running++;
    else await new Promise<void>((start) => this.queue.push(start));
    if (this.closed) throw failure('EAI_AGAIN', 'the resolver is closed');
    try {
      return await call();
    } finally {
      const next = this.queue.shift();
      if (next) next();
      else this.running--;
    }
  }

  private inTime<T>(result: Promise<T>, what: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(failure('ETIMEDOUT', what));
      }, this.timeout);
      timer.unref();
      result
        .finally(() => {
          clearTimeout(timer);
        })
        .then(resolve, reject);
    });
  }

  private forget(now: Millis): void {
    for (const [key, memo] of this.memo) {
      if (memo.until > now && this.memo.size <= MAX_MEMO) return;
      this.memo.delete(key);
    }
  }
}

function failure(code: string, what: string): Error {
  return Object.assign(new Error(`${code} ${what}`), { code });
}

function defaultConcurrency(): number {
  const threads = Number(process.env.UV_THREADPOOL_SIZE ?? '4');
  return Math.min(4, Math.max(1, (Number.isInteger(threads) ? threads : 4) - 1));
}

async function systemAddresses(name: string): Promise<readonly HostAddress[]> {
  const found = await lookup(name, { all: true, family: 0, verbatim: true });
  return found.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }));
}

async function systemName(address: string): Promise<string> {
  return (await lookupService(address, 0)).hostname;
}
