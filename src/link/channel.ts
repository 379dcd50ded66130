/** The bytes of a connection before it is a link: what a handshake reads and writes, with a bound on what it keeps. */
import type { Socket } from 'node:net';
import { NetproxyError } from '../core/index.js';
import type { Framing } from './framing.js';
import type { NativeHub } from './native-hub.js';
import { promote } from './promote.js';
import { SocketLink } from './socket-link.js';
import type { LinkDeps, OwnedLink } from './types.js';

/** How long a peer may take to read a refusal before its connection is cut, ms. */
const LINGER = 1000;

/** One connection whose handshake is under way. Made by Node's sockets and by the native layer. */
export interface ByteChannel {
  /** For people. */
  readonly name: string;
  /** The next bytes, at least one; undefined: the connection ended. One call at a time. */
  read(): Promise<Uint8Array | undefined>;
  /** Resolves when the system has the bytes (also when the connection broke: `read` tells that). */
  write(bytes: Uint8Array): Promise<void>;
  /** Writes a last word, lets the peer read it, closes. */
  end(bytes: Uint8Array): void;
  /** Closes at once; after `end` it does nothing. */
  destroy(): void;
  /** Makes it a link whose first bytes are `rest`. The channel is used up. */
  toLink(kind: string, framing: Framing, rest: Uint8Array, deps: ChannelDeps): OwnedLink;
  /** The socket with `rest` put back, for an HTTP server; undefined where there is no Node socket. Used up after it. */
  toSocket(rest: Uint8Array): Socket | undefined;
}

export interface ChannelDeps extends LinkDeps {
  /** The native layer takes the descriptor over when it is there. */
  readonly native?: NativeHub | undefined;
}

/** Reads a channel in pieces of a known size. */
export class ChannelReader {
  readonly channel: ByteChannel;
  private buffer: Buffer = Buffer.alloc(0);

  constructor(channel: ByteChannel) {
    this.channel = channel;
  }

  /** What was read and not taken: belongs to whoever comes next. */
  get rest(): Buffer {
    return this.buffer;
  }

  /** Waits until `count` bytes are there and leaves them in `rest`. Rejects when the connection ends before. */
  async fill(count: number): Promise<Buffer> {
    while (this.buffer.length < count) await this.more();
    return this.buffer;
  }

  /** Waits for bytes on top of `rest`. */
  async more(): Promise<Buffer> {
    const chunk = await this.channel.read();
    if (chunk === undefined) {
      throw new NetproxyError('ERR_NETPROXY_PROTOCOL', 'the peer closed the connection during the handshake');
    }
    this.buffer = Buffer.concat([this.buffer, chunk]);
    return this.buffer;
  }

  async take(count: number): Promise<Buffer> {
    const all = await this.fill(count);
    this.buffer = all.subarray(count);
    return all.subarray(0, count);
  }
}

export class SocketChannel implements ByteChannel {
  readonly name: string;
  private readonly socket: Socket;
  private waiting: ((chunk: Uint8Array | undefined) => void) | undefined;
  private readonly queue: Buffer[] = [];
  private over = false;
  private ending = false;

  /** The socket must be paused (`pauseOnConnect`, or just connected). */
  constructor(socket: Socket, name: string) {
    this.socket = socket;
    this.name = name;
    socket.on('data', this.onData);
    // Stays for good: an 'error' without a listener would end the process.
    socket.on('error', this.onEnd);
    socket.on('end', this.onEnd);
    socket.on('close', this.onEnd);
    socket.pause();
  }

  read(): Promise<Uint8Array | undefined> {
    const chunk = this.queue.shift();
    if (chunk !== undefined || this.over || this.socket.destroyed) return Promise.resolve(chunk);
    return new Promise((resolve) => {
      this.waiting = resolve;
      this.socket.resume();
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.destroyed) resolve();
      else this.socket.write(bytes, () => resolve());
    });
  }

  end(bytes: Uint8Array): void {
    const { socket } = this;
    this.ending = true;
    this.detach();
    // Input is read and thrown away: closing with unread bytes would reset the connection under the last word.
    socket.resume();
    socket.end(bytes);
    const timer = setTimeout(() => socket.destroy(), LINGER).unref();
    socket.once('close', () => clearTimeout(timer));
  }

  destroy(): void {
    if (this.ending) return;
    this.socket.destroy();
    this.onEnd();
  }

  toLink(kind: string, framing: Framing, rest: Uint8Array, deps: ChannelDeps): OwnedLink {
    const { socket, name } = this;
    this.detach();
    const options = { kind, name, framing };
    const link = deps.native && promote(socket, rest, options, deps, deps.native);
    if (link !== undefined) return link;
    if (rest.length > 0) socket.unshift(rest);
    return new SocketLink(socket, options, deps);
  }

  toSocket(rest: Uint8Array): Socket {
    const { socket } = this;
    this.detach();
    socket.off('error', this.onEnd);
    if (rest.length > 0) socket.unshift(rest);
    return socket;
  }

  private readonly onData = (chunk: Buffer): void => {
    this.socket.pause();
    const { waiting } = this;
    this.waiting = undefined;
    if (waiting === undefined) this.queue.push(chunk);
    else waiting(chunk);
  };

  private readonly onEnd = (): void => {
    this.over = true;
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.(undefined);
  };

  private detach(): void {
    const { socket } = this;
    socket.pause();
    socket.off('data', this.onData);
    socket.off('end', this.onEnd);
    socket.off('close', this.onEnd);
    for (const chunk of this.queue.splice(0).reverse()) socket.unshift(chunk);
  }
}
