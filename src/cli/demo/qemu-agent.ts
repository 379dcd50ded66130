/**
 * The host's side of the agent in the QEMU guest (test/vm/image/agent describes the messages): runs bash scripts over a
 * virtio-serial port.
 */
import type { Socket } from 'node:net';
import type { ScriptResult } from './shell.js';

const HEADER = /^(READY|END) ([\d.]+) (\d+) (\d+)$/;

interface Waiting {
  readonly resolve: (result: ScriptResult) => void;
  readonly reject: (error: Error) => void;
}

export class QemuAgent {
  /** Resolves when the guest takes commands. */
  readonly ready: Promise<void>;
  private readonly socket: Socket;
  private readonly waiting = new Map<number, Waiting>();
  private announce: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
  private buffered: Buffer = Buffer.alloc(0);
  private nextId = 1;

  constructor(socket: Socket) {
    this.socket = socket;
    this.ready = new Promise((resolve, reject) => (this.announce = { resolve, reject }));
    this.ready.catch(() => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.buffered = this.buffered.length === 0 ? chunk : Buffer.concat([this.buffered, chunk]);
      while (this.parse());
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.fail(new Error('the guest is gone'));
    });
  }

  /** Runs a script; its code and its output, stdout and stderr together. */
  run(script: string): Promise<ScriptResult> {
    const id = this.nextId++;
    const body = Buffer.from(script);
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.socket.write(Buffer.concat([Buffer.from(`RUN ${id} ${body.length}\n`), body]));
    });
  }

  fail(error: Error): void {
    this.announce?.reject(error);
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
    this.socket.destroy();
  }

  /** Takes one message off the front; false when it is not whole. */
  private parse(): boolean {
    const end = this.buffered.indexOf('\n');
    if (end < 0) return false;
    const match = HEADER.exec(this.buffered.toString('latin1', 0, end));
    if (match === null) {
      this.fail(new Error('the guest agent said something else than expected'));
      return false;
    }
    const bytes = Number(match[4]);
    if (this.buffered.length < end + 1 + bytes) return false;
    const output = this.buffered.toString('utf8', end + 1, end + 1 + bytes);
    this.buffered = this.buffered.subarray(end + 1 + bytes);
    if (match[1] === 'READY') this.announce?.resolve();
    else {
      this.waiting.get(Number(match[2]))?.resolve({ code: Number(match[3]), output });
      this.waiting.delete(Number(match[2]));
    }
    return true;
  }
}
