/**
 * Answers of one proxy auto-config script. It runs in a sandbox (pac-worker.ts) on a thread of its own, and nothing that it does
 * takes longer, or more memory, than this allows: the engine stops it, and the thread is ended where the engine does not get to it.
 *
 * Limits: CPU_MILLIS an answer and PATIENCE until the thread is ended; MEMORY_PAGES of the engine; MAX_NAMES lookups an answer;
 * MAX_WAITING questions. A thread that was ended is started again a second later at the earliest, then after twice as long, 60 s at most.
 */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Millis } from '../core/index.js';
import { PAC_HELPERS } from './pac-helpers.js';
import { PAC_WORKER } from './pac-worker.js';
import { limitMemory } from './wasm-memory.js';

/** For one answer, ms. */
export const CPU_MILLIS: Millis = 1000;
/** Until a thread that says nothing is ended, ms; its start is waited for longer. */
const PATIENCE: Millis = 5000;
const START_PATIENCE: Millis = 30_000;
/** 64 KiB each: 32 MiB; scripts get less, so that the engine itself still works. */
const MEMORY_PAGES = 512;
const SCRIPT_MEMORY = 24 << 20;
const STACK = 256 << 10;
/** Characters of an answer or an argument that are looked at. */
const LONGEST = 8192;
export const MAX_NAMES = 16;
export const MAX_WAITING = 256;
const FIRST_RESTART: Millis = 1000;
const LONGEST_RESTART: Millis = 60_000;

/** Why there is no answer. `time` and `memory`: it took too much of it. */
export type PacTrouble = 'script' | 'time' | 'memory' | 'ended' | 'busy';

export class PacError extends Error {
  readonly kind: PacTrouble;

  constructor(kind: PacTrouble, message: string) {
    super(message);
    this.kind = kind;
  }
}

export interface PacEngineDeps {
  /** Addresses of a name; none where it has none. Must not reject, and come to an end. */
  readonly resolve: (name: string) => Promise<readonly string[]>;
  /** The host's own addresses, the one of its default route first. Must not reject. */
  readonly ownAddresses: () => Promise<readonly string[]>;
  readonly alert: (text: string) => void;
  /** What an answer may take, ms: the engine stops it, then its thread is ended. Default CPU_MILLIS and PATIENCE. */
  readonly cpu?: Millis | undefined;
  readonly patience?: Millis | undefined;
}

interface Question {
  readonly id: number;
  readonly url: string;
  readonly host: string;
  readonly known: ReadonlyMap<string, string>;
}

interface Answer {
  readonly id: number;
  readonly text?: string;
  readonly missing?: string;
  readonly error?: string;
  readonly kind?: PacTrouble;
  readonly fatal?: boolean;
  readonly alert?: string;
}

interface Thread {
  readonly worker: Worker;
  /** It has answered once. */
  warm: boolean;
  over: boolean;
}

export class PacEngine {
  /** Threads that were ended because they took too long, or broke. */
  ended = 0;
  private readonly script: string;
  private readonly deps: PacEngineDeps;
  private thread: Promise<Thread> | undefined;
  private tail: Promise<unknown> = Promise.resolve();
  private waiting = 0;
  private lastId = 0;
  private pause: Millis = 0;
  private notBefore = 0;
  private closed = false;

  constructor(script: string, deps: PacEngineDeps) {
    this.script = script;
    this.deps = deps;
  }

  /** What the script says of a URL. Rejects with PacError. */
  async find(url: string, host: string): Promise<string> {
    const known = new Map<string, string>();
    for (let asked = 0; asked <= MAX_NAMES; asked++) {
      const { text, missing, error, kind } = await this.ask(url, host, known);
      if (text !== undefined) return text;
      if (missing === undefined) throw new PacError(kind ?? 'script', error ?? 'no answer');
      const found = await (missing === '' ? this.deps.ownAddresses() : this.deps.resolve(missing));
      known.set(missing, found.join(';'));
    }
    throw new PacError('time', `it asks for more than ${MAX_NAMES} names`);
  }

