import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockPool, MAX_FRAME, META_STRIDE, plainMemory } from '../core/index.js';
import type { Block, FrameBatch } from '../core/index.js';
import { BATCH_FRAMES, StreamDeframer, U16LE, U32BE } from './framing.js';
import type { Framing } from './framing.js';

const both = [U32BE, U16LE];

function frame(length: number, seed = 0): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (seed + i * 7) & 255));
}

function stream(framing: Framing, frames: readonly Buffer[]): Buffer {
  const parts = frames.flatMap((bytes) => {
    const prefix = Buffer.alloc(framing.prefix);
    if (framing === U32BE) prefix.writeUInt32BE(bytes.length);
    else prefix.writeUInt16LE(bytes.length);
    return [prefix, bytes];
  });
  return Buffer.concat(parts);
}

function framesOf(batch: FrameBatch): Buffer[] {
  return Array.from({ length: batch.count }, (_, i) => {
    const offset = batch.meta[i * META_STRIDE]!;
    return Buffer.from(batch.bytes.subarray(offset, offset + batch.meta[i * META_STRIDE + 1]!));
  });
}

/** A deframer that collects; `keep`: every block is retained, as by a slow flow. */
function collect(framing: Framing, keep = false) {
  const pool = new BlockPool(plainMemory);
  const got: Buffer[] = [];
  const kept: Block[] = [];
  const deframer = new StreamDeframer(framing, pool, (batch) => {
    got.push(...framesOf(batch));
    if (keep) {
      batch.block.retain();
      kept.push(batch.block);
    }
  });
  return { pool, got, deframer, kept };
}

describe.each(both)('deframer $name', (framing) => {
  const frames = [frame(14, 1), frame(60, 2), frame(1514, 3), frame(15, 4)];
  const bytes = stream(framing, frames);

  it('takes a stream cut at any position', () => {
    for (let cut = 0; cut <= bytes.length; cut++) {
      const { got, deframer, pool } = collect(framing);
      expect(deframer.push(bytes.subarray(0, cut))).toBeUndefined();
      expect(deframer.push(bytes.subarray(cut))).toBeUndefined();
      if (got.length !== 4 || !Buffer.concat(got).equals(Buffer.concat(frames))) {
        expect.fail(`cut at ${cut} gave ${got.length} frames`);
      }
      deframer.close();
      expect(pool.bytesOut).toBe(0);
    }
  });

  it('takes it byte by byte, and any chunks, with blocks kept or not', () => {
    const one = collect(framing);
    for (const byte of bytes) one.deframer.push(Uint8Array.of(byte));
    expect(one.got).toEqual(frames);
    const lengths = fc.array(fc.integer({ min: 14, max: 60_000 }), { minLength: 1, maxLength: 30 });
    const chunks = fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1, maxLength: 10 });
    fc.assert(
      fc.property(lengths, chunks, fc.boolean(), (sizes, cuts, keep) => {
        const sent = sizes.map((size, i) => frame(size, i));
        const all = stream(framing, sent);
        const { got, deframer, kept, pool } = collect(framing, keep);
        for (let at = 0, i = 0; at < all.length; i++) {
          const size = cuts[i % cuts.length]!;
          if (deframer.push(all.subarray(at, at + size)) !== undefined) return false;
          at += size;
        }
        const ok = Buffer.concat(got).equals(Buffer.concat(sent)) && deframer.pending === 0;
        deframer.close();
        for (const block of kept) block.release();
        return ok && pool.bytesOut === 0;
      }),
      { numRuns: 60 },
    );
  });

  it('does not overwrite slices that somebody keeps', () => {
    const pool = new BlockPool(plainMemory);
    const kept: { block: Block; slice: Uint8Array; copy: Buffer }[] = [];
    const deframer = new StreamDeframer(framing, pool, (batch) => {
      batch.block.retain();
      const offset = batch.meta[0]!;
      const slice = batch.bytes.subarray(offset, offset + batch.meta[1]!);
      kept.push({ block: batch.block, slice, copy: Buffer.from(slice) });
    });
    for (let i = 0; i < 200; i++) {
      const next = stream(framing, [frame(9014, i)]);
      deframer.push(next.subarray(0, 5000));
      deframer.push(next.subarray(5000));
    }
    expect(kept).toHaveLength(200);
    expect(kept.every(({ slice, copy }) => copy.equals(slice))).toBe(true);
    // Many reads share a block: 200 frames of 9 KiB need 7 blocks, not 200.
    expect(new Set(kept.map(({ block }) => block)).size).toBeLessThan(12);
  });

  it('ends at a frame that is too short, after the frames before it', () => {
    const { got, deframer, pool } = collect(framing);
    const error = deframer.push(Buffer.concat([bytes, stream(framing, [frame(13)]), bytes]));
    expect(error).toMatchObject({ code: 'ERR_NETPROXY_PROTOCOL' });
    expect(error?.message).toContain('13 bytes is shorter');
    expect(got).toEqual(frames);
    expect(deframer.push(bytes)).toBeUndefined();
    expect(got).toHaveLength(4);
    expect(pool.bytesOut).toBe(0);
  });

  it('holds no block while idle and may be closed from inside', () => {
    const { deframer, pool } = collect(framing);
    deframer.push(bytes);
    expect(pool.bytesOut).toBe(0);
    let count = 0;
    const closing = new StreamDeframer(framing, pool, () => {
      count++;
      closing.close();
    });
    closing.push(bytes);
    closing.push(bytes);
    expect(count).toBe(1);
    expect(pool.bytesOut).toBe(0);
  });

  it('delivers more frames than a batch holds', () => {
    const { got, deframer } = collect(framing);
    const many = Array.from({ length: BATCH_FRAMES * 2 + 5 }, (_, i) => frame(14, i));
    deframer.push(stream(framing, many));
    expect(Buffer.concat(got).equals(Buffer.concat(many))).toBe(true);
  });
});

describe('frame limits', () => {
  it('takes 128 KiB over u32 and not a byte more', () => {
    const { got, deframer } = collect(U32BE);
    const longest = [frame(MAX_FRAME, 1), frame(14), frame(MAX_FRAME, 2)];
    expect(deframer.push(stream(U32BE, longest))).toBeUndefined();
    expect(got.map((bytes) => bytes.length)).toEqual([MAX_FRAME, 14, MAX_FRAME]);
    expect(Buffer.concat(got).equals(Buffer.concat(longest))).toBe(true);
    const error = deframer.push(Buffer.from([0, 2, 0, 1]));
    expect(error?.message).toContain('131073 bytes is longer');
  });

  it('takes 65535 over u16', () => {
    const { got, deframer } = collect(U16LE);
    expect(deframer.push(stream(U16LE, [frame(0xffff)]))).toBeUndefined();
    expect(got[0]).toHaveLength(0xffff);
  });

  it('refuses a pool whose blocks are too small', () => {
    expect(() => new StreamDeframer(U32BE, new BlockPool(plainMemory, MAX_FRAME), () => undefined)).toThrow(
      'cannot hold',
    );
  });
});
