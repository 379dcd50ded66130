/**
 * A connection of the host as a Node Duplex, for what needs a parser: HTTP, handshakes with proxies. `release` gives the connection
 * back when nothing needs parsing any more, so that a flow can go on with it.
 */
import { Duplex } from 'node:stream';
import {
  type BlockPool,
  type Errno,
  type HostIo,
  type HostStream,
  type HostStreamHandler,
  type HostTarget,
  type Memory,
  NetproxyError,
  SendRing,
  SliceQueue,
} from '../core/index.js';

/** What waits each way before the writer, or the host, has to wait. Bytes. */
const BUFFER = 128 * 1024;
const HIGH_WATER = 64 * 1024;

export interface HostDuplexDeps {
  readonly io: HostIo;
  readonly memory: Memory;
  readonly pool: BlockPool;
}

/** What `release` gives. */
export interface Released {
  readonly stream: HostStream;
  /** The host's side has sent FIN already. */
  readonly ended: boolean;
}

/** A handler that can be changed while the connection stands. */
class Relay implements HostStreamHandler {
  to: HostStreamHandler;

  constructor(to: HostStreamHandler) {
    this.to = to;
  }

  connected(): void {
    this.to.connected();
  }

  failed(errno: Errno): void {
    this.to.failed(errno);
  }

  readable(): void {
    this.to.readable();
  }

  writable(): void {
    this.to.writable();
  }

  ended(): void {
    this.to.ended();
  }

  broken(errno: Errno): void {
    this.to.broken(errno);
  }
}

/** `end` sends FIN and leaves the other half open; `destroy` before that resets. */
export class HostDuplex extends Duplex {
  /** Where it leads, for errors. */
  readonly peer: string;
  private readonly queue: SliceQueue;
  private readonly ring: SendRing;
  private readonly stream: HostStream;
  private readonly relay: Relay;
  private open = false;
  private gone = false;
  private wantsData = false;
  private hostEnded = false;
  private pushedEnd = false;
  private waiting: ((error?: Error | null) => void) | undefined;
  private finishing: (() => void) | undefined;

  private constructor(deps: HostDuplexDeps, target: HostTarget) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER });
    this.peer = target.kind === 'tcp' ? `${target.host}:${target.port}` : target.path;
    this.queue = new SliceQueue(deps.pool);
    this.ring = new SendRing(deps.memory, BUFFER);
    // Whoever has no more use for it does not listen any more.
    this.on('error', () => undefined);
    this.relay = new Relay(this.fromHost());
    this.stream = deps.io.dial(target, this.relay);
  }

  /** Dials. Rejects with ERR_NETPROXY_DIAL whose `errno` says why; `signal` gives it up, with its reason. */
  static dial(deps: HostDuplexDeps, target: HostTarget, signal: AbortSignal): Promise<HostDuplex> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const stream = new HostDuplex(deps, target);
      const aborted = (): void => void stream.destroy(signal.reason as Error);
      signal.addEventListener('abort', aborted, { once: true });
      stream.once('connect', () => {
        signal.removeEventListener('abort', aborted);
        stream.off('error', reject);
        resolve(stream);
      });
      stream.once('error', reject);
      stream.once('close', () => signal.removeEventListener('abort', aborted));
    });
  }

  /** What node:http asks of a socket that it keeps: nothing to do here. */
  setKeepAlive(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setTimeout(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  /** As a socket's: FIN behind what was written, then it lets go. */
  destroySoon(): void {
    if (this.writableFinished) this.destroy();
    else this.end(() => void this.destroy());
  }

  /** No bytes wait in it, and neither half has ended. */
  get releasable(): boolean {
    if (this.gone || !this.open || this.writableEnded || this.pushedEnd) return false;
    return this.queue.bytes + this.writableLength + this.ring.bytes + this.readableLength === 0;
  }

  /** The connection for another handler, when it is `releasable`. */
  release(successor: HostStreamHandler): Released {
    const { ring, stream, hostEnded } = this;
    this.gone = true;
    this.relay.to = successor;
    ring.free();
    this.destroy();
    return { stream, ended: hostEnded };
  }

  // -- from the host -------------------------------------------------------------------------------------------

  private fromHost(): HostStreamHandler {
    const lost = (errno: Errno): void => {
      this.gone = true;
      this.destroy(this.errorOf(errno));
    };
    return {
      connected: () => {
        this.open = true;
        this.emit('connect');
        this.flush();
        if (this.wantsData) this.deliver();
      },
      failed: lost,
      broken: lost,
      readable: () => {
        if (this.wantsData) this.deliver();
      },
      writable: () => {
        this.flush();
      },
      ended: () => {
        this.hostEnded = true;
        if (this.wantsData) this.deliver();
      },
    };
  }

  // -- from the stream's user ----------------------------------------------------------------------------------

  override _read(): void {
    this.wantsData = true;
    this.deliver();
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error | null) => void): void {
    this.queue.copy(chunk, 0, chunk.length);
    this.waiting = callback;
    this.flush();
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.finishing = callback;
    this.flush();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const { waiting } = this;
    this.waiting = undefined;
    if (!this.gone) {
      this.gone = true;
      if (this.writableFinished) this.stream.close();
      else this.stream.reset();
    }
    // Node's sockets may read from the queue still, also after a reset: its blocks are left to the collector then.
    if (this.queue.lent === 0) this.queue.clear();
    this.ring.free();
    waiting?.(error ?? this.errorOf('EPIPE'));
    callback(error);
  }

  private flush(): void {
    if (!this.open || this.gone) return;
    const { queue } = this;
    if (queue.bytes > 0) this.stream.send(queue);
    if (queue.bytes < BUFFER && this.waiting !== undefined) {
      const { waiting } = this;
      this.waiting = undefined;
      waiting();
    }
    if (queue.bytes === 0 && this.finishing !== undefined) {
      const { finishing } = this;
      this.finishing = undefined;
      this.stream.shutdown();
      finishing();
    }
  }

  private deliver(): void {
    if (!this.open || this.gone) return;
    const { ring, stream } = this;
    while (this.wantsData) {
      if (ring.bytes === 0 && (this.hostEnded || stream.receive(ring) === 0)) break;
      const n = Math.min(ring.bytes, ring.contiguous(ring.start));
      const at = ring.offset(ring.start);
      const chunk = Buffer.from(ring.region.bytes.subarray(at, at + n));
      ring.release(n);
      this.wantsData = this.push(chunk);
    }
    if (!this.hostEnded || this.pushedEnd || ring.bytes > 0) return;
    this.pushedEnd = true;
    this.push(null);
  }

  private errorOf(errno: Errno): Error {
    return new NetproxyError('ERR_NETPROXY_DIAL', `${this.peer}: ${errno}`, { errno });
  }
}
