/**
 * What every transport must do: the suite of `links.test.ts` and of the native links. `netproxy`'s side is a Link, the
 * other side an independent peer.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { BlockPool, META_STRIDE, plainMemory } from '../core/index.js';
import type { FrameBatch, Link, LinkHandler, Memory, Region } from '../core/index.js';
import type { Peer } from './peers.testutil.js';

/** One connection: both of its ends. */
export interface Pair {
  readonly link: Link;
  readonly peer: Peer;
}

/** One transport, set up and listening. */
export interface Rig {
  /** A new connection; the ones before it stay. */
  connect(): Promise<Pair>;
  /** Takes one guest only: a second connection comes after the first one ended. */
  readonly single?: boolean;
  dispose(): Promise<void> | void;
}

export interface Transport {
  readonly name: string;
  /** The longest frame, bytes. */
  readonly maxFrame: number;
  /** A byte stream, so that broken framing can be tried. */
  readonly stream: boolean;
  /** What the transport does when the other side does not read. */
  readonly backpressure: boolean;
  /** Learns that the peer went away. */
  readonly noticesClose?: boolean;
  open(pool: BlockPool): Promise<Rig> | Rig;
}

/** A handler that keeps copies. */
export class Collector implements LinkHandler {
  readonly frames_: Buffer[] = [];
  readonly ended: Promise<Error | undefined>;
  batches = 0;
  writables = 0;
  closes = 0;
  private wake: (() => void) | undefined;
  private end!: (reason: Error | undefined) => void;

  constructor() {
    this.ended = new Promise((resolve) => (this.end = resolve));
  }

  frames(batch: FrameBatch): void {
    this.batches++;
    for (let i = 0; i < batch.count; i++) {
      const offset = batch.meta[i * META_STRIDE]!;
      const length = batch.meta[i * META_STRIDE + 1]!;
      this.frames_.push(Buffer.from(batch.bytes.subarray(offset, offset + length)));
    }
    this.notify();
  }

  writable(): void {
    this.writables++;
    this.notify();
  }

  closed(reason?: Error): void {
    this.closes++;
    this.end(reason);
  }

  async take(count: number): Promise<Buffer[]> {
    await this.until(() => this.frames_.length >= count);
    return this.frames_.splice(0, count);
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.wake = resolve));
  }

  private notify(): void {
    this.wake?.();
    this.wake = undefined;
  }
}

/** A frame with addresses that any switch passes on and a number in its payload. */
export function testFrame(length: number, serial = 0): Buffer {
  const bytes = Buffer.from(Uint8Array.from({ length }, (_, i) => (serial + i * 13) & 255));
  bytes.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5a, 0x94, 0xef, 0xe4, 0x0c, 0x77, 0x88, 0xb5]);
  if (length >= 18) bytes.writeUInt32BE(serial, 14);
  return bytes;
}

/** Sends a frame as the stack does: header in the output's memory, payload beside it in two pieces. */
export function transmit(link: Link, frame: Buffer, memory: Memory = plainMemory, header = 54): void {
  const { output } = link;
  const size = Math.min(header, frame.length);
  const at = output.begin(size);
  output.bytes.set(frame.subarray(0, size), at);
  const rest = frame.subarray(size);
  const middle = Math.ceil(rest.length / 3);
  for (const piece of [rest.subarray(0, middle), rest.subarray(middle)]) {
    if (piece.length > 0) output.payload(toRegion(piece, memory), 0, piece.length);
  }
  output.end(0, 0);
}

function toRegion(bytes: Buffer, memory: Memory): Region {
  if (memory !== plainMemory) {
    const region = memory.allocate(bytes.length);
    region.bytes.set(bytes);
    return region;
  }
  return { id: 0, bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) };
}

const SIZES = [14, 15, 60, 1514, 9014, 65_535, 65_549];

