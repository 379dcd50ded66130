/** A connection with a guest as a Node Duplex: for services of the gateway, for `dial` and `listen` of the library. */
import { Duplex } from 'node:stream';
import { NetproxyError, formatIpv4 } from '../core/index.js';
import type { TcpApplication, TcpEndpoint } from '../stack/index.js';
import type { TcpEnd } from '../tcp/index.js';

const END_ERRORS: Readonly<Record<TcpEnd, { readonly errno: string; readonly text: string } | undefined>> = {
  closed: undefined,
  reset: { errno: 'ECONNRESET', text: 'the guest reset the connection' },
  aborted: { errno: 'ECONNABORTED', text: 'the connection was aborted' },
  timeout: { errno: 'ETIMEDOUT', text: 'the guest did not answer' },
};

export class GuestStream extends Duplex implements TcpApplication {
  private held: TcpEndpoint | undefined;
  private guestEnded = false;
  private wantsData = false;
  private pending: { chunk: Uint8Array; callback: (error?: Error | null) => void } | undefined;
  private ended = false;
  private closeLater = false;

  constructor() {
    super({ allowHalfOpen: true });
  }

  /** The connection; set once, before or after the stream's user began to read and write. */
  get endpoint(): TcpEndpoint {
    if (this.held === undefined)
      throw new NetproxyError('ERR_NETPROXY_STATE', 'the connection has not begun');
    return this.held;
  }

  set endpoint(endpoint: TcpEndpoint) {
    this.held = endpoint;
    if (this.destroyed) endpoint.abort();
    else this.acknowledged();
    if (this.closeLater) endpoint.close();
  }

  /** The guest's address. */
  get remoteAddress(): string {
    return formatIpv4(this.endpoint.remoteIp);
  }

  get remotePort(): number {
    return this.endpoint.remotePort;
  }

  /** The address that we play. */
  get localAddress(): string {
    return formatIpv4(this.endpoint.localIp);
  }

  get localPort(): number {
    return this.endpoint.localPort;
  }

  // -- from the stack ------------------------------------------------------------------------------------------

  established(): void {
    this.emit('connect');
  }

  received(): void {
    if (this.wantsData) this.deliver();
  }

  receivedFin(): void {
    this.guestEnded = true;
    if (this.wantsData) this.deliver();
  }

  acknowledged(): void {
    const { pending } = this;
    if (pending === undefined) return;
    this.pending = undefined;
    this._write(pending.chunk, 'buffer', pending.callback);
  }

  gone(end: TcpEnd): void {
    this.ended = true;
    const { pending } = this;
    this.pending = undefined;
    const known = END_ERRORS[end];
    const error =
      known === undefined
        ? null
        : new NetproxyError('ERR_NETPROXY_DIAL', `${this.remoteAddress}:${this.remotePort}: ${known.text}`, {
            errno: known.errno,
          });
    pending?.callback(error);
    if (error !== null) this.destroy(error);
  }

  // -- from the stream's user ----------------------------------------------------------------------------------

  override _read(): void {
    this.wantsData = true;
    this.deliver();
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error | null) => void): void {
    if (this.ended) {
      callback(new NetproxyError('ERR_NETPROXY_DIAL', 'the connection is closed', { errno: 'EPIPE' }));
      return;
    }
    const n = this.held?.connection.ring.write(chunk) ?? 0;
    if (n > 0) this.endpoint.wrote();
    if (n === chunk.length) callback();
    else this.pending = { chunk: chunk.subarray(n), callback };
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (this.held === undefined) this.closeLater = true;
    else if (!this.ended) this.endpoint.close();
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.ended && this.held !== undefined) {
      // Whoever destroys a stream that was not read or written to its end resets it.
      if (this.guestEnded && this.writableFinished) this.endpoint.close();
      else this.endpoint.abort();
    }
    callback(error);
  }

  private deliver(): void {
    if (this.ended || this.held === undefined) return;
    const queue = this.endpoint.connection.received;
    let taken = 0;
    while (this.wantsData && queue.count > 0) {
      // A copy: the block goes back to the pool, the stream's user keeps the bytes.
      const chunk = Buffer.from(queue.viewAt(0));
      queue.consume(chunk.length);
      taken += chunk.length;
      this.wantsData = this.push(chunk);
    }
    if (taken > 0) this.endpoint.consumed(taken);
    if (this.guestEnded && queue.bytes === 0 && this.wantsData) {
      this.wantsData = false;
      this.push(null);
    }
  }
}
