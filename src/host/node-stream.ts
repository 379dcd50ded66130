/**
 * HostStream made from node:net, for hosts without the crate. What Node read waits here, while the socket is paused, until the
 * ring has taken it.
 */
import { type Socket, connect } from 'node:net';
import {
  type Block,
  BlockPool,
  type HostStream,
  type HostStreamHandler,
  type HostTarget,
  type SendRing,
  type SliceQueue,
  plainMemory,
} from '../core/index.js';
import { BIG_READ, type TakeBytes, bigReads, withBigReads } from './big-reads.js';
import { errnoOf } from './errno.js';

/** Bytes given to Node's socket at once; more waits in the flow's own queue. */
const MAX_IN_FLIGHT = 512 * 1024;
/** So many streams are many: each may have to keep what was read. */
const MANY_STREAMS = 64;
/** Reads of at least this much wait in blocks that are used again, bytes; and how many of those there are. */
const BIG_PIECE = 32 * 1024;
const MOST_BLOCKS = 16;

const pool = new BlockPool(plainMemory, BIG_READ, MOST_BLOCKS);
let streamCount = 0;

const many = (): boolean => streamCount > MANY_STREAMS;

export class NodeStream implements HostStream {
  readonly remote: { readonly host: string; readonly port: number } | undefined;
  private readonly socket: Socket;
  private handler: HostStreamHandler | undefined;
  private queue: SliceQueue | undefined;
  /** Bytes at the front of the queue that Node has. */
  private inFlight = 0;
  /** Bytes that Node has written and that were not yet consumed from the queue. */
  private done = 0;
  /** What was read and not taken, and the block that it stands in. */
  private held: Uint8Array | undefined;
  private block: Block | undefined;
  private hostEnded = false;
  private endTold = false;
  private connecting: boolean;
  private readonly unix: boolean;

  /** `open`: makes the socket, whose bytes go to `take`. `unix`: it is no TCP socket and cannot be reset. */
  private constructor(open: (take: TakeBytes) => Socket, connecting: boolean, unix: boolean) {
    const socket = open((bytes) => this.took(bytes));
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
      socket.pause();
      this.took(chunk);
    });
    socket.on('end', () => {
      this.hostEnded = true;
      this.tellEnd();
    });
    socket.on('error', (error) => {
      this.gone(errnoOf(error));
    });
    streamCount++;
    socket.on('close', () => {
      streamCount--;
      this.drop();
      this.gone('ECONNRESET');
    });
  }

  static dial(target: HostTarget, handler: HostStreamHandler): NodeStream {
    const where = target.kind === 'unix' ? { path: target.path } : { host: target.host, port: target.port };
    const stream = new NodeStream(
      (take) => connect({ ...where, allowHalfOpen: true, onread: bigReads(take, many) }),
      true,
      target.kind === 'unix',
    );
    stream.handler = handler;
    stream.socket.once('connect', () => {
      stream.connected();
    });
    return stream;
  }

  /** A connection that stands already; it is used up. Its owner is named by `attach`. */
  static over(socket: Socket, unix = false): NodeStream {
    return new NodeStream((take) => withBigReads(socket, take, many) ?? socket, false, unix);
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
  private connected(): void {
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
    let last: Uint8Array | undefined;
    let written = 0;
    for (let i = 0; i < queue.count && this.inFlight < MAX_IN_FLIGHT; i++) {
      const length = queue.lengthAt(i);
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const chunk = skip === 0 ? queue.viewAt(i) : queue.viewAt(i).subarray(skip);
      skip = 0;
      if (last !== undefined) {
        if (written === 0) socket.cork();
        socket.write(last);
        written += last.length;
      }
      this.inFlight += chunk.length;
      last = chunk;
    }
    if (last !== undefined) {
      const n = written + last.length;
      // They are written in one call: the last one's end is that of all.
      socket.write(last, (error) => {
        this.inFlight -= n;
        if (error !== null && error !== undefined) return;
        this.done += n;
        this.handler?.writable();
      });
      if (written > 0) socket.uncork();
    }
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
    if (n < held.length) {
      this.held = held.subarray(n);
      return n;
    }
    this.drop();
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

  /** Keeps bytes for the owner; true when it has taken them at once. */
  private took(bytes: Uint8Array): boolean {
    if (this.handler === undefined) return false;
    const { length } = bytes;
    // What was read ahead of us comes in one piece of any size.
    const big = length >= BIG_PIECE && length <= BIG_READ && !pool.low;
    this.block = big ? pool.take() : pool.takeSmall(length);
    this.held = this.block.region.bytes.subarray(0, length);
    this.held.set(bytes);
    this.handler.readable();
    return this.isTaken();
  }

  private isTaken(): boolean {
    return this.held === undefined;
  }

  /** Nothing is held any more. */
  private drop(): void {
    this.held = undefined;
    this.block?.release();
    this.block = undefined;
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
