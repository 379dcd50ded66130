/** The built netproxy as a process of a test. */
import { readFileSync, readdirSync } from 'node:fs';
import { within } from '../support/deadline.js';
import { type Exit, Proc, type SpawnOptions } from '../support/process.js';
import { CLI } from '../support/requirements.js';

export interface NetproxyOptions extends SpawnOptions {
  /** Milliseconds until it must have said that it is ready. Default 15,000. */
  readonly readyMs?: number;
  /** Arguments for Node itself, e.g. `['--expose-gc']`. */
  readonly nodeArgs?: readonly string[];
}

const READY_FD = 3;
/** A proxy of the machine that runs the tests is none of theirs. */
const NO_PROXIES = Object.fromEntries(
  ['http_proxy', 'https_proxy', 'all_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'].map((name) => [
    name,
    '',
  ]),
);

export class Netproxy {
  readonly proc: Proc;
  /** What it wrote to the descriptor of `--ready-fd`. */
  readonly ready: string;

  private constructor(proc: Proc, ready: string) {
    this.proc = proc;
    this.ready = ready;
  }

  /**
   * Runs `node dist/cli/main.js ARGS --ready-fd 3` and waits until it is ready. It opens no AF_VSOCK.
   * @throws Error with its output when it ends before, or says nothing in time
   */
  static async start(args: readonly string[], options: NetproxyOptions = {}): Promise<Netproxy> {
    const argv = [
      process.execPath,
      ...(options.nodeArgs ?? []),
      CLI,
      ...args,
      '--ready-fd',
      String(READY_FD),
    ];
    const env = { NETPROXY_NO_VSOCK: '1', ...NO_PROXIES, ...options.env };
    const proc = new Proc(argv, {
      label: 'netproxy',
      ...options,
      env,
      extra: ['pipe', ...(options.extra ?? [])],
    });
    const said = new Promise<string>((resolve, reject) => {
      const pipe = proc.pipe(READY_FD);
      pipe.setEncoding('utf8').once('data', resolve);
      pipe.once(
        'close',
        () => void proc.exited.then(() => reject(new Error(`not ready: ${proc.describe()}`))),
      );
    });
    try {
      return new Netproxy(proc, await within(options.readyMs ?? 15_000, () => proc.describe(), said));
    } catch (error) {
      await proc.kill('SIGKILL');
      throw error;
    }
  }

  get pid(): number {
    return this.proc.pid;
  }

  /** How many descriptors it has open. */
  fds(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Resident memory in KiB. */
  rssKiB(): number {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1] ?? 0);
  }

  /** User and system time it has used, in ms (the kernel counts hundredths of a second). */
  cpuMs(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  /** Sends a signal and waits; tells the exit and how many ms it took. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit & { readonly ms: number }> {
    const started = performance.now();
    const exit = await this.proc.kill(signal);
    return { ...exit, ms: performance.now() - started };
  }
}
