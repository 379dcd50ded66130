/** A poller for tests: waits for events by promise, and skips with a reason where there is no addon. */
import { loadNative } from './loader.js';
import { RX_STRIDE, TX_STRIDE } from './constants.js';
import type { NativeAddon, Poller } from './addon.js';

/** Why tests of the addon cannot run here; undefined where they can. Printed, so that nothing is skipped silently. */
export function missingAddon(): string | undefined {
  const { reason } = loadNative();
  if (reason !== undefined) process.stderr.write(`native tests are skipped: ${reason}\n`);
  return reason;
}

/** Why tests that need root cannot run here. */
export function missingRoot(): string | undefined {
  const reason = missingAddon() ?? (process.getuid?.() === 0 ? undefined : 'they need root');
  if (reason !== undefined) process.stderr.write(`TAP and namespace tests are skipped: ${reason}\n`);
  return reason;
}

export function addon(): NativeAddon {
  const { addon: found, reason } = loadNative();
  if (found === undefined) throw new Error(`no addon: ${reason}`);
  return found;
}

/** Memory with its id. */
export interface Memory<T> {
  readonly id: number;
  readonly data: T;
}

export class Rig {
  readonly poller: Poller;
  readonly ready = new Int32Array(512);
  /** Events since they were last waited for, by handle. */
  readonly seen = new Map<number, number>();
  wakeups = 0;
  private waiters: (() => void)[] = [];

  constructor() {
    this.poller = new (addon().Poller)((count) => {
      this.wakeups++;
      for (let i = 0; i < count; i++) {
        const handle = this.ready[2 * i]!;
        this.seen.set(handle, (this.seen.get(handle) ?? 0) | this.ready[2 * i + 1]!);
      }
      const waiters = this.waiters;
      this.waiters = [];
      for (const wake of waiters) wake();
    }, this.ready);
  }

  /** Waits until one of `bits` was reported for a handle; returns everything reported and forgets it. */
  async wait(handle: number, bits: number): Promise<number> {
    for (;;) {
      const events = this.seen.get(handle) ?? 0;
      if ((events & bits) !== 0) {
        this.seen.delete(handle);
        return events;
      }
      await new Promise<void>((resolve) => this.waiters.push(resolve));
    }
  }

  bytes(size: number, fill = 0): Memory<Uint8Array> {
    const data = new Uint8Array(size).fill(fill);
    return { id: this.poller.register(data), data };
  }

  ints(size: number): Memory<Int32Array> {
    const data = new Int32Array(size);
    return { id: this.poller.register(data), data };
  }

  /** Makes a connected pair of TCP streams over loopback: the dialling end, the accepted end. */
  async tcpPair(): Promise<[number, number]> {
    const { poller } = this;
    const listener = poller.tcpListen('127.0.0.1', 0, 16, false);
    const client = poller.tcpConnect4(0x7f000001, poller.address(listener, false)!.port);
    await this.wait(client, 2);
    await this.wait(listener, 1);
    const server = poller.accept(listener, 0);
    poller.closeHandle(listener);
    poller.interest(client, 0);
    return [client, server];
  }

  /** A connected pair of unix streams. */
  unixPair(): [number, number] {
    const { poller } = this;
    const path = `\0netproxy-test-${process.pid}-${Math.random()}`;
    const listener = poller.unixListen(path, 4);
    const client = poller.unixConnect(path);
    const server = poller.accept(listener, 0);
    poller.closeHandle(listener);
    poller.interest(client, 0);
    return [client, server];
  }
}

/** Reads and writes frames of links with buffers of its own. */
export class Frames {
  readonly room: Memory<Uint8Array>;
  readonly meta: Memory<Int32Array>;
  readonly out: Memory<Uint8Array>;
  readonly desc: Memory<Int32Array>;
  readonly rig: Rig;

  constructor(rig: Rig) {
    this.rig = rig;
    this.room = rig.bytes(512 * 1024);
    this.meta = rig.ints(RX_STRIDE * 1024);
    this.out = rig.bytes(512 * 1024);
    this.desc = rig.ints(TX_STRIDE * 1024);
  }

  /** One rxBatch: the frames, or the negative result. */
  receive(handle: number, max = 1024): Uint8Array[] | number {
    const { room, meta, rig } = this;
    const count = rig.poller.rxBatch(handle, room.id, 0, room.data.length, meta.id, max);
    if (count < 0) return count;
    return Array.from({ length: count }, (_, i) => {
      const offset = meta.data[i * RX_STRIDE]!;
      return room.data.slice(offset, offset + meta.data[i * RX_STRIDE + 1]!);
    });
  }

  /** Waits until `count` frames came. */
  async collect(handle: number, count: number): Promise<Uint8Array[]> {
    const frames: Uint8Array[] = [];
    while (frames.length < count) {
      const batch = this.receive(handle);
      if (typeof batch === 'number') throw new Error(`rxBatch: ${batch}`);
      frames.push(...batch);
      if (batch.length === 0) await this.rig.wait(handle, 1);
    }
    return frames;
  }

  /** Sends frames, each in up to three pieces, with the same flags and GSO size; returns txBatch's result. */
  send(handle: number, frames: readonly (readonly Uint8Array[])[], flags = 0, gso = 0): number {
    const { out, desc, rig } = this;
    desc.data.fill(0);
    let at = 0;
    frames.forEach((pieces, i) => {
      const base = i * TX_STRIDE;
      desc.data[base + 3] = flags;
      desc.data[base + 4] = gso;
      pieces.forEach((piece, j) => {
        out.data.set(piece, at);
        desc.data.set([out.id, at, piece.length], base + [0, 5, 8][j]!);
        at += piece.length;
      });
    });
    return rig.poller.txBatch(handle, desc.id, frames.length);
  }
}

/** A frame of `length` bytes that tells its number. */
export function frame(length: number, number: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + number * 7) & 255);
}

/** Open descriptors of this process. */
export async function openDescriptors(): Promise<number> {
  const { readdir } = await import('node:fs/promises');
  return (await readdir('/proc/self/fd')).length;
}
