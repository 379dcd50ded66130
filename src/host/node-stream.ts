/**
 * HostStream made from node:net, for hosts without the crate. Node reads into buffers of its own and pushes; what does
 * not fit into the ring waits here while the socket is paused.
 */
import type { Socket } from 'node:net';
import type { HostStream, HostStreamHandler, SendRing, SliceQueue } from '../core/index.js';
import { errnoOf } from './errno.js';

/** Bytes given to Node's socket at once; more waits in the flow's own queue. */
const MAX_IN_FLIGHT = 512 * 1024;

export class NodeStream implements HostStream {
  readonly remote: { readonly host: string; readonly port: number } | undefined;
  private readonly socket: Socket;
  private handler: HostStreamHandler | undefined;
  private queue: SliceQueue | undefined;
  /** Bytes at the front of the queue that Node has, and how many slices those are. */
  private inFlight = 0;
  /** Bytes that Node has written and that were not yet consumed from the queue. */
  private done = 0;
  private held: Uint8Array | undefined;
  private hostEnded = false;
  private endTold = false;
  private connecting: boolean;
  private readonly unix: boolean;

  /** `unix`: the socket is no TCP socket and cannot be reset. */
  constructor(socket: Socket, connecting: boolean, unix = false) {
    this.socket = socket;
    this.unix = unix;
    this.connecting = connecting;
    this.remote =
      !connecting && socket.remoteAddress !== undefined
        ? { host: socket.remoteAddress, port: socket.remotePort ?? 0 }
        : undefined;
    if (!unix) socket.setNoDelay(true);
    socket.pause();
    socket.on('data', (chunk: Uint8Array) => {
      this.held = chunk;
      socket.pause();
      this.handler?.readable();
    });
    socket.on('end', () => {
      this.hostEnded = true;
      this.tellEnd();
    });
    socket.on('error', (error) => {
      this.gone(errnoOf(error));
    });
    socket.on('close', () => {
      this.gone('ECONNRESET');
    });
  }

  get local(): { readonly host: string; readonly port: number } | undefined {
    const { localAddress: host, localPort: port } = this.socket;
    return host === undefined || port === undefined ? undefined : { host, port };
  }

  /** Names the owner; before anything can happen. */
  attach(handler: HostStreamHandler): void {
    this.handler = handler;
  }

  /** The dial succeeded. */
  connected(): void {
    this.connecting = false;
    const { socket } = this;
    if (
      !this.unix &&
      socket.localPort !== undefined &&
      socket.localPort === socket.remotePort &&
      socket.localAddress === socket.remoteAddress
    ) {
      // TCP self-connect (simultaneous open with ourselves): nobody listens there.
      this.connecting = true;
      this.gone('ECONNREFUSED');
      this.kill();
      return;
    }
    this.handler?.connected();
  }

  send(queue: SliceQueue): number {
    this.queue = queue;
    const consumed = this.done;
    this.done = 0;
    queue.consume(consumed);
    const { socket } = this;
    let skip = this.inFlight;
    let corked = false;
    for (let i = 0; i < queue.count && this.inFlight < MAX_IN_FLIGHT; i++) {
      const length = queue.lengthAt(i);
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const chunk = skip === 0 ? queue.viewAt(i) : queue.viewAt(i).subarray(skip);
      skip = 0;
      if (!corked) {
        socket.cork();
        corked = true;
      }
      this.inFlight += chunk.length;
      const n = chunk.length;
      socket.write(chunk, (error) => {
        this.inFlight -= n;
        if (error !== null && error !== undefined) return;
        this.done += n;
        this.handler?.writable();
      });
    }
    if (corked) socket.uncork();
    queue.lent = this.inFlight + this.done;
    return consumed;
  }

  receive(ring: SendRing): number {
    const { held } = this;
    if (held === undefined) {
      if (ring.room > 0) this.socket.resume();
      return 0;
    }
    const n = ring.write(held);
    this.held = n === held.length ? undefined : held.subarray(n);
    if (this.held !== undefined) return n;
    this.socket.resume();
    // The FIN came while the owner had not taken the last bytes yet; never told from inside its own call.
    if (this.hostEnded) {
      queueMicrotask(() => {
        this.tellEnd();
      });
    }
    return n;
  }

  shutdown(): void {
    this.socket.end();
  }

  reset(): void {
    this.handler = undefined;
    this.kill();
  }

  close(): void {
    this.handler = undefined;
    const { socket } = this;
    if (!socket.writableEnded) socket.end();
    if (socket.writableFinished || this.hostEnded) socket.destroySoon();
    else socket.destroy();
  }

  /** RST where there is a connection; a dial under way is given up (Node would wait for it before it resets). */
  private kill(): void {
    const { socket } = this;
    if (socket.connecting || this.unix) socket.destroy();
    else socket.resetAndDestroy();
  }

  private tellEnd(): void {
    if (this.endTold || this.held !== undefined) return;
    this.endTold = true;
    this.handler?.ended();
  }

  private gone(errno: string): void {
    const { handler } = this;
    this.handler = undefined;
    if (handler === undefined) return;
    if (this.connecting) handler.failed(errno);
    else handler.broken(errno);
  }
}
