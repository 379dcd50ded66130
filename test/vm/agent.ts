/**
 * The host's side of the guest's agent (image/agent describes the messages): numbers the requests, sends
 * them over the virtio-serial port's socket and matches the answers. It knows nothing of QEMU.
 */
import type { Socket } from 'node:net';

/** What a script in the guest left: its exit code, and stdout and stderr as one stream (at most 16 MiB). */
export interface GuestResult {
  readonly code: number;
  readonly output: string;
  /** The same output, byte for byte. */
  readonly raw: Buffer;
}

interface Waiting {
  readonly resolve: (result: GuestResult) => void;
  readonly reject: (error: Error) => void;
}

interface Header {
  readonly verb: 'READY' | 'END';
  readonly first: number;
  readonly code: number;
  readonly bytes: number;
}

const HEADER = /^(READY|END) ([\d.]+) (\d+) (\d+)$/;
const MAX_HEADER_BYTES = 64;
const PUT_CHUNK_BYTES = 128 << 10;

export class AgentChannel {
  /** Resolves with the guest's uptime in seconds once the agent takes commands. */
  readonly ready: Promise<number>;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  #announce!: { resolve: (uptime: number) => void; reject: (error: Error) => void };
  #chunks: Buffer[] = [];
  #buffered = 0;
  #header: Header | undefined;
  #nextId = 1;
  #closed: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.ready = new Promise((resolve, reject) => (this.#announce = { resolve, reject }));
    this.ready.catch(() => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#buffered += chunk.length;
      this.#parse();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => this.fail(new Error('the guest is gone')));
  }

  /** Starts a bash script. The number is for {@link interrupt}. */
  run(script: string): { id: number; done: Promise<GuestResult> } {
    const body = Buffer.from(script);
    return this.#request('RUN', body.length, '', body);
  }

  /** Ends a script's whole session with SIGKILL; its result then arrives with code 137. */
  interrupt(id: number): void {
    if (this.#closed === undefined) this.#socket.write(`KILL ${id} 0\n`);
  }

  /** Writes a file in the guest, its folders included. A file that exists is replaced. */
  async put(path: string, data: Buffer): Promise<void> {
    if (!/^\/[^\n]*$/.test(path)) throw new Error(`not an absolute path: ${path}`);
    await this.run(`rm -f -- '${path.replaceAll("'", `'\\''`)}'`).done;
    for (let at = 0; at === 0 || at < data.length; at += PUT_CHUNK_BYTES) {
      const chunk = data.subarray(at, at + PUT_CHUNK_BYTES);
      const { code } = await this.#request('PUT', chunk.length, ` ${path}`, chunk).done;
      if (code !== 0) throw new Error(`cannot write ${path} in the guest`);
    }
  }

  /** Asks the guest to power off; no answer comes. */
  powerOff(): void {
    if (this.#closed === undefined) this.#socket.write('OFF 0 0\n');
  }

  /** Ends the channel: everything that waits is rejected. */
  fail(error: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = error;
    this.#announce.reject(error);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#socket.destroy();
  }

  #request(
    verb: string,
    bytes: number,
    rest: string,
    body: Buffer,
  ): { id: number; done: Promise<GuestResult> } {
    const id = this.#nextId++;
    const done = new Promise<GuestResult>((resolve, reject) => {
      if (this.#closed !== undefined) {
        reject(this.#closed);
        return;
      }
      this.#waiting.set(id, { resolve, reject });
      this.#socket.write(Buffer.concat([Buffer.from(`${verb} ${id} ${bytes}${rest}\n`), body]));
    });
    return { id, done };
  }

  #parse(): void {
    for (;;) {
      this.#header ??= this.#takeHeader();
      if (this.#header === undefined || this.#buffered < this.#header.bytes) return;
      const header = this.#header;
      this.#header = undefined;
      this.#deliver(header, this.#take(header.bytes));
    }
  }

  #takeHeader(): Header | undefined {
    const all = this.#take(this.#buffered);
    const end = all.indexOf(0x0a);
    if (end < 0 && all.length <= MAX_HEADER_BYTES) {
      this.#chunks = [all];
      this.#buffered = all.length;
      return undefined;
    }
    const line = all.toString('latin1', 0, end < 0 ? MAX_HEADER_BYTES : end);
    const match = HEADER.exec(line);
    if (match === null) {
      this.fail(new Error(`the guest's agent sent nonsense: ${JSON.stringify(line)}`));
      return undefined;
    }
    this.#chunks = [all.subarray(end + 1)];
    this.#buffered = all.length - end - 1;
    const [, verb, first, code, bytes] = match;
    return { verb: verb as Header['verb'], first: Number(first), code: Number(code), bytes: Number(bytes) };
  }

  #take(bytes: number): Buffer {
    const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#chunks = bytes < all.length ? [all.subarray(bytes)] : [];
    this.#buffered = all.length - bytes;
    return all.subarray(0, bytes);
  }

  #deliver(header: Header, raw: Buffer): void {
    if (header.verb === 'READY') {
      this.#announce.resolve(header.first);
      return;
    }
    const waiting = this.#waiting.get(header.first);
    this.#waiting.delete(header.first);
    waiting?.resolve({ code: header.code, output: raw.toString(), raw });
  }
}
