/** A network made by the library in a process of its own: its counters, descriptors and heap can be asked for. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AttachOptions, Explanation, ExplainQuery, FlowInfo, Network, NetworkConfig } from 'netproxy';
import { until, within } from '../support/deadline.js';
import { Proc } from '../support/process.js';

const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), 'library.mjs');

export interface LibraryOptions {
  readonly config?: NetworkConfig;
  readonly taps?: readonly {
    readonly name: string;
    readonly netns: string;
    readonly guest?: AttachOptions;
  }[];
  /** Where QEMU guests attach, as `listenLinks` takes it. */
  readonly qemu?: string;
}

/** What the process holds, after a full garbage collection. */
export interface Look {
  readonly stats: ReturnType<Network['stats']>;
  readonly flows: number;
  /** Open descriptors. */
  readonly fds: number;
  /** Handles of the native poller. */
  readonly handles: number;
  /** What keeps Node alive, counted by its names. */
  readonly resources: Readonly<Record<string, number>>;
  /** Bytes. */
  readonly memory: {
    readonly heapUsed: number;
    readonly external: number;
    readonly arrayBuffers: number;
    readonly rss: number;
  };
  /** Exceptions that nobody caught: there must be none. */
  readonly uncaught: number;
}

interface Message {
  readonly ready?: { readonly addresses: Network['addresses']; readonly native: boolean };
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly code?: string; readonly message: string };
}

export class LibraryNetwork {
  readonly proc: Proc;
  readonly #replies = new Map<number, (message: Message) => void>();
  #nextId = 1;

  private constructor(proc: Proc) {
    this.proc = proc;
  }

  /** Starts it in a namespace, by default with one TAP as the lab's guest has it. */
  static async start(netns: string, options: LibraryOptions): Promise<LibraryNetwork> {
    const argv = [process.execPath, '--expose-gc', SCRIPT, JSON.stringify(options)];
    const library = new LibraryNetwork(
      new Proc(argv, { netns, label: 'library', env: { NETPROXY_NO_VSOCK: '1' } }),
    );
    library.proc.onLine('stdout', (line) => {
      library.#take(JSON.parse(line) as Message);
    });
    try {
      await library.proc.waitFor(/"ready"/, 20_000);
    } catch (error) {
      await library.stop();
      throw error;
    }
    return library;
  }

  look(): Promise<Look> {
    return this.#command('look') as Promise<Look>;
  }

  /** Looks until what it sees fits; the error shows the last look. */
  async lookUntil(what: string, fits: (look: Look) => boolean, timeoutMs = 30_000): Promise<Look> {
    let last: Look | undefined;
    try {
      return await until(
        timeoutMs,
        what,
        async () => {
          last = await this.look();
          return fits(last) && last;
        },
        250,
      );
    } catch (error) {
      throw new Error(`${(error as Error).message}; last seen: ${JSON.stringify(last)}`, { cause: error });
    }
  }

  flows(): Promise<FlowInfo[]> {
    return this.#command('flows') as Promise<FlowInfo[]>;
  }

  explain(query: ExplainQuery): Promise<Explanation> {
    return this.#command('explain', query) as Promise<Explanation>;
  }

  publish(spec: string): Promise<{ host: string; port: number }> {
    return this.#command('publish', spec) as Promise<{ host: string; port: number }>;
  }

  /** Stops the network; the process stays. */
  async stopNetwork(): Promise<void> {
    await this.#command('stop');
  }

  async stop(): Promise<void> {
    await this.proc.kill('SIGKILL');
  }

  #command(command: string, argument?: unknown): Promise<unknown> {
    const id = this.#nextId++;
    const reply = new Promise<unknown>((resolve, reject) => {
      this.#replies.set(id, ({ result, error }) => {
        if (error === undefined) resolve(result);
        else reject(Object.assign(new Error(error.message), error));
      });
    });
    this.proc.write(`${JSON.stringify({ id, command, argument })}\n`);
    return within(20_000, () => `${command}: ${this.proc.describe()}`, reply);
  }

  #take(message: Message): void {
    if (message.id === undefined) return;
    this.#replies.get(message.id)?.(message);
    this.#replies.delete(message.id);
  }
}
