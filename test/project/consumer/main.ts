/**
 * A program of somebody else, in strict TypeScript against the installed package: two networks at a time, made and
 * stopped 200 times, and nothing that keeps Node alive at the end. test/project/pack.test.ts compiles and runs it.
 */
import { createNetwork, type Network } from 'netproxy';
import { createApi, type Api } from 'netproxy/api';
import { connectApi, type ApiFlow } from 'netproxy/client';
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

/** The control API of one network, asked by the client. */
async function asked(): Promise<boolean> {
  await using network: Network = createNetwork({});
  await network.start();
  const api: Api = createApi(network);
  const client = connectApi({ address: await api.listen('unix:api.sock') });
  const flows: ApiFlow[] = [];
  for await (const flow of client.flows()) flows.push(flow);
  const { version } = await client.version();
  client.close();
  api.close();
  return flows.length === 0 && version !== '';
}

const said = { cycles: CYCLES, left, testing: Object.keys(testing).length > 0, client: await asked() };
console.log(JSON.stringify(said));
