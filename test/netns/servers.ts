/** The servers of a namespace: one Node process (peer.mjs) that hosts many and reports each connection. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until, within } from '../support/deadline.js';
import { Proc } from '../support/process.js';

const PEER = join(dirname(fileURLToPath(import.meta.url)), 'peer.mjs');

interface Listen {
  /** Where to listen; by default the lab's first address. */
  readonly address?: string;
  /** 0 or none: any free port, see {@link Servers.at}. */
  readonly port?: number;
  /** No events for each connection or datagram; the statistics stay. For many short flows. */
  readonly quiet?: boolean;
}

/**
 * What a server does.
 * - `tcp-echo`: sends back what comes; answers a FIN with a FIN once all is back.
 * - `tcp-discard`: reads to the FIN (at `rate` bytes a second if given), then answers `BYTES SHA256\n` and FIN.
 * - `tcp-source`: sends `bytes` (default 1 MiB) of the test stream from `offset`, then FIN.
 * - `tcp-banner`: speaks first (`text`), then waits for the FIN.
 * - `tcp-hold`: reads and never answers, not even a FIN. `tcp-stall`: accepts and never reads.
 * - `tcp-reset`: RST after `bytes` bytes (default: at once).
 * - `http`: GET /SIZE[?offset=N] (1500, 10K, 100MB, 1GiB); PUT and POST answer `BYTES SHA256\n`; GET /,
 *   /headers, /status/N, /slow/MS. The header x-client names the address and port the server saw.
 * - `udp-echo`, `udp-discard`; `udp-third-party` answers from another port (or `replyAddress`).
 */
export type ServerSpec =
  | (Listen & { readonly kind: 'tcp-echo' | 'tcp-hold' | 'tcp-stall' | 'udp-echo' | 'udp-discard' | 'http' })
  | (Listen & { readonly kind: 'tcp-discard'; readonly rate?: number })
  | (Listen & { readonly kind: 'tcp-source'; readonly bytes?: number; readonly offset?: number })
  | (Listen & { readonly kind: 'tcp-banner'; readonly text?: string })
  | (Listen & { readonly kind: 'tcp-reset'; readonly bytes?: number })
  | (Listen & {
      readonly kind: 'udp-third-party';
      readonly replyAddress?: string;
      readonly replyPort?: number;
    });

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** A connection opened or closed, or a datagram came. */
export interface ServerEvent {
  readonly event: 'open' | 'close' | 'datagram' | 'error';
  /** The server's name. */
  readonly server: string;
  readonly remote?: Endpoint;
  /** Bytes received, on close and datagram. */
  readonly bytes?: number;
  /** Bytes sent, on close. */
  readonly sent?: number;
  /** How the client ended it, on close: by FIN, by RST, otherwise; `local` means the server did first. */
  readonly how?: 'fin' | 'reset' | 'error' | 'local';
  readonly sha256?: string;
  readonly error?: string;
}

export interface ServerStats {
  readonly open: number;
  readonly opened: number;
  readonly closed: number;
  /** Connections that a RST from the client ended. */
  readonly resets: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly datagrams: number;
}

interface Message {
  readonly ready?: Record<string, Endpoint>;
  readonly id?: number;
  readonly result?: unknown;
}

export class Servers {
  readonly proc: Proc;
  /** Every event so far, in order. */
  readonly events: ServerEvent[] = [];
  #endpoints: Record<string, Endpoint> = {};
  #replies = new Map<number, (result: unknown) => void>();
  #nextId = 1;

  private constructor(proc: Proc) {
    this.proc = proc;
  }

  /** Starts the servers in the namespace and waits until all listen. */
  static async start(netns: string, specs: Readonly<Record<string, ServerSpec>>): Promise<Servers> {
    const argv = [process.execPath, PEER, JSON.stringify(specs)];
    const servers = new Servers(new Proc(argv, { netns, label: 'servers' }));
    const ready = new Promise<Record<string, Endpoint>>((resolve) => {
      servers.#listen(resolve);
    });
    const ended = servers.proc.exited.then(() => Promise.reject(new Error(servers.proc.describe())));
    ended.catch(() => undefined);
    try {
      const what = () => servers.proc.describe();
      servers.#endpoints = await within(15_000, what, Promise.race([ready, ended]));
    } catch (error) {
      await servers.stop();
      throw error;
    }
    return servers;
  }

  /** Where a server listens. */
  at(name: string): Endpoint {
    const endpoint = this.#endpoints[name];
    if (endpoint === undefined) throw new Error(`no server "${name}"`);
    return endpoint;
  }

  /** `http://ADDRESS:PORT/path` of a server. */
  url(name: string, path = '/'): string {
    const { address, port } = this.at(name);
    return `http://${address}:${port}${path}`;
  }

  async stats(name: string): Promise<ServerStats> {
    return (await this.#command('stats', name)) as ServerStats;
  }

  /** RST to all its connections. */
  async reset(name: string): Promise<void> {
    await this.#command('reset', name);
  }

  /** FIN to all its connections. */
  async endAll(name: string): Promise<void> {
    await this.#command('end', name);
  }

  /** Stops listening: from now on the port is refused. Connections stay. */
  async close(name: string): Promise<void> {
    await this.#command('close', name);
  }

  /** The first event, past or to come, that fits; fails after `timeoutMs`. */
  async event(what: string, fits: (event: ServerEvent) => boolean, timeoutMs = 10_000): Promise<ServerEvent> {
    return until(timeoutMs, `event: ${what}`, () => this.events.find(fits));
  }

  /** Ends the process; its sockets go with it. */
  async stop(): Promise<void> {
    await this.proc.kill('SIGKILL');
  }

  #command(command: string, server: string): Promise<unknown> {
    this.at(server);
    const id = this.#nextId++;
    const reply = new Promise((resolve) => {
      this.#replies.set(id, resolve);
    });
    this.proc.write(`${JSON.stringify({ id, command, server })}\n`);
    return within(10_000, () => `${command} ${server}: ${this.proc.describe()}`, reply);
  }

  #listen(onReady: (endpoints: Record<string, Endpoint>) => void): void {
    this.proc.onLine('stdout', (line) => {
      const message = JSON.parse(line) as Message & ServerEvent;
      if (message.ready !== undefined) onReady(message.ready);
      else if (message.id !== undefined) {
        this.#replies.get(message.id)?.(message.result);
        this.#replies.delete(message.id);
      } else this.events.push(message);
    });
  }
}
