#!/usr/bin/env node
// Carries the frames of a TAP over a stream, as a hypervisor would: a kernel becomes a guest of any stream link.
//
//   shim.mjs '{"tap":"tap0","netns":"/run/netns/x","framing":"qemu","stream":{"connect":"/run/vm.sock"}}'
//
// framing: qemu, connect or vpnkit, written here from the protocols' description, without netproxy's own code.
// stream: {"connect":PATH}, {"listen":PATH}, {"fd":N}, or {"vsock":[CID,PORT]} (only inside a QEMU guest).
// blind: {"count":N,"seed":S}: with qemu framing, that many frames of somebody in the same guest who may send anything follow the
// kernel's: resets, SYNs and data for its connections, whose numbers are guessed (attack-frames.mjs).
// The crate opens the TAP and the vsock, which Node cannot. Prints {"attached":…} when frames may flow;
// ends with code 0 when the stream does.

import { connect, createServer, Socket } from 'node:net';
import { blind } from './attack-frames.mjs';
import { loadNative } from '../../dist/native/index.js';

const READ = 1;
const WRITE = 2;
const EAGAIN = -11;
const TAP_BUFFER = 1 << 20;
const TX_STRIDE = 12;
/** Frames and their lengths from a stream, kept below this while the TAP is read no further. */
const MAX_PENDING = 4 << 20;

const print = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const request = JSON.parse(process.argv[2]);
const { addon, reason } = loadNative();
if (addon === undefined) throw new Error(`no addon: ${reason}`);

const watchers = new Map();
const ready = new Int32Array(2 * 256);
const poller = new addon.Poller((count) => {
  for (let i = 0; i < count; i++) watchers.get(ready[2 * i])?.(ready[2 * i + 1]);
}, ready);

function checked(result, what) {
  if (result < 0) throw new Error(`${what}: errno ${-result}`);
  return result;
}

// --- TAP --------------------------------------------------------------------------------------------------

class Tap {
  constructor(name, netns) {
    const plain = { vnetHeader: false, offloads: false };
    this.handle = checked(poller.linkOpenTap(name, netns ?? null, plain), `open ${name}`);
    this.bytes = new Uint8Array(TAP_BUFFER);
    this.meta = new Int32Array(4 * 512);
    this.buffer = poller.register(this.bytes);
    this.metaId = poller.register(this.meta);
    this.out = new Uint8Array(TAP_BUFFER);
    this.outId = poller.register(this.out);
    this.tx = new Int32Array(TX_STRIDE * 512);
    this.txId = poller.register(this.tx);
  }

  /** Calls back with copies of the frames that arrive. */
  start(onFrames) {
    watchers.set(this.handle, () => {
      const count = checked(
        poller.rxBatch(this.handle, this.buffer, 0, TAP_BUFFER, this.metaId, 512),
        'read TAP',
      );
      const frames = [];
      for (let i = 0; i < count; i++) {
        const offset = this.meta[4 * i];
        frames.push(Buffer.from(this.bytes.subarray(offset, offset + this.meta[4 * i + 1])));
      }
      if (frames.length > 0) onFrames(frames);
    });
    this.pause(false);
  }

  pause(paused) {
    poller.interest(this.handle, paused ? 0 : READ);
  }

  write(frames) {
    let at = 0;
    let count = 0;
    const flush = () => {
      if (count > 0) checked(poller.txBatch(this.handle, this.txId, count), 'write TAP');
      at = 0;
      count = 0;
    };
    for (const frame of frames) {
      if (at + frame.length > TAP_BUFFER || count === 512) flush();
      this.out.set(frame, at);
      this.tx.fill(0, count * TX_STRIDE, (count + 1) * TX_STRIDE);
      this.tx.set([this.outId, at, frame.length], count * TX_STRIDE);
      at += frame.length;
      count++;
    }
    flush();
  }
}

// --- streams ----------------------------------------------------------------------------------------------

/** node:net: `onData`, `onEnd`, `onDrain`; `write` says whether more may follow at once. */
class NetStream {
  constructor(socket) {
    this.socket = socket;
    socket.on('data', (data) => this.onData(data));
    socket.on('close', () => this.onEnd());
    socket.on('drain', () => this.onDrain?.());
    socket.on('error', (error) => process.stderr.write(`stream: ${error.code}\n`));
  }

  write(pieces) {
    this.socket.cork();
    for (const piece of pieces) this.socket.write(piece);
    this.socket.uncork();
    return this.socket.writableLength < MAX_PENDING;
  }
}

/** A stream of the poller: AF_VSOCK. */
class PollerStream {
  constructor(handle) {
    this.handle = handle;
    this.pending = [];
    this.pendingBytes = 0;
    this.bytes = new Uint8Array(256 << 10);
    this.buffer = poller.register(this.bytes);
    this.out = new Uint8Array(256 << 10);
    this.outId = poller.register(this.out);
    this.slice = new Int32Array(3);
    this.sliceId = poller.register(this.slice);
    watchers.set(handle, (events) => {
      if ((events & WRITE) !== 0) this.flush();
      if ((events & ~WRITE) !== 0) this.read();
    });
    poller.interest(handle, READ);
  }

  read() {
    for (let n = 0; n < 8; n++) {
      const got = poller.readv(this.handle, this.buffer, 0, this.bytes.length, 0, 0);
      if (got === EAGAIN) return;
      if (got <= 0) {
        watchers.delete(this.handle);
        poller.closeHandle(this.handle);
        return this.onEnd();
      }
      this.onData(Buffer.from(this.bytes.subarray(0, got)));
    }
  }

