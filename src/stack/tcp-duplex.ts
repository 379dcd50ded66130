/** A TCP connection as a Node Duplex: what the ends of both sides, ours and a scripted guest's, have in common. */
import { Duplex } from 'node:stream';
import type { TcpConnection } from '../tcp/index.js';

/** Whose connection the stream reads and writes; `TcpEndpoint` is one. */
export interface TcpSide {
  readonly connection: TcpConnection;
  /** Bytes were put into the send ring. */
  wrote(): void;
  /** `n` bytes were taken from `connection.received`. */
  consumed(n: number): void;
  /** FIN behind what was written. */
  close(): void;
  /** RST. */
  abort(): void;
}

/**
 * `end` sends FIN and leaves the other half open; `destroy` before both halves have ended sends RST. Bytes are copied out: the
 * stream's user keeps them, the blocks go back to their pool.
 */
export abstract class TcpDuplex extends Duplex {
  /** Payload that the stream's user took. */
  bytesRead = 0;
  /** Payload that was given to TCP. */
  bytesWritten = 0;
  private peerEnded = false;
  private pushedEnd = false;
  private wantsData = false;
  private pending: { chunk: Uint8Array; callback: (error?: Error | null) => void } | undefined;
  private over = false;
  private closeLater = false;

  constructor() {
    super({ allowHalfOpen: true });
  }

  /** The connection; undefined while it has not begun: what is written waits. */
  protected abstract get side(): TcpSide | undefined;

  /** What somebody gets who writes to a connection that has ended. */
  protected abstract brokenPipe(): Error;

  /** There is a connection now. */
  protected begin(side: TcpSide): void {
    if (this.destroyed) side.abort();
    else this.acknowledged();
    if (this.closeLater) side.close();
  }

  /** The connection is gone; `error`: not as both sides wanted. */
  protected finish(error: Error | undefined): void {
    this.over = true;
    const { pending } = this;
    this.pending = undefined;
    pending?.callback(error ?? this.brokenPipe());
    if (error !== undefined) this.destroy(error);
    else if (this.wantsData) this.deliver();
  }

  /** No bytes wait in it, and neither half has ended. */
  get releasable(): boolean {
    if (this.side === undefined || this.over || this.writableEnded || this.pushedEnd) return false;
    return this.pending === undefined && this.writableLength + this.readableLength === 0;
  }

  /** Lets go of a `releasable` connection, which goes on with somebody else. Returns whether the peer has sent FIN. */
  protected letGo(): boolean {
    this.over = true;
    this.destroy();
    return this.peerEnded;
  }

  /** The connection ends without a word to anybody. */
  protected abandon(): void {
    this.over = true;
  }

  // -- from the connection -------------------------------------------------------------------------------------

  received(): void {
    if (this.wantsData) this.deliver();
  }

  receivedFin(): void {
    this.peerEnded = true;
    if (this.wantsData) this.deliver();
  }

  acknowledged(): void {
    const { pending } = this;
    if (pending === undefined) return;
    this.pending = undefined;
    this._write(pending.chunk, 'buffer', pending.callback);
  }

  // -- from the stream's user ----------------------------------------------------------------------------------

  override _read(): void {
    this.wantsData = true;
    this.deliver();
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error | null) => void): void {
    if (this.over) {
      callback(this.brokenPipe());
      return;
    }
    const { side } = this;
    const n = side?.connection.ring.write(chunk) ?? 0;
    this.bytesWritten += n;
    if (n > 0) side?.wrote();
    if (n === chunk.length) callback();
    else this.pending = { chunk: chunk.subarray(n), callback };
  }

  override _final(callback: (error?: Error | null) => void): void {
    const { side } = this;
    if (side === undefined) this.closeLater = true;
    else if (!this.over) side.close();
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const { pending } = this;
    this.pending = undefined;
    pending?.callback(error ?? this.brokenPipe());
    if (!this.over) {
      this.over = true;
      // Whoever destroys a stream that was not read and written to its end resets it.
      if (this.peerEnded && this.writableFinished) this.side?.close();
      else this.side?.abort();
    }
    callback(error);
  }

  private deliver(): void {
    const { side } = this;
    if (side === undefined) return;
    const queue = side.connection.received;
    let taken = 0;
    while (this.wantsData && queue.count > 0) {
      const chunk = Buffer.from(queue.viewAt(0));
      queue.consume(chunk.length);
      taken += chunk.length;
      this.wantsData = this.push(chunk);
    }
    if (taken > 0) {
      this.bytesRead += taken;
      if (!this.over) side.consumed(taken);
    }
    if (!this.peerEnded || this.pushedEnd || queue.bytes > 0) return;
    this.pushedEnd = true;
    this.push(null);
  }
}
