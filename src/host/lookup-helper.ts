/**
 * getaddrinfo and getnameinfo in a process of their own, where there is no addon with threads for them: calls that hang hold
 * threads of that process, never those of ours, which files need. It is started by the first call, ends with us whatever
 * happens to us, and is started again when it died, once a second at most.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { HostAddress } from '../core/index.js';

/** Calls at once; the process has as many threads. */
export const HELPER_CALLS = 4;
/** It is not started again sooner than this, ms. */
const RESTART = 1000;
/** What one answer may be, characters; more is the process' mistake. */
const MAX_LINE = 1 << 20;

/** Reads `[id, isAddress, text]` a line, answers `[id, code or 0, [text, …]]`. */
const SOURCE = `
const dns = require('dns');
const lines = require('readline').createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const [id, isAddress, text] = JSON.parse(line);
  const done = (error, found) =>
    process.stdout.write(JSON.stringify([id, error ? error.code || 'EAI_FAIL' : 0, found || []]) + '\\n');
  if (isAddress) dns.lookupService(text, 0, (error, name) => done(error, [name]));
  else dns.lookup(text, { all: true, verbatim: true }, (error, all) => done(error, all && all.map((one) => one.address)));
});
// An ordinary end would wait for threads that hang.
lines.on('close', () => process.kill(process.pid, 'SIGKILL'));
`;

interface Waiting {
  readonly resolve: (found: readonly string[]) => void;
  readonly reject: (error: Error) => void;
}

export class LookupHelper {
  private readonly source: string;
  private readonly now: () => number;
  private child: ChildProcess | undefined;
  private startedAt = Number.NEGATIVE_INFINITY;
  private lastId = 0;
  private readonly waiting = new Map<number, Waiting>();
  private closed = false;

  constructor(source = SOURCE, now: () => number = () => performance.now()) {
    this.source = source;
    this.now = now;
  }

  /** All addresses of a name. Rejects with a `code` as Node's lookup does; EAI_AGAIN when there is no process. */
  async addresses(name: string): Promise<readonly HostAddress[]> {
    const found = await this.ask(false, name);
    return found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  }

  async nameOf(address: string): Promise<string> {
    const [name] = await this.ask(true, address);
    return name ?? '';
  }

  /** Rejects what waits, and ends the process. */
  close(): void {
    this.closed = true;
    this.child?.kill('SIGKILL');
    this.failAll();
  }

  private ask(isAddress: boolean, text: string): Promise<readonly string[]> {
    const child = this.running();
    if (child === undefined) return Promise.reject(again());
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      child.stdin?.write(`${JSON.stringify([id, isAddress, text])}\n`);
    });
  }

  private running(): ChildProcess | undefined {
    if (this.closed || this.child !== undefined) return this.closed ? undefined : this.child;
    if (this.now() - this.startedAt < RESTART) return undefined;
    this.startedAt = this.now();
    const env = { ...process.env, ELECTRON_RUN_AS_NODE: '1', UV_THREADPOOL_SIZE: String(HELPER_CALLS) };
    // What our own process was asked to load or to open is not for this one.
    const child = spawn(process.execPath, ['-e', this.source], {
      env: { ...env, NODE_OPTIONS: '' },
      stdio: ['pipe', 'pipe', 'ignore'],
      windowsHide: true,
    });
    const ended = (): void => {
      if (this.child !== child) return;
      this.child = undefined;
      this.failAll();
    };
    child.once('error', ended).once('exit', ended);
    child.stdin.on('error', ended);
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > MAX_LINE || !lines.every((line) => this.answered(line))) child.kill('SIGKILL');
    });
    // It does not keep our process alive.
    child.unref();
    for (const stream of [child.stdin, child.stdout]) (stream as unknown as { unref?: () => void }).unref?.();
    this.child = child;
    return child;
  }

  /** false: this is no answer of ours; the process is not what it should be. */
  private answered(line: string): boolean {
    try {
      const [id, code, found] = JSON.parse(line) as [number, string | 0, string[]];
      const waiting = this.waiting.get(id);
      this.waiting.delete(id);
      if (code === 0) waiting?.resolve(found);
      else waiting?.reject(Object.assign(new Error(code), { code }));
      return true;
    } catch {
      return false;
    }
  }

  private failAll(): void {
    for (const { reject } of this.waiting.values()) reject(again());
    this.waiting.clear();
  }
}

function again(): Error {
  return Object.assign(new Error('EAI_AGAIN: the helper for names is not there'), { code: 'EAI_AGAIN' });
}
