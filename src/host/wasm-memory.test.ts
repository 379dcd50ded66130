import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { limitMemory } from './wasm-memory.js';

/** A module with one memory of a page, exported as "m", as the specification encodes it. */
const MODULE = [0, 97, 115, 109, 1, 0, 0, 0, 5, 3, 1, 0, 1, 7, 5, 1, 1, 109, 2, 0];

interface Engine {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => {
    readonly exports: { readonly m: { grow(pages: number): number } };
  };
}
const { WebAssembly: engine } = globalThis as unknown as { readonly WebAssembly: Engine };

describe('the memory of a WebAssembly module', () => {
  it('does not grow beyond its limit', () => {
    const { m } = new engine.Instance(new engine.Module(limitMemory(Uint8Array.from(MODULE), 200))).exports;
    expect(m.grow(199)).toBe(1);
    expect(() => m.grow(1)).toThrow(RangeError);
  });

  it('of the engine that runs proxy auto-config files can be limited', () => {
    const file = createRequire(import.meta.url).resolve('quickjs-wasi/quickjs.wasm');
    expect(() => new engine.Module(limitMemory(readFileSync(file), 512))).not.toThrow();
  });

  it.each([
    ['without a memory', MODULE.slice(0, 8)],
    ['that needs more', [...MODULE.slice(0, 8), 5, 4, 1, 0, 0xac, 2]],
    ['that is cut off', [...MODULE.slice(0, 8), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
  ])('%s is refused', (_what, bytes) => {
    expect(() => limitMemory(Uint8Array.from(bytes), 200)).toThrow(RangeError);
  });
});