/** Waits a little, for what has no event. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export function complianceSuite(transport: Transport, makePool = () => new BlockPool(plainMemory)): void {
  describe(`${transport.name} link`, () => {
    let rig: Rig | undefined;
    const pairs: Pair[] = [];
    let pool: BlockPool;

    async function open(): Promise<Pair> {
      if (rig === undefined) {
        pool = makePool();
        rig = await transport.open(pool);
      }
      const pair = await rig.connect();
      pairs.push(pair);
      return pair;
    }

    afterEach(async () => {
      for (const { link, peer } of pairs.splice(0)) {
        link.close();
        peer.close();
      }
      await rig?.dispose();
      rig = undefined;
    });

    it('carries frames of every size both ways', async () => {
      const { link, peer } = await open();
      const handler = new Collector();
      link.start(handler);
      for (const size of SIZES.filter((length) => length <= transport.maxFrame)) {
        const frame = testFrame(size, size);
        peer.send(frame);
        expect((await handler.take(1))[0]!.equals(frame), `${size} bytes in`).toBe(true);
        transmit(link, frame);
        link.output.flush();
        expect((await peer.take(1))[0]!.equals(frame), `${size} bytes out`).toBe(true);
      }
    });

    it('keeps order, in batches', async () => {
      const { link, peer } = await open();
      const handler = new Collector();
      link.start(handler);
      const frames = Array.from({ length: 400 }, (_, i) => testFrame(60 + ((i * 37) % 1400), i));
      for (const frame of frames) peer.send(frame);
      expect((await handler.take(400)).every((frame, i) => frame.equals(frames[i]!))).toBe(true);
      for (let i = 0; i < 400; i++) {
        transmit(link, frames[i]!);
        if (i % 50 === 49) link.output.flush();
      }
      expect((await peer.take(400)).every((frame, i) => frame.equals(frames[i]!))).toBe(true);
    });

    it('keeps what arrives before it is started', async () => {
      const { link, peer } = await open();
      peer.send(testFrame(100, 1));
      await pause(20);
      const handler = new Collector();
      link.start(handler);
      expect(await handler.take(1)).toEqual([testFrame(100, 1)]);
    });

    it('lends blocks and gets them all back', async () => {
      const { link, peer } = await open();
      const held: FrameBatch['block'][] = [];
      const slices: [Uint8Array, Buffer][] = [];
      const handler = new Collector();
      const keep = handler.frames.bind(handler);
      handler.frames = (batch) => {
        batch.block.retain();
        held.push(batch.block);
        const at = batch.meta[0]!;
        const slice = batch.bytes.subarray(at, at + batch.meta[1]!);
        slices.push([slice, Buffer.from(slice)]);
        keep(batch);
      };
      link.start(handler);
      for (let i = 0; i < 200; i++) {
        peer.send(testFrame(1400, i));
        if (i % 20 === 19) await handler.take(20);
      }
      expect(slices.every(([slice, copy]) => copy.equals(slice))).toBe(true);
      for (const block of held) block.release();
      link.close();
      await handler.ended;
      expect(pool.bytesOut).toBe(0);
    });

    if (transport.noticesClose !== false) {
      it('says once that the peer went away, with the reason', async () => {
        const { link, peer } = await open();
        const handler = new Collector();
        link.start(handler);
        peer.send(testFrame(60));
        await handler.take(1);
        peer.close();
        expect(await handler.ended).toBeInstanceOf(Error);
        link.close();
        await pause(5);
        expect(handler.closes).toBe(1);
      });

      it('takes the peer back after it went away', async () => {
        for (let round = 0; round < 3; round++) {
          const { link, peer } = await open();
          const handler = new Collector();
          link.start(handler);
          peer.send(testFrame(60, round));
          expect(await handler.take(1)).toEqual([testFrame(60, round)]);
          peer.close();
          await handler.ended;
        }
      });
    }

    it('closes when asked to: no reason, the peer sees it, twice is once', async () => {
      const { link, peer } = await open();
      const handler = new Collector();
      link.start(handler);
      link.close();
      link.close();
      expect(await handler.ended).toBeUndefined();
      await peer.closed;
      transmit(link, testFrame(60));
      link.output.flush();
      expect(handler.closes).toBe(1);
    });

    if (transport.backpressure) {
      it('is blocked by a peer that does not read, bounded, and keeps receiving', async () => {
        const { link, peer } = await open();
        const handler = new Collector();
        link.start(handler);
        peer.pause();
        const frame = testFrame(8000, 7);
        // What a kernel takes for a peer that does not read, and more than the link may queue.
        for (let i = 0; i < 2000; i++) {
          transmit(link, frame);
          link.output.flush();
          if (i % 50 === 0) await pause(0);
        }
        expect(link.output.blocked).toBe(true);
        expect(link.stats?.['txDropped']).toBeGreaterThan(0);
        peer.send(testFrame(500, 1));
        expect(await handler.take(1)).toEqual([testFrame(500, 1)]);
        peer.resume();
        await handler.until(() => handler.writables > 0);
        expect(link.output.blocked).toBe(false);
        transmit(link, testFrame(99, 9));
        link.output.flush();
        let last: Buffer | undefined;
        while (last?.length !== 99) {
          [last] = await peer.take(1);
          if (last!.length !== 99 && !last!.equals(frame)) expect.fail('a frame was damaged');
        }
      });
    }

    if (transport.stream) streamTests(open, () => rig?.single === true, transport.maxFrame);
  });
}

function streamTests(open: () => Promise<Pair>, single: () => boolean, maxFrame: number): void {
  it('takes a stream that is cut anywhere', async () => {
    const { link, peer } = await open();
    const handler = new Collector();
    link.start(handler);
    const frames = [testFrame(14, 1), testFrame(40, 2)];
    const bytes = Buffer.concat(frames.map((frame) => peer.wrap!(frame)));
    for (const byte of bytes) {
      peer.raw!(Uint8Array.of(byte));
      await pause(0);
    }
    expect(await handler.take(2)).toEqual(frames);
  });

  const bad: [string, (peer: Peer) => Buffer][] = [
    ['0 bytes', (peer) => peer.wrap!(Buffer.alloc(0))],
    ['13 bytes', (peer) => peer.wrap!(Buffer.alloc(13))],
  ];
  if (maxFrame > 0xffff) bad.push(['131073 bytes', () => Buffer.from([0, 2, 0, 1])]);
  it.each(bad)('ends the connection of a frame of %s, and no other', async (_, broken) => {
    const { link, peer } = await open();
    const handler = new Collector();
    link.start(handler);
    const other = single() ? undefined : await open();
    const beside = new Collector();
    other?.link.start(beside);
    peer.send(testFrame(60, 3));
    peer.raw!(broken(peer));
    peer.send(testFrame(60, 4));
    expect(await handler.ended).toMatchObject({ code: 'ERR_NETPROXY_PROTOCOL' });
    expect(handler.frames_).toEqual([testFrame(60, 3)]);
    await peer.closed;
    if (other === undefined) return;
    other.peer.send(testFrame(60, 5));
    expect(await beside.take(1)).toEqual([testFrame(60, 5)]);
    expect(beside.closes).toBe(0);
  });
}
