/** The data path in a steady state: what it leaves on the heap, and what an idle flow costs. Bounds are generous. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { SteadyFlow, bytesPerIdleFlow, heapPerThousand } from '../../bench/lib/steady.mjs';
import * as core from '../core/index.js';
import * as forwarder from '../forwarder/index.js';
import * as stack from '../stack/index.js';

const modules = { core, stack, forwarder };

describe('steady state', () => {
  it.each([
    ['up, frames of the MTU', {}],
    ['up, checksums looked at', { checked: false }],
    ['up, super-segments', { payload: 60_000, batch: 4 }],
    ['down, frames of the MTU', { down: true }],
    ['down, super-segments', { down: true, tsoMax: 65_549 }],
  ])('allocates next to nothing per frame: %s', (_name, options) => {
    const flow = new SteadyFlow(modules, options);
    const bytes = heapPerThousand(flow, { warmup: 60_000, frames: 100_000 });
    // Without care it is 50,000 to 250,000; usual are some hundred.
    expect(bytes).toBeLessThan(16_384);
    // Both sides moved: it measured what it meant to.
    expect(flow.stream.taken + flow.stream.given).toBeGreaterThan(10_000_000);
  });

  it('an idle flow costs less than 4 KiB, also one that was busy before', () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const flow = new SteadyFlow(modules, {});
    const bytes = bytesPerIdleFlow(flow, gc, 2000);
    expect(bytes).toBeGreaterThan(500);
    expect(bytes).toBeLessThan(4096);
  });
});
