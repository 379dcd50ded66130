/** Reads a stream piece by piece, for handshakes; what was read too much goes on to whoever has the stream next. */
import type { Duplex } from 'node:stream';

export class Reader {
  private readonly stream: Duplex;
  private held: Buffer = Buffer.alloc(0);

  constructor(stream: Duplex) {
    this.stream = stream;
  }

  /** What is there and was not taken. */
  get bytes(): Buffer {
    return this.held;
  }

  /** Waits for more bytes. Rejects when the stream ends or breaks. */
  async more(): Promise<void> {
    const chunk = (this.stream.read() as Buffer | null) ?? (await this.wait());
    this.held = this.held.length === 0 ? chunk : Buffer.concat([this.held, chunk]);
  }

  /** The next `n` bytes. */
  async take(n: number): Promise<Buffer> {
    while (this.held.length < n) await this.more();
    const taken = this.held.subarray(0, n);
    this.held = this.held.subarray(n);
    return taken;
  }

  /** Takes all that is there. */
  rest(): Buffer {
    const { held } = this;
    this.held = Buffer.alloc(0);
    return held;
  }

  private wait(): Promise<Buffer> {
    const { stream } = this;
    return new Promise((resolve, reject) => {
      const done = (act: () => void): void => {
        stream.off('readable', readable).off('end', ended).off('error', failed).off('close', ended);
        act();
      };
      const readable = (): void => {
        const chunk = stream.read() as Buffer | null;
        if (chunk !== null) done(() => resolve(chunk));
      };
      const ended = (): void => done(() => reject(stream.errored ?? closed()));
      const failed = (error: Error): void => done(() => reject(error));
      if (stream.destroyed || stream.readableEnded) {
        reject(stream.errored ?? closed());
        return;
      }
      stream.on('readable', readable).on('end', ended).on('error', failed).on('close', ended);
    });
  }
}

function closed(): Error {
  return Object.assign(new Error('it closed the connection'), { code: 'ECONNRESET' });
}
