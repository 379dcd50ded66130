/**
 * Small independent clients of the stream transports, written from the wire's description and sharing no code with the
 * links: what a VM monitor on the other side does.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { NetConnectOpts, Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** What the compliance suite does with the other side. */
export interface Peer {
  send(frame: Uint8Array): void;
  /** Frames that arrived; waits until there are `count`. */
  take(count: number): Promise<Buffer[]>;
  readonly received: Buffer[];
  pause(): void;
  resume(): void;
  close(): void;
  readonly closed: Promise<void>;
  /** Bytes straight onto the stream, where there is one. */
  raw?(bytes: Uint8Array): void;
  /** A frame with the transport's length in front. */
  wrap?(frame: Uint8Array): Buffer;
}

export type PeerFraming = 'be32' | 'le16';

export class StreamPeer implements Peer {
  readonly received: Buffer[] = [];
  readonly closed: Promise<void>;
  private readonly input: Duplex;
  private readonly output: Duplex;
  private readonly framing: PeerFraming;
  private pending: Buffer[] = [];
  private pendingBytes = 0;
  private wake: (() => void) | undefined;

  constructor(input: Duplex, framing: PeerFraming, output: Duplex = input, first = Buffer.alloc(0)) {
    this.input = input;
    this.output = output;
    this.framing = framing;
    this.closed = new Promise((resolve) => {
      input.once('close', resolve);
      if (input.destroyed) resolve();
    });
    for (const socket of [input, output]) socket.on('error', () => undefined);
    input.on('data', (chunk: Buffer) => {
      this.take1(chunk);
    });
    if (first.length > 0) this.take1(first);
    input.resume();
  }

  wrap(frame: Uint8Array): Buffer {
    const prefix = Buffer.alloc(this.framing === 'be32' ? 4 : 2);
    if (this.framing === 'be32') prefix.writeUInt32BE(frame.length);
    else prefix.writeUInt16LE(frame.length);
    return Buffer.concat([prefix, frame]);
  }

  send(frame: Uint8Array): void {
    this.output.write(this.wrap(frame));
  }

  raw(bytes: Uint8Array): void {
    this.output.write(bytes);
  }

  async take(count: number): Promise<Buffer[]> {
    while (this.received.length < count) await new Promise<void>((resolve) => (this.wake = resolve));
    return this.received.splice(0, count);
  }

  pause(): void {
    this.input.pause();
  }

  resume(): void {
    this.input.resume();
  }

  close(): void {
    this.input.destroy();
    this.output.destroy();
  }

  private take1(chunk: Buffer): void {
    this.pending.push(chunk);
    this.pendingBytes += chunk.length;
    const prefix = this.framing === 'be32' ? 4 : 2;
    let all = this.pending.length === 1 ? chunk : undefined;
    for (;;) {
      if (this.pendingBytes < prefix) break;
      all ??= Buffer.concat(this.pending);
      const length = this.framing === 'be32' ? all.readUInt32BE(0) : all.readUInt16LE(0);
      if (all.length < prefix + length) break;
      this.received.push(Buffer.from(all.subarray(prefix, prefix + length)));
      all = all.subarray(prefix + length);
      this.pendingBytes = all.length;
    }
    if (all !== undefined) this.pending = all.length === 0 ? [] : [all];
    this.wake?.();
    this.wake = undefined;
  }
}

/** Connects, paused. */
export async function dial(options: NetConnectOpts): Promise<Socket> {
  const socket = connect(options);
  await once(socket, 'connect');
  socket.on('error', () => undefined);
  return socket;
}

/** Reads exactly `count` bytes; what comes behind them is put back. Undefined when the stream ends before. */
export function readExactly(socket: Socket, count: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    let got = Buffer.alloc(0);
    const finish = (value: Buffer | undefined): void => {
      socket.off('data', data).off('close', gone);
      socket.pause();
      resolve(value);
    };
    const gone = (): void => finish(undefined);
    const data = (chunk: Buffer): void => {
      got = Buffer.concat([got, chunk]);
      if (got.length < count) return;
      finish(got.subarray(0, count));
      if (got.length > count) socket.unshift(got.subarray(count));
    };
    socket.on('data', data).once('close', gone);
    socket.resume();
  });
}

/** The client's 49 bytes. */
export function vmn3t(version = 22): Buffer {
  const bytes = Buffer.alloc(49);
  bytes.write('VMN3T', 'latin1');
  bytes.writeUInt32LE(version, 5);
  bytes.write('0123456789abcdef0123456789abcdef01234567', 9, 'latin1');
  return bytes;
}

/** The client's 41 bytes; `preferred` as the four bytes on the wire. */
export function vpnkitCommand(
  code: number,
  uuid: string,
  preferred: readonly number[] = [0, 0, 0, 0],
): Buffer {
  const bytes = Buffer.alloc(41);
  bytes[0] = code;
  bytes.write(uuid, 1, 'latin1');
  Buffer.from(preferred).copy(bytes, 37);
  return bytes;
}

/** The whole client side of vpnkit's handshake; returns the server's 258 bytes. */
export async function vpnkitClient(socket: Socket, uuid: string): Promise<Buffer> {
  socket.write(vmn3t());
  const init = await readExactly(socket, 49);
  if (init?.toString('latin1', 0, 5) !== 'VMN3T' || init.readUInt32LE(5) !== 22) throw new Error('bad init');
  socket.write(vpnkitCommand(1, uuid));
  const vif = await readExactly(socket, 258);
  if (vif === undefined) throw new Error('no vif');
  return vif;
}

/** What gvisor-tap-vsock's client sends, byte for byte. */
export const CONNECT_REQUEST = Buffer.from(
  'POST /connect HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 0\r\n\r\n',
  'latin1',
);
