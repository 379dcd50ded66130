/**
 * A link over a Node stream socket (or two pipes), once its handshake is done. The socket must not be in flowing mode;
 * bytes that came behind the handshake are put back with `unshift` first.
 */
import type { Socket } from 'node:net';
import { NetproxyError } from '../core/index.js';
import type { FrameBatch, FrameOutput, LinkHandler } from '../core/index.js';
import { withBigReads } from '../host/index.js';
import { StreamDeframer } from './framing.js';
import type { Framing } from './framing.js';
import { StreamOutput } from './stream-output.js';
import type { LinkDeps, OwnedLink } from './types.js';

export interface SocketLinkOptions {
  readonly kind: string;
  readonly name: string;
  readonly framing: Framing;
  /** Where frames are written; the socket itself when not given. */
  readonly output?: Socket;
}

export class SocketLink implements OwnedLink {
  readonly kind: string;
  readonly name: string;
  readonly output: FrameOutput;
  private readonly deps: LinkDeps;
  private readonly input: Socket;
  private readonly sink: Socket;
  private readonly deframer: StreamDeframer;
  private readonly sender: StreamOutput;
  private handler: LinkHandler | undefined;
  /** Undefined: alive. */
  private end: { readonly reason: Error | undefined } | undefined;
  private readonly whenEnded: (() => void)[] = [];
  private readonly counters = { rxFrames: 0, rxBytes: 0, rxBatches: 0, rxProtocolErrors: 0 };

  constructor(socket: Socket, options: SocketLinkOptions, deps: LinkDeps) {
    const input =
      withBigReads(socket, (bytes) => {
        this.take(bytes);
        return true;
      }) ?? socket;
    this.kind = options.kind;
    this.name = options.name;
    this.deps = deps;
    this.input = input;
    this.sink = options.output === undefined || options.output === socket ? input : options.output;
    const { sink } = this;
    sink.setNoDelay();
    this.sender = new StreamOutput(
      options.framing,
      deps.pool.memory,
      (bytes, done) => sink.write(bytes, done),
      () => this.handler?.writable(),
    );
    this.output = this.sender;
    this.deframer = new StreamDeframer(options.framing, deps.pool, (batch) => {
      this.deliver(batch);
    });
    for (const socket of new Set([input, sink])) {
      socket.on('error', (error) => {
        this.finish(broken(error));
      });
      socket.once('close', () => {
        this.finish(new NetproxyError('ERR_NETPROXY_LINK', 'the peer closed the connection'));
      });
    }
    if (sink.destroyed || input.destroyed) {
      queueMicrotask(() => {
        this.finish(new NetproxyError('ERR_NETPROXY_LINK', 'the peer closed the connection'));
      });
    }
  }

  get stats(): Readonly<Record<string, number>> {
    return { ...this.counters, ...this.sender.stats };
  }

  start(handler: LinkHandler): void {
    this.handler = handler;
    if (this.end !== undefined) {
      const { reason } = this.end;
      queueMicrotask(() => {
        handler.closed(reason);
      });
      return;
    }
    this.input.on('data', (chunk: Buffer) => {
      this.take(chunk);
    });
    this.input.once('end', () => {
      this.peerEnded();
    });
    this.input.resume();
  }

  close(): void {
    this.finish(undefined);
  }

  pause(): void {
    this.input.pause();
  }

  resume(): void {
    if (this.end === undefined) this.input.resume();
  }

  onEnd(callback: () => void): void {
    if (this.end !== undefined) queueMicrotask(callback);
    else this.whenEnded.push(callback);
  }

  private take(chunk: Uint8Array): void {
    if (this.end !== undefined) return;
    this.counters.rxBytes += chunk.length;
    const error = this.deframer.push(chunk);
    if (error === undefined) return;
    this.counters.rxProtocolErrors++;
    this.deps.logger.warn(`link ${this.name}: ${error.message}; connection closed`, { kind: this.kind });
    this.finish(error);
  }

  private deliver(batch: FrameBatch): void {
    this.counters.rxFrames += batch.count;
    this.counters.rxBatches++;
    this.handler?.frames(batch);
  }

  private peerEnded(): void {
    const { pending } = this.deframer;
    const where = pending > 0 ? `${pending} bytes into a frame` : '';
    this.finish(new NetproxyError('ERR_NETPROXY_LINK', `the peer closed the connection ${where}`.trimEnd()));
  }

  private finish(reason: Error | undefined): void {
    if (this.end !== undefined) return;
    this.end = { reason };
    this.input.destroy();
    this.sink.destroy();
    this.deframer.close();
    this.sender.close();
    // Never from inside the owner's own call: `close` may stand in the middle of a batch.
    queueMicrotask(() => {
      this.handler?.closed(reason);
      for (const callback of this.whenEnded) callback();
    });
  }
}

function broken(error: NodeJS.ErrnoException): NetproxyError {
  const errno = error.code;
  return new NetproxyError('ERR_NETPROXY_LINK', `the connection broke: ${error.message}`, {
    cause: error,
    ...(errno === undefined ? {} : { errno }),
  });
}