  close(): void {
    this.closed = true;
    void this.thread?.then((thread) => this.end(thread));
  }

  /** One question after the other: the thread can do no more. */
  private ask(url: string, host: string, known: ReadonlyMap<string, string>): Promise<Answer> {
    if (this.waiting >= MAX_WAITING)
      return Promise.reject(new PacError('busy', `more than ${MAX_WAITING} questions wait for it`));
    this.waiting++;
    const answer = this.tail.then(() => this.put({ id: ++this.lastId, url, host, known }));
    const over = (): void => {
      this.waiting--;
    };
    this.tail = answer.then(over, over);
    return answer;
  }

  private async put(question: Question): Promise<Answer> {
    const thread = await this.running();
    const answer = await this.exchange(thread, question);
    thread.warm = true;
    if (answer.fatal === true) this.broken(thread);
    else this.pause = 0;
    return answer;
  }

  private exchange(thread: Thread, question: Question): Promise<Answer> {
    const { worker } = thread;
    return new Promise((resolve, reject) => {
      const done = (act: () => void): void => {
        clearTimeout(timer);
        worker.off('message', hear).off('error', failed).off('exit', gone);
        act();
      };
      const fail = (kind: PacTrouble, message: string): void =>
        done(() => {
          this.broken(thread);
          reject(new PacError(kind, message));
        });
      const limit = thread.warm ? (this.deps.patience ?? PATIENCE) : START_PATIENCE;
      const timer = setTimeout(() => fail('time', 'it took too long'), limit);
      const hear = (answer: Answer): void => {
        if (answer.alert !== undefined) this.deps.alert(answer.alert);
        else if (answer.id === question.id) done(() => resolve(answer));
      };
      const failed = (error: Error): void => fail('memory', `its thread ended: ${error.message}`);
      const gone = (): void => fail('ended', 'its thread ended');
      worker.on('message', hear).once('error', failed).once('exit', gone);
      worker.postMessage(question);
    });
  }

  private running(): Promise<Thread> {
    if (this.closed) return Promise.reject(new PacError('ended', 'it was replaced'));
    if (this.thread === undefined) {
      if (performance.now() < this.notBefore)
        return Promise.reject(new PacError('ended', 'its thread was ended lately'));
      this.thread = this.start();
      this.thread.catch(() => (this.thread = undefined));
    }
    return this.thread;
  }

  /** Nothing of it is loaded before it is needed: the engine takes some 30 MiB. */
  private async start(): Promise<Thread> {
    const require = createRequire(import.meta.url);
    const wasm = limitMemory(await readFile(require.resolve('quickjs-wasi/quickjs.wasm')), MEMORY_PAGES);
    const workerData = {
      engine: pathToFileURL(require.resolve('quickjs-wasi')).href,
      wasm,
      helpers: PAC_HELPERS,
      script: this.script,
      memory: SCRIPT_MEMORY,
      stack: STACK,
      millis: this.deps.cpu ?? CPU_MILLIS,
      longest: LONGEST,
    };
    const worker = new Worker(PAC_WORKER, {
      eval: true,
      workerData,
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8, stackSizeMb: 4 },
    });
    // It does not keep our process alive, and its errors are told to whoever asks.
    worker.unref();
    worker.on('error', () => undefined);
    const thread = { worker, warm: false, over: false };
    if (this.closed) this.end(thread);
    return thread;
  }

  private broken(thread: Thread): void {
    if (thread.over) return;
    this.end(thread);
    this.thread = undefined;
    this.ended++;
    this.pause = Math.min(Math.max(this.pause * 2, FIRST_RESTART), LONGEST_RESTART);
    this.notBefore = performance.now() + this.pause;
  }

  private end(thread: Thread): void {
    if (thread.over) return;
    thread.over = true;
    void thread.worker.terminate();
  }
}