  write(pieces) {
    for (const piece of pieces) {
      this.pending.push(piece);
      this.pendingBytes += piece.length;
    }
    this.flush();
    return this.pendingBytes < MAX_PENDING;
  }

  flush() {
    while (this.pending.length > 0) {
      let length = 0;
      for (const piece of this.pending) {
        if (length + piece.length > this.out.length) break;
        this.out.set(piece, length);
        length += piece.length;
      }
      this.slice.set([this.outId, 0, length]);
      const taken = poller.writev(this.handle, this.sliceId, 0, 1);
      if (taken === EAGAIN) return void poller.interest(this.handle, READ | WRITE);
      if (taken < 0) return this.onEnd();
      this.drop(taken);
    }
    poller.interest(this.handle, READ);
    this.onDrain?.();
  }

  drop(bytes) {
    this.pendingBytes -= bytes;
    while (bytes > 0) {
      const [first] = this.pending;
      if (first.length > bytes) return void (this.pending[0] = first.subarray(bytes));
      bytes -= first.length;
      this.pending.shift();
    }
  }
}

function openStream({ connect: path, listen, fd, vsock }) {
  return new Promise((resolve, reject) => {
    if (fd !== undefined) resolve(new NetStream(new Socket({ fd })));
    else if (path !== undefined) {
      const socket = connect(path, () => resolve(new NetStream(socket)));
      socket.once('error', reject);
    } else if (listen !== undefined) {
      const server = createServer((socket) => {
        server.close();
        resolve(new NetStream(socket));
      });
      server.once('error', reject);
      server.listen(listen, () => print({ listening: listen }));
    } else {
      const handle = checked(poller.vsockConnect(...vsock), `connect vsock ${vsock}`);
      watchers.set(handle, () => {
        const error = poller.soError(handle);
        if (error < 0) reject(new Error(`connect vsock ${vsock}: errno ${-error}`));
        else resolve(new PollerStream(handle));
      });
    }
  });
}

// --- framings ---------------------------------------------------------------------------------------------

/** Bytes as they come: `take(n)` resolves with exactly n of them. */
class Reader {
  constructor(stream) {
    this.chunks = Buffer.alloc(0);
    stream.onData = (data) => {
      this.chunks = this.chunks.length === 0 ? data : Buffer.concat([this.chunks, data]);
      this.wake?.();
    };
  }

  async take(bytes) {
    while (this.chunks.length < bytes) await new Promise((resolve) => (this.wake = resolve));
    const taken = this.chunks.subarray(0, bytes);
    this.chunks = this.chunks.subarray(bytes);
    return taken;
  }
}

async function vpnkitHandshake(stream, reader) {
  const init = Buffer.alloc(49);
  init.write('VMN3T');
  init.writeUInt32LE(22, 5);
  stream.write([init]);
  const answer = await reader.take(49);
  if (answer.toString('latin1', 0, 5) !== 'VMN3T' || answer.readUInt32LE(5) !== 22)
    throw new Error('no VMN3T 22');
  const command = Buffer.alloc(41);
  command[0] = 1;
  command.write(request.uuid ?? '', 1);
  stream.write([command]);
  const vif = await reader.take(258);
  if (vif[0] !== 1) throw new Error(`disconnect: ${vif.toString('latin1', 2, 2 + vif[1])}`);
  const mac = [...vif.subarray(5, 11)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
  return { mtu: vif.readUInt16LE(1), mac };
}

const CONNECT =
  'POST /connect HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 0\r\n\r\n';

const FRAMINGS = {
  qemu: {
    bytes: 4,
    read: (data, at) => data.readUInt32BE(at),
    write: (head, length) => head.writeUInt32BE(length),
  },
  connect: {
    bytes: 2,
    read: (data, at) => data.readUInt16LE(at),
    write: (head, length) => head.writeUInt16LE(length),
  },
  vpnkit: {
    bytes: 2,
    read: (data, at) => data.readUInt16LE(at),
    write: (head, length) => head.writeUInt16LE(length),
  },
};

const framing = FRAMINGS[request.framing];
const tap = new Tap(request.tap, request.netns);
const stream = await openStream(request.stream);
stream.onEnd = () => process.exit(0);
const reader = new Reader(stream);
if (request.framing === 'connect') stream.write([Buffer.from(CONNECT)]);
const told = request.framing === 'vpnkit' ? await vpnkitHandshake(stream, reader) : {};

let rest = reader.chunks;
const onData = (data) => {
  rest = rest.length === 0 ? data : Buffer.concat([rest, data]);
  const frames = [];
  let at = 0;
  while (rest.length >= at + framing.bytes) {
    const length = framing.read(rest, at);
    if (rest.length < at + framing.bytes + length) break;
    frames.push(rest.subarray(at + framing.bytes, at + framing.bytes + length));
    at += framing.bytes + length;
  }
  if (frames.length > 0) tap.write(frames);
  rest = rest.subarray(at);
};
stream.onData = onData;
onData(Buffer.alloc(0));
stream.onDrain = () => tap.pause(false);
const attack = request.blind === undefined ? undefined : blind(request.blind);
tap.start((frames) => {
  const pieces = frames.flatMap((frame) => {
    const head = Buffer.alloc(framing.bytes);
    framing.write(head, frame.length);
    const injected = attack?.(Buffer.concat([head, frame]));
    return injected === undefined ? [head, frame] : [head, frame, injected];
  });
  if (!stream.write(pieces)) tap.pause(true);
});
print({ attached: request.tap, ...told });
