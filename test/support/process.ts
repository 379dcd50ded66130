/**
 * Child processes of the tests: output kept (bounded) and waited for by line, ended by pid, and never
 * outliving the test. Three things see to that: an exit handler here, PR_SET_PDEATHSIG for the case that
 * this process is killed, and the callers' own clean-up.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { within } from './deadline.js';

const MAX_KEPT_CHARS = 8 << 20;
const KILL_GRACE_MS = 5_000;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ExecResult {
  /** The exit code; 128 + 9 and the like when a signal ended it, as a shell would say. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface SpawnOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What descriptors from 3 upwards are: 'pipe' or a descriptor of this process. */
  readonly extra?: readonly ('pipe' | number)[];
  /** Run in this network namespace (by `ip netns exec`). */
  readonly netns?: string;
  /** Standard input: 'pipe' (default) stays open until `end()`. */
  readonly stdin?: 'pipe' | 'ignore' | number;
  /** What errors call it; by default the program's name. */
  readonly label?: string;
}

export interface ExecOptions extends SpawnOptions {
  readonly input?: string | Buffer;
  /** Milliseconds until it is killed and the call fails. Default 20,000. */
  readonly timeoutMs?: number;
  /** Fail unless the exit code is 0. */
  readonly check?: boolean;
}

const alive = new Set<Proc>();
let exitHandler = false;

/** The command line that ends with this process and runs in the namespace; every step execs the next, so the pid stays. */
function wrap(argv: readonly string[], netns: string | undefined): string[] {
  const inside = netns === undefined ? [] : ['ip', 'netns', 'exec', netns];
  const bound = existsSync('/usr/bin/setpriv') ? ['setpriv', '--pdeathsig', 'KILL', '--'] : [];
  return [...inside, ...bound, ...argv];
}

/** A running child. `stdout` and `stderr` hold what it said so far (the last 8 Mi characters of each). */
export class Proc {
  readonly child: ChildProcess;
  readonly label: string;
  readonly exited: Promise<Exit>;
  stdout = '';
  stderr = '';
  #ended: Exit | undefined;
  #watchers = new Set<() => void>();

  constructor(argv: readonly string[], options: SpawnOptions = {}) {
    const [program = '', ...args] = wrap(argv, options.netns);
    const stdio: StdioOptions = [options.stdin ?? 'pipe', 'pipe', 'pipe', ...(options.extra ?? [])];
    this.label = options.label ?? argv[0] ?? '';
    const env = { ...process.env, ...options.env };
    this.child = spawn(program, args, {
      stdio,
      env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    this.child.stdin?.on('error', () => undefined);
    this.#keep('stdout', this.child.stdout);
    this.#keep('stderr', this.child.stderr);
    this.exited = new Promise((resolve) => {
      const end = (exit: Exit) => {
        this.#ended = exit;
        alive.delete(this);
        resolve(exit);
        this.#wake();
      };
      // 'close' comes after the last output; an inherited pipe could keep it away, so exit counts soon after.
      this.child.once('close', (code, signal) => end({ code, signal }));
      this.child.once('exit', (code, signal) => void setTimeout(() => end({ code, signal }), 500).unref());
      this.child.once('error', (error) => {
        this.stderr += String(error);
        end({ code: 127, signal: null });
      });
    });
    alive.add(this);
    killAllAtExit();
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** The exit if it has ended, otherwise undefined. */
  get ended(): Exit | undefined {
    return this.#ended;
  }

  write(data: string | Buffer): void {
    this.child.stdin?.write(data);
  }

  /** Closes its standard input. */
  end(): void {
    this.child.stdin?.end();
  }

  /** The pipe given by `extra`, e.g. `pipe(3)`. */
  pipe(fd: number): Readable & Writable {
    const stream = this.child.stdio[fd];
    if (stream === null || stream === undefined) throw new Error(`${this.label} has no pipe ${fd}`);
    return stream as Readable & Writable;
  }

  /** Calls back for each whole line as it comes, from now on. */
  onLine(stream: 'stdout' | 'stderr', callback: (line: string) => void): void {
    let rest = '';
    this.child[stream]?.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      lines.forEach(callback);
    });
  }

  /** The first match in what it has said or will say; fails when it ends before, or after `timeoutMs`. */
  async waitFor(
    pattern: RegExp,
    timeoutMs = 10_000,
    stream: 'stdout' | 'stderr' = 'stdout',
  ): Promise<RegExpExecArray> {
    const found = new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(this[stream]);
        if (match === null && this.#ended === undefined) return;
        this.#watchers.delete(look);
        if (match !== null) resolve(match);
        else reject(new Error(`${this.describe()} before it said ${pattern}`));
      };
      this.#watchers.add(look);
      look();
    });
    return within(timeoutMs, () => `${this.describe()}; waiting for ${pattern}`, found);
  }

  async waitExit(timeoutMs = 10_000): Promise<Exit> {
    return within(timeoutMs, () => `${this.describe()}; waiting for its end`, this.exited);
  }

  /** Sends a signal and waits for the end; SIGKILL follows after 5 s. */
  async kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    if (this.#ended !== undefined) return this.#ended;
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), KILL_GRACE_MS);
    try {
      return await this.waitExit(2 * KILL_GRACE_MS);
    } finally {
      clearTimeout(timer);
    }
  }

  /** For error messages: state and the end of its output. */
  describe(): string {
    const state =
      this.#ended === undefined
        ? `pid ${this.pid} runs`
        : `ended with ${this.#ended.signal ?? `code ${this.#ended.code}`}`;
    const tails = [this.stdout, this.stderr]
      .map((text) => text.trimEnd().slice(-1_500))
      .filter((text) => text !== '');
    return [`${this.label} ${state}`, ...tails].join('\n  | ');
  }

  #keep(name: 'stdout' | 'stderr', stream: Readable | null): void {
    stream?.setEncoding('utf8');
    stream?.on('data', (text: string) => {
      this[name] += text;
      if (this[name].length > MAX_KEPT_CHARS) this[name] = this[name].slice(-MAX_KEPT_CHARS / 2);
      this.#wake();
    });
  }

  #wake(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }
}

function killAllAtExit(): void {
  if (exitHandler) return;
  exitHandler = true;
  process.on('exit', () => {
    for (const proc of alive) proc.child.kill('SIGKILL');
  });
}

const SIGNAL_CODES: Readonly<Record<string, number>> = {
  SIGKILL: 137,
  SIGTERM: 143,
  SIGINT: 130,
  SIGPIPE: 141,
};

/** Runs a program to its end. */
export async function exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const proc = new Proc(argv, { ...options, stdin: options.input === undefined ? 'ignore' : 'pipe' });
  if (options.input !== undefined) proc.child.stdin?.end(options.input);
  try {
    const { code, signal } = await proc.waitExit(options.timeoutMs ?? 20_000);
    const result = {
      code: code ?? SIGNAL_CODES[signal ?? ''] ?? 128,
      stdout: proc.stdout,
      stderr: proc.stderr,
    };
    if (options.check === true && result.code !== 0) throw new Error(`${argv.join(' ')}: ${proc.describe()}`);
    return result;
  } finally {
    if (proc.ended === undefined) await proc.kill('SIGKILL');
  }
}
