/** One TCP connection of a fake host: on one side the network's `HostStream`, on the other a Node stream for the test. */
import { Duplex } from 'node:stream';
import type { Errno, HostStream, HostStreamHandler, Scheduler, SendRing, SliceQueue } from '../core/index.js';

/** What a side takes before the other has to wait, as a kernel's socket buffer. Bytes. */
export const FAKE_SOCKET_BUFFER = 256 * 1024;

/** An error with an errno name, as Node's sockets give them. */
export function errnoError(code: Errno, what: string): Error & { readonly code: string } {
  return Object.assign(new Error(`${what}: ${code}`), { code });
}

/**
 * The test's side of a connection of a fake host. `end` sends FIN and leaves the other half open; `reset`, and `destroy`
 * before both halves have ended, reset. A reset by the network is an error with the code ECONNRESET.
 */
export class HostSocket extends Duplex {
  /** Where the network dialled to, or the listener that was dialled. */
  readonly host: string;
  readonly port: number;
  private readonly stream: FakeStream;
  private pushedEnd = false;
  private wantsData = false;
  private gone = false;

  constructor(stream: FakeStream, host: string, port: number) {
    super({ allowHalfOpen: true });
    this.stream = stream;
    this.host = host;
    this.port = port;
    // A reset that a test does not care about must not end its process; `for await` and `pipeline` see it all the same.
    this.on('error', () => undefined);
  }

  reset(): void {
    this.destroy();
  }

  /** The network reset the connection or let go of it. */
  lost(error: Error): void {
    if (this.gone) return;
    this.gone = true;
    this.destroy(error);
  }

  /** There are bytes, or the end. */
  wake(): void {
    if (this.wantsData) this.deliver();
  }

  override _read(): void {
    this.wantsData = true;
    this.deliver();
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error | null) => void): void {
    if (this.gone) callback(errnoError('EPIPE', 'write'));
    else this.stream.fromHost(chunk, callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.stream.endFromHost();
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.gone && !(this.pushedEnd && this.writableFinished)) this.stream.resetFromHost();
    this.gone = true;
    callback(error);
  }

  private deliver(): void {
    const { stream } = this;
    while (this.wantsData) {
      const chunk = stream.take();
      if (chunk === undefined) break;
      this.wantsData = this.push(chunk);
    }
    if (!stream.networkEnded || this.pushedEnd) return;
    this.pushedEnd = true;
    this.push(null);
  }
}

/** The network's side. */
export class FakeStream implements HostStream {
  readonly socket: HostSocket;
  readonly remote: { readonly host: string; readonly port: number } | undefined;
  readonly local: { readonly host: string; readonly port: number };
  /** The network sent FIN, and the test has read everything before it. */
  get networkEnded(): boolean {
    return this.finFromNetwork && this.toHost.length === 0;
  }
  /** How the network ended it; undefined while it has not. */
  ending: 'reset' | 'close' | undefined;
  /** Payload bytes each way. */
  bytesToHost = 0;
  bytesToNetwork = 0;
  private readonly scheduler: Scheduler;
  private readonly onGone: () => void;
  private handler: HostStreamHandler | undefined;
  private toHost: Uint8Array[] = [];
  private toHostBytes = 0;
  private senderWaits = false;
  private finFromNetwork = false;
  private toNetwork: Uint8Array[] = [];
  private waitingWrite: (() => void) | undefined;
  private finFromHost = false;
  private endTold = false;
  private open = false;

  constructor(
    scheduler: Scheduler,
    target: { readonly host: string; readonly port: number },
    remote: FakeStream['remote'],
    onGone: () => void,
  ) {
    this.scheduler = scheduler;
    this.remote = remote;
    this.local = target;
    this.onGone = onGone;
    this.socket = new HostSocket(this, target.host, target.port);
  }

  attach(handler: HostStreamHandler): void {
    if (this.ending === undefined) this.handler = handler;
  }

