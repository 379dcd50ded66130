/** When a long-running command ends: a signal, the parent's end, or its own reasons. */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { EXIT } from './exit.js';

/** How often the parent is looked for, ms: Node has no prctl(PR_SET_PDEATHSIG). */
export const PARENT_POLL = 500;

/** Waits for the end. One per process: it owns the signal handlers until `close`. */
export class Lifecycle {
  /** Resolves with why: `SIGTERM`, `the parent process ended`, … */
  readonly ended: Promise<string>;
  private readonly handlers = new Map<NodeJS.Signals, () => void>();
  private readonly resolve: (why: string) => void;
  private timer: NodeJS.Timeout | undefined;
  private ending = false;

  constructor() {
    let resolve: (why: string) => void = () => undefined;
    this.ended = new Promise((settle) => (resolve = settle));
    this.resolve = resolve;
    this.on('SIGTERM');
    this.on('SIGINT');
    // Under nohup the terminal's end is no reason; otherwise it is one.
    if (!isIgnored('SIGHUP')) this.on('SIGHUP');
  }

  /** Ends for another reason; the first one counts. */
  end(why: string): void {
    this.ending = true;
    this.resolve(why);
  }

  /** Ends when the process has another parent than now. */
  watchParent(): void {
    const parent = process.ppid;
    this.timer = setInterval(() => {
      if (process.ppid !== parent) this.end('the parent process ended');
    }, PARENT_POLL);
    this.timer.unref();
  }

  close(): void {
    clearInterval(this.timer);
    for (const [signal, handler] of this.handlers) process.off(signal, handler);
    this.handlers.clear();
  }

  private on(signal: NodeJS.Signals): void {
    const handler = (): void => {
      // Whoever asks twice does not want to wait.
      if (this.ending) process.exit(EXIT.signalled + constants.signals[signal]);
      this.end(signal);
    };
    this.handlers.set(signal, handler);
    process.on(signal, handler);
  }
}

/** Whether the process was started with a signal ignored (SigIgn of /proc/self/status, Linux; else false). */
export function isIgnored(signal: NodeJS.Signals, status = readStatus()): boolean {
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (mask === undefined) return false;
  return ((BigInt(`0x${mask}`) >> BigInt(constants.signals[signal] - 1)) & 1n) === 1n;
}

function readStatus(): string {
  try {
    return readFileSync('/proc/self/status', 'utf8');
  } catch {
    return '';
  }
}
