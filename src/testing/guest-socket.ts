/** A guest's connection as a Node stream. */
import { Duplex } from 'node:stream';
import { formatIpv4 } from '../core/index.js';
import type { TcpInfo } from '../tcp/index.js';
import type { GuestConnection } from './guest-connection.js';
import { GuestError } from './guest-error.js';

/**
 * A TCP connection of a `ScriptedGuest`. `end` sends FIN and leaves the other half open; `reset`, and `destroy` before both
 * halves have ended, send RST. The peer's RST is an error with the code ECONNRESET.
 *
 * @example
 * const socket = await guest.connect('192.168.127.254', 8080);
 * socket.end('GET / HTTP/1.0\r\n\r\n');
 * for await (const chunk of socket) process.stdout.write(chunk);
 */
export class GuestSocket extends Duplex {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Payload that the application took. */
  bytesRead = 0;
  /** Payload that was given to TCP. */
  bytesWritten = 0;
  private readonly connection: GuestConnection;
  private wantsData = false;
  private peerEnded = false;
  private pushedEnd = false;
  private isGone = false;
  private pending: { chunk: Uint8Array; callback: (error?: Error | null) => void } | undefined;

  constructor(connection: GuestConnection, localAddress: string) {
    super({ allowHalfOpen: true });
    this.connection = connection;
    this.localAddress = localAddress;
    this.localPort = connection.localPort;
    this.remoteAddress = formatIpv4(connection.remoteIp);
    this.remotePort = connection.remotePort;
    // A reset that a test does not care about must not end its process; `for await` and `pipeline` see it all the same.
    this.on('error', () => undefined);
  }

  /** The connection in numbers, as `ss -ti` shows it. */
  info(): TcpInfo {
    return this.connection.tcp.info();
  }

  /** Sends RST. Emits no error. */
  reset(): void {
    if (!this.isGone) this.connection.tcp.abort(this.connection.now());
    this.isGone = true;
    this.connection.touch();
    this.destroy();
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

  gone(error: GuestError | undefined): void {
    this.isGone = true;
    const { pending } = this;
    this.pending = undefined;
    pending?.callback(error ?? new GuestError('EPIPE', `${this.remoteAddress}:${this.remotePort}`));
    if (error !== undefined) this.destroy(error);
    else if (this.wantsData) this.deliver();
  }

  /** The machine lost its power: no error, no end. */
  lost(): void {
    this.isGone = true;
    this.destroy();
  }

  // -- from the stream's user ----------------------------------------------------------------------------------

  override _read(): void {
    this.wantsData = true;
    this.deliver();
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error | null) => void): void {
    if (this.isGone) {
      callback(new GuestError('EPIPE', `${this.remoteAddress}:${this.remotePort}`));
      return;
    }
    const { tcp } = this.connection;
    const n = tcp.ring.write(chunk);
    this.bytesWritten += n;
    if (n > 0) {
      tcp.wrote();
      this.connection.touch();
    }
    if (n === chunk.length) callback();
    else this.pending = { chunk: chunk.subarray(n), callback };
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (!this.isGone) {
      this.connection.tcp.close(this.connection.now());
      this.connection.touch();
    }
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const { tcp } = this.connection;
    const { pending } = this;
    this.pending = undefined;
    pending?.callback(error ?? new GuestError('ECONNABORTED', `${this.remoteAddress}:${this.remotePort}`));
    if (!this.isGone && !(this.pushedEnd && this.writableFinished)) {
      tcp.abort(this.connection.now());
      this.connection.touch();
    }
    this.isGone = true;
    callback(error);
  }

  private deliver(): void {
    const { tcp } = this.connection;
    const queue = tcp.received;
    let taken = 0;
    while (this.wantsData && queue.count > 0) {
      // A copy: the block goes back to its pool, the stream's user keeps the bytes.
      const chunk = Buffer.from(queue.viewAt(0));
      queue.consume(chunk.length);
      taken += chunk.length;
      this.wantsData = this.push(chunk);
    }
    if (taken > 0) {
      this.bytesRead += taken;
      tcp.consumed(taken, this.connection.now());
      this.connection.touch();
    }
    if (!this.peerEnded || this.pushedEnd || queue.bytes > 0) return;
    this.pushedEnd = true;
    this.push(null);
  }
}