  /** The connection stands; what the test wrote can be read. */
  opened(): void {
    this.open = true;
    this.later((handler) => {
      if (this.toNetwork.length > 0) handler.readable();
      this.tellEnd();
    });
  }

  // -- for the network -----------------------------------------------------------------------------------------

  send(queue: SliceQueue): number {
    let taken = 0;
    while (queue.count > 0 && this.toHostBytes < FAKE_SOCKET_BUFFER) {
      const slice = queue.viewAt(0).slice();
      this.toHost.push(slice);
      this.toHostBytes += slice.length;
      taken += slice.length;
      queue.consume(slice.length);
    }
    this.bytesToHost += taken;
    this.senderWaits = queue.count > 0;
    if (taken > 0) {
      this.scheduler.defer(() => {
        this.socket.wake();
      });
    }
    return taken;
  }

  receive(ring: SendRing): number {
    let taken = 0;
    for (let chunk = this.toNetwork[0]; chunk !== undefined && ring.room > 0; chunk = this.toNetwork[0]) {
      const n = ring.write(chunk);
      taken += n;
      if (n < chunk.length) this.toNetwork[0] = chunk.subarray(n);
      else this.toNetwork.shift();
    }
    this.bytesToNetwork += taken;
    if (this.toNetwork.length === 0) {
      const { waitingWrite } = this;
      this.waitingWrite = undefined;
      if (waitingWrite !== undefined) this.scheduler.defer(waitingWrite);
      this.later(() => {
        this.tellEnd();
      });
    }
    return taken;
  }

  shutdown(): void {
    this.finFromNetwork = true;
    this.scheduler.defer(() => {
      this.socket.wake();
    });
  }

  reset(): void {
    if (this.ending !== undefined) return;
    this.letGo('reset');
    this.scheduler.defer(() => {
      this.socket.lost(errnoError('ECONNRESET', 'read'));
    });
  }

  close(): void {
    if (this.ending !== undefined) return;
    this.letGo('close');
    this.finFromNetwork = true;
    this.scheduler.defer(() => {
      this.socket.wake();
    });
  }

  // -- for the test's side -------------------------------------------------------------------------------------

  /** The next bytes for the test. */
  take(): Uint8Array | undefined {
    const chunk = this.toHost.shift();
    if (chunk === undefined) return undefined;
    this.toHostBytes -= chunk.length;
    if (this.senderWaits && this.toHostBytes < FAKE_SOCKET_BUFFER / 2) {
      this.senderWaits = false;
      this.later((handler) => {
        handler.writable();
      });
    }
    return chunk;
  }

  fromHost(chunk: Uint8Array, written: () => void): void {
    if (this.ending !== undefined) {
      // As a kernel does: the bytes go nowhere, the peer is gone.
      written();
      return;
    }
    this.toNetwork.push(chunk);
    this.waitingWrite = written;
    if (this.open) {
      this.later((handler) => {
        handler.readable();
      });
    }
  }

  endFromHost(): void {
    this.finFromHost = true;
    this.later(() => {
      this.tellEnd();
    });
  }

  /** The connection breaks. */
  resetFromHost(errno: Errno = 'ECONNRESET'): void {
    const { handler } = this;
    if (handler === undefined || this.ending !== undefined) return;
    this.letGo('reset');
    if (this.open)
      this.scheduler.defer(() => {
        handler.broken(errno);
      });
  }

  private tellEnd(): void {
    if (this.endTold || !this.open || !this.finFromHost || this.toNetwork.length > 0) return;
    this.endTold = true;
    this.handler?.ended();
  }

  private letGo(how: 'reset' | 'close'): void {
    this.ending = how;
    this.handler = undefined;
    this.toNetwork = [];
    const { waitingWrite } = this;
    this.waitingWrite = undefined;
    if (waitingWrite !== undefined) this.scheduler.defer(waitingWrite);
    this.onGone();
  }

  /** Calls the owner, but never from inside its own call. */
  private later(call: (handler: HostStreamHandler) => void): void {
    this.scheduler.defer(() => {
      if (this.handler !== undefined) call(this.handler);
    });
  }
}
