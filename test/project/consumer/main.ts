/**
 * A program of somebody else, in strict TypeScript against the installed package: two networks at a time, made and
 * stopped 200 times, and nothing that keeps Node alive at the end. test/project/pack.test.ts compiles and runs it.
 */
import { createNetwork, type Network } from 'netproxy';
import * as testing from 'netproxy/testing';

const CYCLES = 200;

async function cycle(): Promise<void> {
  const first: Network = await createNetwork({});
  const second: Network = await createNetwork({});
  await Promise.all([first.start(), second.start()]);
  await Promise.all([first.stop(), second.stop()]);
}

async function disposed(): Promise<void> {
  await using network: Network = await createNetwork({});
  await network.start();
}

await disposed();
const before = process.getActiveResourcesInfo().length;
for (let count = 0; count < CYCLES; count++) await cycle();

const left = process.getActiveResourcesInfo().length - before;
console.log(JSON.stringify({ cycles: CYCLES, left, testing: Object.keys(testing).length > 0 }));
