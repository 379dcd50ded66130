import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { plainMemory, type Memory } from './memory.js';
import { SendRing } from './ring.js';

/** Memory that knows what is out. */
function countingMemory(): Memory & { out: number } {
  return {
    out: 0,
    allocate(size) {
      this.out += size;
      return plainMemory.allocate(size);
    },
    free(region) {
      this.out -= region.bytes.length;
    },
  };
}

const byteAt = (at: number): number => (at * 13 + Math.floor(at / 256)) & 255;

/** The bytes from one stream offset to another, in the two pieces of the wrap. */
function read(ring: SendRing, from: number, to: number): Uint8Array {
  const bytes = new Uint8Array((to - from) | 0);
  const first = Math.min(bytes.length, ring.contiguous(from));
  const at = ring.offset(from);
  bytes.set(ring.region.bytes.subarray(at, at + first));
  bytes.set(ring.region.bytes.subarray(0, bytes.length - first), first);
  return bytes;
}

describe('SendRing', () => {
  it('allocates nothing before the first write, grows to its limit, takes no more', () => {
    const memory = countingMemory();
    const ring = new SendRing(memory, 64 * 1024);
    expect([memory.out, ring.room, ring.writeRoom]).toEqual([0, 65_536, 0]);
    expect(ring.write(new Uint8Array(10))).toBe(10);
    expect(memory.out).toBe(16 * 1024);
    expect(ring.write(new Uint8Array(100_000))).toBe(65_526);
    expect([memory.out, ring.room, ring.writeContiguous]).toEqual([65_536, 0, 0]);
    expect(ring.write(new Uint8Array(1))).toBe(0);
    ring.free();
    expect([memory.out, ring.bytes]).toEqual([0, 0]);
  });

  it('an empty ring keeps its memory until it is idle', () => {
    const memory = countingMemory();
    const ring = new SendRing(memory, 64 * 1024);
    ring.write(new Uint8Array(40_000));
    expect(ring.slack).toBe(false);
    ring.release(ring.bytes);
    expect(ring.slack).toBe(true);
    expect(memory.out).toBe(65_536);
    ring.free();
    expect(ring.slack).toBe(false);
    expect(memory.out).toBe(0);
    expect(ring.write(new Uint8Array(5))).toBe(5);
    expect(ring.end).toBe(40_005);
  });

  it('a limit below the first size is kept', () => {
    const ring = new SendRing(plainMemory, 1024);
    expect(ring.write(new Uint8Array(5000))).toBe(1024);
    expect(ring.region.bytes.length).toBe(1024);
  });

  it('keeps every byte at its stream offset, through wraps, growth and positions that wrap at 2^31', () => {
    const step = fc.tuple(fc.integer({ min: 0, max: 9000 }), fc.integer({ min: 0, max: 9000 }));
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 40 }),
        fc.constantFrom(0, 2 ** 31 - 5000, -5000),
        (steps, origin) => {
          const memory = countingMemory();
          const ring = new SendRing(memory, 32 * 1024);
          ring.start = ring.end = origin;
          for (const [write, release] of steps) {
            const from = ring.end;
            const n = ring.write(Uint8Array.from({ length: write }, (_, i) => byteAt((from + i) | 0)));
            expect(n).toBe(Math.min(write, 32 * 1024 - ((from - ring.start) | 0)));
            ring.release(Math.min(release, ring.bytes));
            const kept = read(ring, ring.start, ring.end);
            for (let i = 0; i < kept.length; i += 97) expect(kept[i]).toBe(byteAt((ring.start + i) | 0));
            expect(memory.out).toBe(ring.region.bytes.length);
          }
          ring.free();
          expect(memory.out).toBe(0);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('is written in place: reserve, fill both pieces, wrote', () => {
    const ring = new SendRing(plainMemory, 16 * 1024);
    ring.write(new Uint8Array(16_000));
    ring.release(16_000);
    ring.reserve(1000);
    expect([ring.writeOffset, ring.writeContiguous, ring.writeRoom]).toEqual([16_000, 384, 16_384]);
    ring.region.bytes.fill(1, 16_000);
    ring.region.bytes.fill(2, 0, 616);
    ring.wrote(1000);
    const bytes = read(ring, 16_000, 17_000);
    expect([bytes[383], bytes[384], bytes[999]]).toEqual([1, 2, 2]);
  });
});
