#!/usr/bin/env node
// A storm at the control API: `publish-storm.mjs ADDRESS ROUNDS`. Eight clients publish and withdraw ports as fast as they can,
// each its own and now and then one that all want. Prints what came of it as JSON.
import { connectApi } from '../../dist/client/index.js';

const [address, rounds] = [process.argv[2], Number(process.argv[3])];
const CLIENTS = 8;
const result = { published: 0, withdrawn: 0, taken: 0, other: [] };

async function client(n) {
  const api = connectApi({ address });
  for (let round = 0; round < rounds; round++) {
    const shared = round % 4 === 3;
    try {
      const port = shared ? 20_000 : 20_001 + n;
      const { id } = await api.publish(`127.0.0.1:${port}:80/${round % 2 === 0 ? 'tcp' : 'udp'}`, {
        keep: false,
      });
      result.published++;
      await api.unpublish(id);
      result.withdrawn++;
    } catch (error) {
      if (shared && error.errno === 'EADDRINUSE') result.taken++;
      else result.other.push(String(error));
    }
  }
  api.close();
}

await Promise.all(Array.from({ length: CLIENTS }, (_, n) => client(n)));
process.stdout.write(`${JSON.stringify(result)}\n`);
